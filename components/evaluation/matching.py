"""Which detection found which object: COCO's greedy matching for all images at once.

The rules are those of Lin et al. 2014 (arXiv:1405.0312) as its reference implementation applies them; maintained implementations
(faster-coco-eval) give a data set's totals, while bootstrap, slices and paired comparison need what each image adds to them. A test holds both
to the same numbers.

Legend: N images, D detections, G objects, A areas, T thresholds, P pairs of an image and a class.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from components.datasets.annotations import Truth
from components.serving.detections import Detections

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

#: Intersection over union at which a detection counts, 0.50 to 0.95.
THRESHOLDS = np.linspace(0.5, 0.95, 10)
#: Areas in square pixels, both ends included: COCO's all, small, medium, large.
AREAS = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
#: COCO judges as many detections of one class on one image.
MAX_OF_CLASS = 100


class Matches(NamedTuple):
    """The detections of all images, those beyond `MAX_OF_CLASS` of a class left out, and the objects.

    Attributes:
        image: int64 (D,), whose detection it is.
        label: int64 (D,).
        score: float64 (D,).
        found: bool (D, A, T): it found an object.
        ignored: bool (D, A, T): it counts neither way.
        iou: float64 (D,): the best overlap with an object of its class, 0 if there is none.
        iou_other: float64 (D,): the same with objects of other classes.
        truth_counts: int64 (N, C, A): objects to be found.
    """

    image: IntArray
    label: IntArray
    score: FloatArray
    found: BoolArray
    ignored: BoolArray
    iou: FloatArray
    iou_other: FloatArray
    truth_counts: IntArray


def iou_matrix(boxes: FloatArray, others: FloatArray, is_crowd: BoolArray | None = None) -> FloatArray:
    """Return intersection over union, float64 (D, G); for a crowd intersection over the detection's own area."""
    sides = np.minimum(boxes[:, None, 2:], others[None, :, 2:]) - np.maximum(boxes[:, None, :2], others[None, :, :2])
    shared = np.maximum(sides, 0).prod(axis=2)
    own, theirs = _areas(boxes)[:, None], _areas(others)[None]
    union = own + theirs - shared
    if is_crowd is not None:
        union = np.where(is_crowd[None], own, union)
    result: FloatArray = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return result


def match(predictions: Sequence[Detections], truths: Sequence[Truth], num_classes: int) -> Matches:
    """Match the detections of all images.

    Args:
        predictions: One an image, boxes in the pixels of the truths.
        truths: One an image.
        num_classes: C.
    """
    parts = [_of_image(number, prediction, truth) for number, (prediction, truth) in enumerate(zip(predictions, truths, strict=True))]
    image, label, score, area = (
        np.concatenate([part[name] for part in parts]) if parts else np.empty(0) for name in ("image", "label", "score", "area")
    )
    iou, iou_other = (np.concatenate([part[name] for part in parts]) if parts else np.empty(0) for name in ("iou", "iou_other"))
    bounds = np.array(list(AREAS.values()))
    outside = (area[:, None] < bounds[:, 0]) | (area[:, None] > bounds[:, 1])
    found = np.zeros((len(image), len(AREAS), len(THRESHOLDS)), dtype=np.bool_)
    ignored = np.repeat(outside[:, :, None], len(THRESHOLDS), axis=2)
    _match_candidates(parts, found, ignored)
    counts = np.zeros((len(truths), num_classes, len(AREAS)), dtype=np.int64)
    for number, truth in enumerate(truths):
        areas = _areas(truth.boxes_xyxy)[:, None]
        inside = (areas >= bounds[:, 0]) & (areas <= bounds[:, 1]) & ~truth.ignore[:, None]
        np.add.at(counts[number], truth.labels, inside)
    return Matches(image.astype(np.int64), label.astype(np.int64), score, found, ignored, iou, iou_other, counts)


def _areas(boxes: FloatArray) -> FloatArray:
    areas: FloatArray = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return areas


def _of_image(number: int, prediction: Detections, truth: Truth) -> dict[str, npt.NDArray[np.generic]]:
    """Return an image's detections by class and falling score, and the pairs that overlap by half or more."""
    order = np.lexsort((-prediction.scores.astype(np.float64), prediction.labels))  # stable, as COCO's mergesort
    labels = prediction.labels[order]
    rank = np.arange(len(order)) - np.searchsorted(labels, labels, side="left")
    order, labels, rank = order[rank < MAX_OF_CLASS], labels[rank < MAX_OF_CLASS], rank[rank < MAX_OF_CLASS]
    boxes = prediction.boxes_xyxy[order].astype(np.float64)
    overlaps = iou_matrix(boxes, truth.boxes_xyxy, truth.ignore)
    same = labels[:, None] == truth.labels[None]
    counted = overlaps * ~truth.ignore
    rows, columns = np.nonzero(same & (overlaps >= THRESHOLDS[0] - 1e-9))
    return {
        "image": np.full(len(order), number),
        "label": labels,
        "score": prediction.scores[order].astype(np.float64),
        "area": _areas(boxes),
        "iou": (counted * same).max(axis=1, initial=0.0),
        "iou_other": (counted * ~same).max(axis=1, initial=0.0),
        "rank": rank,
        "pair_detection": rows,
        "pair_truth": columns,
        "pair_iou": overlaps[rows, columns],
        "truth_area": _areas(truth.boxes_xyxy),
        "truth_ignore": truth.ignore,
    }


def _match_candidates(parts: Sequence[dict[str, npt.NDArray[np.generic]]], found: BoolArray, ignored: BoolArray) -> None:
    """Fill in what the detections found that overlap anything: the k-th of every class and image at once."""
    if not parts:
        return
    num_detections = [len(part["image"]) for part in parts]
    num_truths = [len(part["truth_area"]) for part in parts]
    first_detection, first_truth = np.cumsum([0, *num_detections]), np.cumsum([0, *num_truths])
    detection = np.concatenate([part["pair_detection"] + start for part, start in zip(parts, first_detection, strict=False)]).astype(np.int64)
    truth = np.concatenate([part["pair_truth"] + start for part, start in zip(parts, first_truth, strict=False)]).astype(np.int64)
    iou = np.concatenate([part["pair_iou"] for part in parts]).astype(np.float64)
    rank = np.concatenate([part["rank"] for part in parts])[detection]
    truth_area = np.concatenate([part["truth_area"] for part in parts]).astype(np.float64)
    crowd = np.concatenate([part["truth_ignore"] for part in parts]).astype(np.bool_)
    bounds = np.array(list(AREAS.values()))
    skipped = crowd[:, None] | (truth_area[:, None] < bounds[:, 0]) | (truth_area[:, None] > bounds[:, 1])  # (G, A)
    taken = np.zeros((len(truth_area), len(AREAS), len(THRESHOLDS)), dtype=np.bool_)
    limits = np.minimum(THRESHOLDS, 1 - 1e-10)
    order = np.lexsort((truth, detection, rank))
    detection, truth, iou, rank = detection[order], truth[order], iou[order], rank[order]
    edges = np.flatnonzero(np.r_[True, np.diff(rank) != 0, True]) if len(rank) else np.empty(0, np.int64)
    for start, end in itertools.pairwise(edges):
        d, g, overlap = detection[start:end], truth[start:end], iou[start:end]
        free = (~taken[g] | crowd[g, None, None]) & (overlap[:, None] >= limits)[:, None, :]  # (pairs, A, T)
        # an object that counts before one that does not, then the larger overlap, then the later object
        key = np.where(free, overlap[:, None, None] - 2.0 * skipped[g][:, :, None], -np.inf)
        groups = np.flatnonzero(np.r_[True, np.diff(d) != 0])
        best = np.maximum.reduceat(key, groups, axis=0)
        of_group = np.repeat(np.arange(len(groups)), np.diff(np.r_[groups, len(d)]))
        is_best = (key == best[of_group]) & np.isfinite(key)
        place = np.where(is_best, np.arange(len(d))[:, None, None], -1)
        winner = np.maximum.reduceat(place, groups, axis=0)  # (groups, A, T)
        which, area, threshold = np.nonzero(winner >= 0)
        pair = winner[which, area, threshold]
        taken[g[pair], area, threshold] = True
        skip = skipped[g[pair], area]
        found[d[pair], area, threshold] = ~skip
        ignored[d[pair], area, threshold] = skip
