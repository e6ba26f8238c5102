"""Detection: boxes with a class and a score. A prediction is `Detections`, a target `Truth`, both in pixels of the upright original.

Average precision as COCO defines it (Lin et al. 2014, arXiv:1405.0312): 101 recall points, thresholds 0.50 to 0.95, at most 100 detections
of a class on an image; and as Pascal VOC 2010 does (Everingham et al. 2015): the whole area under the curve at 0.5.

Legend: N images, C classes, A areas, T thresholds, D detections that are kept of an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.datasets.annotations import Truth, boxes_of
from components.errors import DataError
from components.evaluation.matching import AREAS, THRESHOLDS, FloatArray, Matches, match
from components.serving.detections import MAX_DETECTIONS, Detections, no_detections

#: Kinds of error, after Bolya et al. 2020 (TIDE, arXiv:2008.08115): a false detection has the first of the five that fits.
ERRORS = ("class", "location", "both", "duplicate", "background", "missed")
#: Detections below this score are no errors: nobody would act on them.
SURE = 0.3
_LEAST_OVERLAP = 0.1
_RECALLS = np.linspace(0.0, 1.0, 101)
_NUM_FLAGS = len(AREAS) * len(THRESHOLDS)
_FLAGS = 2 ** np.arange(_NUM_FLAGS, dtype=np.int64)
#: What is kept of each detection: its class + 1 (0: none), score, and as bits for each area and threshold whether it found or is ignored.
_OF_DETECTION = 4


class _Table(NamedTuple):
    """The statistics, unpacked: detections of all images by falling score, and objects."""

    image: npt.NDArray[np.int64]
    label: npt.NDArray[np.int64]
    score: FloatArray
    found: npt.NDArray[np.bool_]
    ignored: npt.NDArray[np.bool_]
    truth_counts: FloatArray


class Detection:
    """Evaluator of detection.

    Args:
        classes: The class names in order.
    """

    metric = "ap"

    def __init__(self, classes: Sequence[str]) -> None:
        if not classes:
            raise DataError("found no class; detection needs at least 1")
        self.classes = list(classes)
        self._unpacked: tuple[FloatArray, _Table] | None = None

    def targets(self, rows: pd.DataFrame) -> list[Truth]:
        """Return the boxes of each row.

        Raises:
            DataError: There are no such columns, an image is not annotated, or a label is no class.
        """
        if "boxes_xyxy" not in rows or "box_labels" not in rows:
            raise DataError("no image has boxes (columns boxes_xyxy, box_labels), which detection needs; is the dataset labelled for another task?")
        index = {name: number for number, name in enumerate(self.classes)}
        ignores = rows["box_ignore"] if "box_ignore" in rows else [None] * len(rows)
        names = rows["image_id"] if "image_id" in rows else range(len(rows))
        truths = []
        for name, cell, labels, ignore in zip(names, rows["boxes_xyxy"], rows["box_labels"], ignores, strict=True):
            if cell is None:
                raise DataError(f"{name} has no boxes_xyxy: nobody has annotated it. Annotate it, or give it an empty list where nothing is on it")
            unknown = sorted({str(label) for label in labels if label not in index})
            if unknown:
                raise DataError(f"{name}: boxes of {', '.join(unknown[:5])}, which are no classes; they are {', '.join(self.classes[:20])}")
            flags = np.zeros(len(labels), np.bool_) if ignore is None or len(ignore) == 0 else np.asarray(list(ignore), np.bool_)
            truths.append(Truth(boxes_of(cell), np.array([index[label] for label in labels], np.int64), flags))
        return truths

    def statistics(self, predictions: Sequence[Any], targets: Sequence[Any]) -> FloatArray:
        """Return what each image adds to the metrics, float64 (N, 4 D + C A + 6): its detections with what they found, its objects, its errors.

        Raises:
            DataError: There is not one prediction for each target, or a box or score is not a number.
        """
        if len(predictions) != len(targets):
            raise DataError(f"{len(predictions)} predictions for {len(targets)} images; expected one each")
        for number, prediction in enumerate(predictions):
            if not (np.isfinite(prediction.boxes_xyxy).all() and np.isfinite(prediction.scores).all()):
                raise DataError(f"the detections of image {number} hold what is no number")
        matches = match(predictions, targets, len(self.classes))
        num_images, width = len(targets), _OF_DETECTION * MAX_DETECTIONS
        statistics = np.zeros((num_images, width + len(self.classes) * len(AREAS) + len(ERRORS)))
        place = _places(matches)
        kept = place < MAX_DETECTIONS
        packed = np.stack(
            [matches.label + 1, matches.score, matches.found.reshape(-1, _NUM_FLAGS) @ _FLAGS, matches.ignored.reshape(-1, _NUM_FLAGS) @ _FLAGS],
            axis=1,
        ).astype(np.float64)
        blocks = np.zeros((num_images, MAX_DETECTIONS, _OF_DETECTION))
        blocks[matches.image[kept], place[kept]] = packed[kept]
        statistics[:, :width] = blocks.reshape(num_images, -1)
        statistics[:, width : -len(ERRORS)] = matches.truth_counts.reshape(num_images, -1)
        statistics[:, -len(ERRORS) :] = _errors(matches, num_images)
        return statistics

    def score(self, statistics: FloatArray, weights: FloatArray | None = None) -> dict[str, float]:
        """Return COCO's ap, ap50, ap75, ap_small, ap_medium, ap_large, ar, and Pascal VOC's voc_ap; NaN where nothing is to be found.

        With `weights` (a resample) only ap, ap50, ap75 and ar, for speed.

        Raises:
            DataError: There is no image.
        """
        if not len(statistics):
            raise DataError("no image to score; expected at least one")
        table = self._table(statistics)
        areas = list(AREAS) if weights is None else ["all"]
        precision, recall, voc = self._curves(table, weights, areas)
        mean = {area: _mean(precision[area]) for area in areas}
        scores = {"ap": mean["all"], "ap50": _mean(precision["all"][:, 0]), "ap75": _mean(precision["all"][:, 5])}
        scores |= {f"ap_{area}": mean[area] for area in areas if area != "all"}
        scores |= {"ar": _mean(recall["all"])}
        return scores if weights is not None else scores | {"voc_ap": _mean(voc)}

    def per_class(self, statistics: FloatArray) -> pd.DataFrame:
        """Return support (objects), ap, ap50, and at IoU 0.5 the best F1 with its precision, recall and the score threshold that gives it."""
        table = self._table(statistics)
        precision, _, _ = self._curves(table, None, ["all"])
        rows = []
        for number, name in enumerate(self.classes):
            support = int(table.truth_counts[:, number, 0].sum())
            best = self._best_threshold(table, number, support)
            rows.append((name, support, _mean(precision["all"][number]), precision["all"][number, 0], *best))
        return pd.DataFrame(rows, columns=["class", "support", "ap", "ap50", "f1", "precision", "recall", "threshold"])

    def baseline(self, targets: Sequence[Any]) -> Detections:  # noqa: ARG002 - of other tasks it depends on them
        """Return no detections: nothing that ignores the image finds anything."""
        return no_detections()

    def mistakes(self, statistics: FloatArray) -> list[tuple[int, str]]:
        """Return the images with errors, most first."""
        errors = statistics[:, -len(ERRORS) :].astype(np.int64)
        order = np.argsort(-errors.sum(axis=1), kind="stable")
        return [
            (int(image), ", ".join(f"{count} {name}" for name, count in zip(ERRORS, errors[image], strict=True) if count))
            for image in order
            if errors[image].any()
        ]

    def confusion(self, statistics: FloatArray) -> pd.DataFrame:  # noqa: ARG002
        """Return no rows: `error_counts` says what was taken for what kind of error."""
        return pd.DataFrame({"label": [], "predicted": []})

    def error_counts(self, statistics: FloatArray) -> dict[str, int]:
        """Return how many errors there are of each kind, among detections of a score of 0.3 or more."""
        return {name: int(count) for name, count in zip(ERRORS, statistics[:, -len(ERRORS) :].sum(axis=0), strict=True)}

    def precision_recall(self, statistics: FloatArray) -> FloatArray:
        """Return the precision of each class at the 101 recall points at IoU 0.5, float64 (C, 101); NaN for a class without objects."""
        table = self._table(statistics)
        return np.stack([self._of_class(table, None, number, 0)[2] for number in range(len(self.classes))])

    def _table(self, statistics: FloatArray) -> _Table:
        """Unpack, once for the many resamples of the same statistics."""
        if self._unpacked is None or self._unpacked[0] is not statistics:
            width = _OF_DETECTION * MAX_DETECTIONS
            blocks = statistics[:, :width].reshape(len(statistics), MAX_DETECTIONS, _OF_DETECTION)
            image, place = np.nonzero(blocks[:, :, 0])
            rows = blocks[image, place]
            order = np.argsort(-rows[:, 1], kind="stable")
            image, rows = image[order], rows[order]
            found, ignored = ((rows[:, column].astype(np.int64)[:, None] & _FLAGS > 0).reshape(-1, len(AREAS), len(THRESHOLDS)) for column in (2, 3))
            counts = statistics[:, width : -len(ERRORS)].reshape(len(statistics), len(self.classes), len(AREAS))
            self._unpacked = (statistics, _Table(image, rows[:, 0].astype(np.int64) - 1, rows[:, 1], found, ignored, counts))
        return self._unpacked[1]

    def _curves(
        self, table: _Table, weights: FloatArray | None, areas: Sequence[str]
    ) -> tuple[dict[str, FloatArray], dict[str, FloatArray], FloatArray]:
        """Return by area the average precision and the largest recall of each class and threshold, (C, T) each, and VOC's AP (C,)."""
        num_classes = len(self.classes)
        precision = {area: np.full((num_classes, len(THRESHOLDS)), np.nan) for area in areas}
        recall = {area: np.full((num_classes, len(THRESHOLDS)), np.nan) for area in areas}
        voc = np.full(num_classes, np.nan)
        for number in range(num_classes):
            for place, area in enumerate(areas):
                precision[area][number], recall[area][number], _, voc_ap = self._of_class(table, weights, number, place)
                if place == 0:
                    voc[number] = voc_ap
        return precision, recall, voc

    def _of_class(self, table: _Table, weights: FloatArray | None, number: int, area: int) -> tuple[FloatArray, FloatArray, FloatArray, float]:
        """Return AP (T,), largest recall (T,), the curve at the first threshold (101,), and VOC's AP, of one class in one area."""
        counts = table.truth_counts[:, number, area]
        total = float(counts.sum() if weights is None else counts @ weights)
        if total <= 0:
            return np.full(len(THRESHOLDS), np.nan), np.full(len(THRESHOLDS), np.nan), np.full(len(_RECALLS), np.nan), np.nan
        of_class = table.label == number
        found, judged = table.found[of_class, area], ~table.ignored[of_class, area]
        weight = np.ones(len(found)) if weights is None else weights[table.image[of_class]]
        hits = np.cumsum(found * weight[:, None], axis=0)
        named = np.cumsum(judged * weight[:, None], axis=0)
        recalls = hits / total
        precisions = hits / np.maximum(named, np.spacing(1))
        precisions = np.maximum.accumulate(precisions[::-1], axis=0)[::-1]
        curves = np.zeros((len(_RECALLS), len(THRESHOLDS)))
        for threshold in range(len(THRESHOLDS)):
            places = np.searchsorted(recalls[:, threshold], _RECALLS, side="left")
            reached = places < len(recalls)
            curves[reached, threshold] = precisions[places[reached], threshold]
        largest = recalls[-1] if len(recalls) else np.zeros(len(THRESHOLDS))
        steps = np.diff(recalls[:, 0], prepend=0.0) if len(recalls) else np.empty(0)
        voc = float(steps @ precisions[:, 0]) if len(recalls) else 0.0
        return curves.mean(axis=0), largest, curves[:, 0], voc

    def _best_threshold(self, table: _Table, number: int, support: int) -> tuple[float, float, float, float]:
        """Return the best F1 at IoU 0.5, with precision, recall and the score from which detections count."""
        of_class = (table.label == number) & ~table.ignored[:, 0, 0]
        if not support or not of_class.any():
            return (0.0, 0.0, 0.0, 1.0) if support else (np.nan, np.nan, np.nan, np.nan)
        hits = np.cumsum(table.found[of_class, 0, 0])
        precision, recall = hits / np.arange(1, len(hits) + 1), hits / support
        f1 = 2 * hits / (np.arange(1, len(hits) + 1) + support)
        best = int(f1.argmax())
        return float(f1[best]), float(precision[best]), float(recall[best]), float(table.score[of_class][best])


def _mean(values: FloatArray) -> float:
    """Return the mean of what is defined, NaN if nothing is."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def _places(matches: Matches) -> npt.NDArray[np.int64]:
    """Return the place of each detection among those of its image, the surest first."""
    order = np.lexsort((-matches.score, matches.image))
    image = matches.image[order]
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order)) - np.searchsorted(image, image, side="left")
    return places


def _errors(matches: Matches, num_images: int) -> npt.NDArray[np.int64]:
    """Return how many errors of each kind an image has, int64 (N, 6)."""
    false = (matches.score >= SURE) & ~matches.found[:, 0, 0] & ~matches.ignored[:, 0, 0]
    own, other, found = matches.iou, matches.iou_other, THRESHOLDS[0]
    kinds = [
        false & (own < found) & (other >= found),
        false & (own >= _LEAST_OVERLAP) & (own < found) & (other < found),
        false & (own < _LEAST_OVERLAP) & (other >= _LEAST_OVERLAP) & (other < found),
        false & (own >= found),
        false & (own < _LEAST_OVERLAP) & (other < _LEAST_OVERLAP),
    ]
    counts = [np.bincount(matches.image[kind], minlength=num_images) for kind in kinds]
    hits = np.bincount(matches.image[(matches.score >= SURE) & matches.found[:, 0, 0]], minlength=num_images)
    missed = matches.truth_counts[:, :, 0].sum(axis=1) - hits
    return np.stack([*counts, missed], axis=1).astype(np.int64)


plugin = Detection
