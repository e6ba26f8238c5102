"""Detection behind an artifact's graph: decoded boxes and scores of all points → what was found.

Legend: N images, P points of the network, C classes, D detections of an image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from components.records import Preprocess
from components.serving.detections import Detections, suppressed
from components.serving.image import placement

#: From this score on a detection is judged, and from this one it is shown to people.
JUDGED_SCORE, SHOWN_SCORE = 0.01, 0.25
#: Intersection over union above which the less sure of two boxes of a class goes.
SUPPRESSION_IOU = 0.6
#: As many of the surest points of an image go into the suppression.
_MAX_CANDIDATES = 3000
_SAME_IOU = 0.5
_TINY = 1e-9


class Detection:
    """A `Postprocess`; a prediction is `Detections`."""

    fields: Mapping[str, str] = MappingProxyType({"labels": "string[]", "scores": "double[]", "boxes_xyxy": "double[][]"})

    def predictions(self, outputs: Mapping[str, npt.NDArray[Any]]) -> list[Detections]:
        """Return what stays of the outputs `boxes` (N, P, 4), in the network's pixels, and `scores` (N, P, C), 0..1.

        Each point counts with its best class; of those with a score of 0.01 or more non-maximum suppression within each class (at
        intersection over union 0.6) leaves at most 300.
        """
        return [_found(boxes, scores) for boxes, scores in zip(outputs["boxes"], outputs["scores"], strict=True)]

    def restore(self, prediction: Detections, size_hw: tuple[int, int], preprocess: Preprocess) -> Detections:
        """Return the boxes in the original's pixels, cut at its edges."""
        height, width = size_hw
        boxes = placement(size_hw, preprocess).backward(prediction.boxes_xyxy.astype(np.float64))
        limits = np.array([width, height, width, height], dtype=np.float64)
        return prediction._replace(boxes_xyxy=np.clip(boxes, 0, limits).astype(np.float32))

    def columns(self, prediction: Detections, classes: Sequence[str]) -> dict[str, Any]:
        """Return the detections of a score of 0.25 or more, the surest first: `labels`, `scores`, `boxes_xyxy`, lists of the same length."""
        shown = prediction.scores >= SHOWN_SCORE
        return {
            "labels": [classes[label] for label in prediction.labels[shown]],
            "scores": [float(score) for score in prediction.scores[shown]],
            "boxes_xyxy": [[float(value) for value in box] for box in prediction.boxes_xyxy[shown]],
        }

    def told(self, prediction: Detections, classes: Sequence[str]) -> tuple[str, str]:
        """Return how many of each class were found with a score of 0.25 or more."""
        counts = np.bincount(_above(prediction, SHOWN_SCORE).labels, minlength=len(classes))
        return ", ".join(f"{count} × {name}" for name, count in zip(classes, counts, strict=True) if count) or "nothing found", ""

    def difference(self, prediction: Detections, classes: Sequence[str], other: Detections, other_classes: Sequence[str]) -> tuple[float, bool]:
        """Return the largest difference of a score between a detection of 0.25 or more and its counterpart, and whether both show the same.

        The counterpart is the box of the same class that overlaps most, by at least half; a detection without one differs by its whole score.
        The same is shown if each shown detection of either has its own counterpart among the shown ones of the other.
        """
        theirs = _renamed(other, other_classes, classes)
        largest = max(_largest_difference(prediction, theirs), _largest_difference(theirs, prediction))
        ours_shown, theirs_shown = (_above(detections, SHOWN_SCORE) for detections in (prediction, theirs))
        same = len(ours_shown.scores) == len(theirs_shown.scores)
        return largest, same and len(set(_counterparts(ours_shown, theirs_shown).tolist()) - {-1}) == len(ours_shown.scores)

    def likeness(self, prediction: Detections, classes: Sequence[str], other: Detections, other_classes: Sequence[str]) -> dict[str, float]:
        """Return of the detections of 0.25 or more the share with a counterpart, and of those the mean overlap and mean difference of scores.

        Returns:
            `matched_boxes`, `matched_iou`, `matched_score_difference`; nothing where nothing is shown, the first alone where none matches.
        """
        shown, theirs = _above(prediction, SHOWN_SCORE), _renamed(other, other_classes, classes)
        if not len(shown.scores):
            return {}
        places = _counterparts(shown, theirs)
        own = np.flatnonzero(places >= 0)
        found = {"matched_boxes": len(own) / len(places)}
        if len(own):
            overlap = _overlaps(shown.boxes_xyxy[own], theirs.boxes_xyxy)[np.arange(len(own)), places[own]]
            found["matched_iou"] = float(overlap.mean())
            found["matched_score_difference"] = float(np.abs(shown.scores[own] - theirs.scores[places[own]]).mean())
        return found


def _found(boxes: npt.NDArray[Any], scores: npt.NDArray[Any]) -> Detections:
    labels = scores.argmax(axis=1)
    best = scores[np.arange(len(labels)), labels]
    kept = np.flatnonzero(best >= JUDGED_SCORE)
    if len(kept) > _MAX_CANDIDATES:
        kept = kept[np.argsort(-best[kept], kind="stable")[:_MAX_CANDIDATES]]
    candidates = Detections(boxes[kept].astype(np.float32), labels[kept].astype(np.int64), best[kept].astype(np.float32))
    return suppressed(candidates, SUPPRESSION_IOU)


def _above(detections: Detections, score: float) -> Detections:
    kept = detections.scores >= score
    return Detections(detections.boxes_xyxy[kept], detections.labels[kept], detections.scores[kept])


def _largest_difference(one: Detections, other: Detections) -> float:
    shown = _above(one, SHOWN_SCORE)
    places = _counterparts(shown, other)
    scores = np.append(other.scores, np.float32(0))[places]  # place -1: the appended zero
    return float(np.abs(shown.scores - scores).max(initial=0.0))


def _renamed(detections: Detections, names: Sequence[str], classes: Sequence[str]) -> Detections:
    """Return detections with labels of `names` as labels of `classes`."""
    order = np.array([classes.index(name) for name in names], dtype=np.int64)
    return detections._replace(labels=order[detections.labels])


def _overlaps(boxes: npt.NDArray[Any], others: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return intersection over union, float64 (D, E)."""
    first, second = boxes[:, None].astype(np.float64), others[None].astype(np.float64)
    sides = np.maximum(np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2]), 0)
    shared = sides.prod(axis=2)
    areas = [(each[..., 2:] - each[..., :2]).prod(axis=2) for each in (first, second)]
    overlap: npt.NDArray[np.float64] = shared / np.maximum(areas[0] + areas[1] - shared, _TINY)
    return overlap


def _counterparts(one: Detections, other: Detections) -> npt.NDArray[np.int64]:
    """Return for each detection the number of its counterpart, -1 where there is none, int64 (D,)."""
    if not len(one.scores) or not len(other.scores):
        return np.full(len(one.scores), -1, dtype=np.int64)
    overlap = _overlaps(one.boxes_xyxy, other.boxes_xyxy) * (one.labels[:, None] == other.labels[None])
    best = overlap.argmax(axis=1)
    places: npt.NDArray[np.int64] = np.where(overlap[np.arange(len(best)), best] >= _SAME_IOU, best, -1)
    return places


plugin = Detection()
