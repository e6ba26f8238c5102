"""Boxes that a detector found, and non-maximum suppression, torch-free.

Legend: D detections of an image.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

#: As many detections of one image are kept.
MAX_DETECTIONS = 300
_CHUNK = 256
#: Against one of a full matrix: pairs have to be gathered.
_COST_OF_A_PAIR = 8


class Detections(NamedTuple):
    """What was found on one image, the surest first.

    Attributes:
        boxes_xyxy: float32 (D, 4), pixel edges.
        labels: int64 (D,), class indices.
        scores: float32 (D,), 0..1.
    """

    boxes_xyxy: FloatArray
    labels: npt.NDArray[np.int64]
    scores: FloatArray


def no_detections() -> Detections:
    """Return what is found on an empty image."""
    return Detections(np.empty((0, 4), np.float32), np.empty(0, np.int64), np.empty(0, np.float32))


def suppressed(detections: Detections, iou_threshold: float, max_detections: int = MAX_DETECTIONS) -> Detections:
    """Return greedy non-maximum suppression within each class: a box goes if a surer one of its class that stays overlaps it by more.

    Exact, and without a loop over boxes: they are taken by falling score, a few hundred at a time.

    Args:
        detections: In any order; among equal scores the earlier one wins.
        iou_threshold: Intersection over union above which the less sure box goes.
        max_detections: The surest that are kept.

    Returns:
        The surest first.
    """
    order = np.argsort(-detections.scores, kind="stable")
    boxes, labels, scores = detections.boxes_xyxy[order], detections.labels[order], detections.scores[order]
    waiting = np.arange(len(order))
    kept = np.empty(0, np.int64)
    while len(waiting) and len(kept) < max_detections:
        chunk, waiting = waiting[:_CHUNK], waiting[_CHUNK:]
        staying = chunk[_stay(_overlap(boxes, labels, chunk, chunk, iou_threshold))]
        kept = np.concatenate([kept, staying])
        if len(waiting):
            waiting = waiting[~_overlap(boxes, labels, staying, waiting, iou_threshold).any(axis=0)]
    kept = kept[:max_detections]
    return Detections(boxes[kept], labels[kept], scores[kept])


def _overlap(boxes: FloatArray, labels: Indices, rows: Indices, columns: Indices, threshold: float) -> npt.NDArray[np.bool_]:
    """Return which boxes of one class overlap by more than `threshold`, bool (rows, columns)."""
    same: npt.NDArray[np.bool_] = labels[rows][:, None] == labels[columns]
    pairs = np.flatnonzero(same)
    if len(pairs) * _COST_OF_A_PAIR > same.size:
        return same & _exceeds(boxes[rows].T[:, :, None], boxes[columns].T[:, None, :], threshold)
    same.ravel()[pairs] = _exceeds(boxes[rows[pairs // len(columns)]].T, boxes[columns[pairs % len(columns)]].T, threshold)
    return same


def _exceeds(first: FloatArray, second: FloatArray, threshold: float) -> npt.NDArray[np.bool_]:
    """Compare boxes, (4, …) each: shared / (one + other - shared) > t is shared * (1 + t) > t * (one + other)."""
    width = np.minimum(first[2], second[2]) - np.maximum(first[0], second[0])
    height = np.minimum(first[3], second[3]) - np.maximum(first[1], second[1])
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) * threshold for box in (first, second)]
    exceeds: npt.NDArray[np.bool_] = shared * (1 + threshold) > areas[0] + areas[1]
    return exceeds


def _stay(overlap: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which boxes stay: one goes if an earlier one that stays overlaps it."""
    before = np.triu(overlap, k=1)
    stays = np.ones(len(before), dtype=np.bool_)
    for index in np.flatnonzero(before.any(axis=1)):
        if stays[index]:
            stays &= ~before[index]
    return stays
