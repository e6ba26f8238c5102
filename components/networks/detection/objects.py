"""The objects of a batch: padded to one number, moved with their images, dropped where too little of them is left.

Legend: N images, K objects of an image at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from components.networks.geometry import Motion, resample_boxes, take_boxes

#: An object of which a cut leaves less than this share of its area, or less than so many pixels of a side, is dropped.
LEAST_SHARE, LEAST_SIDE = 0.2, 2.0


class Objects(NamedTuple):
    """The objects of a batch, in the network's pixels.

    Attributes:
        boxes_xyxy: float32 (N, K, 4).
        labels: int64 (N, K).
        present: bool (N, K): the rest is padding.
    """

    boxes_xyxy: torch.Tensor
    labels: torch.Tensor
    present: torch.Tensor


def padded(boxes_xyxy: Sequence[torch.Tensor], labels: Sequence[torch.Tensor], device: torch.device) -> Objects:
    """Return the objects of images, boxes (K, 4) and labels (K,) each, as one batch on a device."""
    counts = [len(each) for each in labels]
    most = max(counts, default=0)
    boxes, names = torch.zeros(len(counts), most, 4), torch.zeros(len(counts), most, dtype=torch.int64)
    for number, count in enumerate(counts):
        boxes[number, :count], names[number, :count] = boxes_xyxy[number], labels[number]
    present = torch.arange(most)[None] < torch.tensor(counts, dtype=torch.int64)[:, None]
    return Objects(boxes.to(device), names.to(device), present.to(device))


def moved(objects: Objects, motion: Motion, height: int, width: int) -> Objects:
    """Return objects where their images' motion took them, cut at the image's edges after each part of it."""
    taken = cut(objects._replace(boxes_xyxy=take_boxes(objects.boxes_xyxy, motion)), height, width)
    if motion.theta is None:
        return taken
    return cut(taken._replace(boxes_xyxy=resample_boxes(taken.boxes_xyxy, motion, height, width)), height, width)


def cut(objects: Objects, height: int, width: int) -> Objects:
    """Cut boxes at the edges of an image; one that keeps less than 20% of its area, or less than 2 pixels of a side it had, is dropped.

    So is one without an area: its aspect ratio, which the loss compares, would be 0 / 0.
    """
    size = torch.tensor([width, height, width, height], device=objects.boxes_xyxy.device, dtype=objects.boxes_xyxy.dtype)
    boxes = objects.boxes_xyxy.clamp(min=0).minimum(size)
    sides, before = (each[..., 2:] - each[..., :2] for each in (boxes, objects.boxes_xyxy))
    enough = (sides > 0).all(dim=-1) & (sides >= before.clamp(max=LEAST_SIDE)).all(dim=-1) & (sides.prod(dim=-1) >= LEAST_SHARE * before.prod(dim=-1))
    return Objects(boxes, objects.labels, objects.present & enough)
