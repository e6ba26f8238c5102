"""Which point of a single-stage detector is taught which object, and the loss that follows: task-aligned learning.

After Feng et al. 2021 (TOOD, arXiv:2108.07755): a point is good for an object if it names it and boxes it well; the best few of an object
are taught it, and how surely they shall name it is how well they box it.

Legend: N images, P points, K objects of an image at most (fewer are padded), C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch.nn import functional

from components.networks.detection.objects import Objects, packed
from components.networks.detection.points import Raw, decode

#: Points that are taught one object; how much naming and boxing weigh (TOOD, 4.1).
_TOP_POINTS, _ALPHA, _BETA = 13, 1.0, 6.0
_TINY = 1e-9
#: Pairs of a point and an object that are weighed at once, at some 40 bytes each. Sixteen images of 50 objects at 640 pixels are seven million.
_MOST_PAIRS = 2**25


class Assigned(NamedTuple):
    """What each point is taught.

    Attributes:
        boxes_xyxy: float32 (N, P, 4).
        scores: float32 (N, P, C): how surely it shall name each class.
        taught: bool (N, P): whether it is taught an object.
    """

    boxes_xyxy: torch.Tensor
    scores: torch.Tensor
    taught: torch.Tensor


def loss(raw: Raw, objects: Objects, points: torch.Tensor, weights: Mapping[str, float]) -> torch.Tensor:
    """Return the training loss of a batch, a scalar: binary cross-entropy of the classes and complete IoU (arXiv:1911.08287) of the boxes.

    Both are divided by the sum of the scores that are taught, at least 1: a batch without objects teaches that there are none.

    Args:
        raw: What the network says.
        objects: What is there.
        points: float32 (P, 3) as x, y, stride.
        weights: Of the parts `label` and `box`.
    """
    from torchvision.ops import complete_box_iou_loss

    logits, boxes = raw.logits.float(), decode(raw.distances.float(), points)
    with torch.no_grad():
        assigned = assign(logits.sigmoid(), boxes, points, objects)
    total = assigned.scores.sum().clamp(min=1.0)
    of_labels = functional.binary_cross_entropy_with_logits(logits, assigned.scores, reduction="sum")
    taught = assigned.taught
    certainty = assigned.scores.sum(dim=-1)[taught]
    of_boxes = (complete_box_iou_loss(boxes[taught], assigned.boxes_xyxy[taught], reduction="none") * certainty).sum()
    result: torch.Tensor = (weights["label"] * of_labels + weights["box"] * of_boxes) / total
    return result


def assign(scores: torch.Tensor, boxes: torch.Tensor, points: torch.Tensor, objects: Objects) -> Assigned:
    """Decide what each point is taught; of a batch with very many objects an image at a time, each with its own.

    A point may be taught an object if it lies in its box; a box that is so small that no point lies in it counts as one stride wide
    and high. Of those the 13 that align best are; a point that several objects want takes the one it overlaps most.

    Args:
        scores: float32 (N, P, C), what the network says now, 0..1.
        boxes: float32 (N, P, 4), likewise.
        points: float32 (P, 3) as x, y, stride.
        objects: What is there.
    """
    if len(scores) > 1 and objects.labels.numel() * len(points) > _MOST_PAIRS:
        each = []
        for number, own in enumerate(zip(*objects, strict=True)):
            one = packed(Objects(*(tensor[None] for tensor in own)))
            each.append(_assign(scores[number : number + 1], boxes[number : number + 1], points, one))
        return Assigned(*(torch.cat(parts) for parts in zip(*each, strict=True)))
    return _assign(scores, boxes, points, objects)


def _assign(scores: torch.Tensor, boxes: torch.Tensor, points: torch.Tensor, objects: Objects) -> Assigned:
    num_images, num_points, num_classes = scores.shape
    num_objects = objects.labels.shape[1]
    if not num_objects:
        nothing = torch.zeros((num_images, num_points), dtype=torch.bool, device=scores.device)
        return Assigned(torch.zeros_like(boxes), torch.zeros_like(scores), nothing)
    inside = _inside(objects, points)  # (N, K, P)
    overlap = _overlap(objects.boxes_xyxy, boxes)
    named = scores.gather(2, objects.labels[:, None].expand(-1, num_points, -1)).transpose(1, 2)
    alignment = (named**_ALPHA * overlap**_BETA + _TINY) * inside
    best = alignment.topk(min(_TOP_POINTS, num_points), dim=2)
    chosen = torch.zeros_like(inside).scatter_(2, best.indices, best.values > 0)
    claims = torch.where(chosen, overlap + 1.0, 0.0)
    overlap_of_point, of_point = claims.max(dim=1)  # (N, P)
    taught = overlap_of_point > 0
    chosen &= torch.zeros_like(chosen).scatter_(1, of_point[:, None], True)
    alignment, overlap = alignment * chosen, overlap * chosen
    strength = alignment / alignment.amax(dim=2, keepdim=True).clamp(min=_TINY) * overlap.amax(dim=2, keepdim=True)
    strength_of_point = strength.amax(dim=1)
    labels = objects.labels.gather(1, of_point)
    wanted = functional.one_hot(labels, num_classes) * (strength_of_point * taught)[..., None]
    return Assigned(objects.boxes_xyxy.gather(1, of_point[..., None].expand(-1, -1, 4)), wanted.to(scores.dtype), taught)


def _inside(objects: Objects, points: torch.Tensor) -> torch.Tensor:
    """Return which points lie in which boxes, bool (N, K, P)."""
    centres, strides = points[:, :2], points[:, 2:]
    low, high = objects.boxes_xyxy[:, :, None, :2], objects.boxes_xyxy[:, :, None, 2:]
    inside = ((centres > low) & (centres < high)).all(dim=-1)
    empty = ~inside.any(dim=2, keepdim=True)
    near = ((centres - (low + high) / 2).abs() <= strides / 2).all(dim=-1)
    return torch.where(empty, near, inside) & objects.present[..., None]


def _overlap(objects: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Return intersection over union, float32 (N, K, P)."""
    low = torch.maximum(objects[:, :, None, :2], boxes[:, None, :, :2])
    high = torch.minimum(objects[:, :, None, 2:], boxes[:, None, :, 2:])
    shared = (high - low).clamp(min=0).prod(dim=-1)
    areas = [(each[..., 2:] - each[..., :2]).clamp(min=0).prod(dim=-1) for each in (objects, boxes)]
    return shared / (areas[0][:, :, None] + areas[1][:, None] - shared).clamp(min=_TINY)
