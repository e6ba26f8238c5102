"""The objects of a batch: padded to one number, moved with their images, dropped where too little of them is left.

Legend: N images, K objects of an image at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from components.augmentation.geometry import Motion, resample_boxes, take_boxes
from components.augmentation.mixing import Mixing, Mosaic

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
    size = torch.tensor([width, height], device=objects.boxes_xyxy.device, dtype=objects.boxes_xyxy.dtype)
    return _within(objects, torch.zeros_like(size), size)


def in_mosaic(objects: Objects, mosaic: Mosaic | None) -> Objects:
    """Return the objects on the canvases, those of each image cut at the edges of its part by the rule of `cut`."""
    if mosaic is None:
        return objects
    boxes = (objects.boxes_xyxy[mosaic.members] - mosaic.source.repeat(1, 1, 2)[:, :, None]) * mosaic.scale[:, :, None, None]
    whole = Objects(boxes + mosaic.low.repeat(1, 1, 2)[:, :, None], objects.labels[mosaic.members], objects.present[mosaic.members])
    found = _within(whole, mosaic.low[:, :, None], mosaic.high[:, :, None])
    return packed(Objects(*(tensor.flatten(1, 2) for tensor in found)))


def mixed(objects: Objects, mixing: Mixing | None) -> Objects:
    """Return the objects of images that were blended: those of both (Zhang et al. 2019, arXiv:1902.04103).

    Those of an image that weighs less than 20% are dropped, as those are of which a cut leaves less.
    """
    if mixing is None:
        return objects
    own = objects.present & (mixing.kept >= LEAST_SHARE)[:, None]
    others = objects.present[mixing.partner] & (1 - mixing.kept >= LEAST_SHARE)[:, None]
    boxes, labels = (torch.cat([each, each[mixing.partner]], dim=1) for each in (objects.boxes_xyxy, objects.labels))
    return packed(Objects(boxes, labels, torch.cat([own, others], dim=1)))


def _within(objects: Objects, low: torch.Tensor, high: torch.Tensor) -> Objects:
    """Cut boxes at the edges of a window, x and y (…, 2) of its corners, by the rule of `cut`."""
    boxes = objects.boxes_xyxy.maximum(torch.cat([low, low], dim=-1)).minimum(torch.cat([high, high], dim=-1))
    sides, before = (each[..., 2:] - each[..., :2] for each in (boxes, objects.boxes_xyxy))
    enough = (sides > 0).all(dim=-1) & (sides >= before.clamp(max=LEAST_SIDE)).all(dim=-1) & (sides.prod(dim=-1) >= LEAST_SHARE * before.prod(dim=-1))
    return Objects(boxes, objects.labels, objects.present & enough)


def packed(objects: Objects) -> Objects:
    """Return the same objects with no more padding than needed: a loss computes with all of it."""
    order = objects.present.to(torch.uint8).argsort(dim=1, descending=True, stable=True)
    order = order[:, : int(objects.present.sum(dim=1).max()) if objects.present.numel() else 0]
    boxes = objects.boxes_xyxy.gather(1, order[..., None].expand(-1, -1, 4))
    return Objects(boxes, objects.labels.gather(1, order), objects.present.gather(1, order))
