"""Classification: one class an image. A prediction is an array (C,) of probabilities, a target a class index.

Legend: N images, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.errors import DataError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Columns of the statistics.
LABEL, PREDICTED, CONFIDENCE, RANK, NLL = range(5)

NUM_BINS = 15
_TOP_K = (3, 5)
_LEAST_PROBABILITY = float(np.finfo(np.float32).eps)  # a class that was called impossible costs 15.9 nats, not infinitely many


class Classification:
    """Evaluator of single-label classification.

    Args:
        classes: The class names in order.
    """

    metric = "accuracy"

    def __init__(self, classes: Sequence[str]) -> None:
        if len(classes) < 2:
            raise DataError(f"found {len(classes)} class{'' if len(classes) == 1 else 'es'} ({', '.join(classes)}); classification needs at least 2")
        self.classes = list(classes)

    def targets(self, rows: pd.DataFrame) -> IntArray:
        """Return the class index of each row's `label`, int64 (N,).

        Raises:
            DataError: There is no such column, or a label is no class.
        """
        if "label" not in rows:
            raise DataError(f"the manifest has no column 'label', which classification needs; its columns are {', '.join(map(str, rows.columns))}")
        indices = pd.Index(self.classes).get_indexer(pd.Index(rows["label"]))
        if (indices < 0).any():
            unknown = sorted({str(label) for label in rows["label"][indices < 0]})
            raise DataError(
                f"{int((indices < 0).sum())} labels name no class: {', '.join(unknown[:5])}. The classes are {', '.join(self.classes[:20])}"
            )
        return indices.astype(np.int64)

    def statistics(self, predictions: Sequence[Any], targets: Sequence[Any]) -> FloatArray:
        """Return label, predicted class, its probability, rank of the label (0 = first) and negative log-likelihood of each image, float64 (N, 5).

        Among equal probabilities the class that stands first wins.

        Raises:
            DataError: The predictions are no probabilities, or not one for each target and class.
        """
        labels = np.asarray(targets, dtype=np.int64)
        probabilities = np.asarray(predictions, dtype=np.float64)
        if probabilities.shape != (len(labels), len(self.classes)):
            expected = f"({len(labels)}, {len(self.classes)})"
            raise DataError(f"predictions have the shape {probabilities.shape}, expected {expected}: a probability for each image and class")
        wrong = ~((probabilities >= 0) & (probabilities <= 1 + 1e-4)).all(axis=1)  # NaN is wrong too
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            raise DataError(
                f"{int(wrong.sum())} of {len(labels)} predictions are no probabilities; the first is number {first}: {probabilities[first][:5]}"
            )
        images = np.arange(len(labels))
        of_label = probabilities[images, labels]
        earlier = np.arange(len(self.classes)) < labels[:, None]
        rank = ((probabilities > of_label[:, None]) | ((probabilities == of_label[:, None]) & earlier)).sum(axis=1)
        predicted = probabilities.argmax(axis=1)
        nll = -np.log(np.maximum(of_label, _LEAST_PROBABILITY))
        return np.stack([labels, predicted, probabilities[images, predicted], rank, nll], axis=1)

    def score(self, statistics: FloatArray, weights: FloatArray | None = None) -> dict[str, float]:
        """Return accuracy, top-k accuracy, macro precision, recall and F1, calibration error and negative log-likelihood.

        Macro averages go over the classes that have images; a class that is never predicted has precision 0. The calibration error
        is the expected one of Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017): 15 bins of equal width
        over the probability of the predicted class, open on the left.

        Raises:
            DataError: There is no image.
        """
        weights = np.ones(len(statistics)) if weights is None else weights
        total = float(weights.sum())
        if total <= 0:
            raise DataError("no image to score; expected at least one")
        rank = statistics[:, RANK]
        scores = {"accuracy": float(weights[rank == 0].sum()) / total}
        for k in _TOP_K:
            if k < len(self.classes):
                scores[f"top{k}_accuracy"] = float(weights[rank < k].sum()) / total
        support, precision, recall, f1 = self._class_scores(statistics, weights)
        present = support > 0
        scores |= {"precision": float(precision[present].mean()), "recall": float(recall[present].mean()), "f1": float(f1[present].mean())}
        gap = np.bincount(bins(statistics), weights * ((rank == 0) - statistics[:, CONFIDENCE]), minlength=NUM_BINS)
        scores["calibration_error"] = float(np.abs(gap).sum()) / total
        scores["nll"] = float(weights @ statistics[:, NLL]) / total
        return scores

    def per_class(self, statistics: FloatArray) -> pd.DataFrame:
        """Return support, recall, precision and F1 of each class; NaN for recall and F1 of a class without images."""
        support, precision, recall, f1 = self._class_scores(statistics, np.ones(len(statistics)))
        recall[support == 0] = f1[support == 0] = np.nan
        return pd.DataFrame({"class": self.classes, "support": support.astype(np.int64), "recall": recall, "precision": precision, "f1": f1})

    def baseline(self, targets: Sequence[Any]) -> FloatArray:
        """Return the frequency of each class, float64 (C,): its decision is the majority class."""
        counts = np.bincount(np.asarray(targets, dtype=np.int64), minlength=len(self.classes))
        frequencies: FloatArray = counts / max(1, int(counts.sum()))
        return frequencies

    def mistakes(self, statistics: FloatArray) -> list[tuple[int, str]]:
        """Return the images that were named wrongly, the surest first."""
        wrong = np.flatnonzero(statistics[:, RANK] > 0)
        order = wrong[np.argsort(-statistics[wrong, CONFIDENCE], kind="stable")]
        return [(int(image), self._caption(statistics[image])) for image in order]

    def _caption(self, row: FloatArray) -> str:
        return f"{self.classes[int(row[LABEL])]} taken for {self.classes[int(row[PREDICTED])]} ({row[CONFIDENCE]:.0%})"

    def confusion(self, statistics: FloatArray) -> pd.DataFrame:
        """Return label and predicted class of each image."""
        names = np.array(self.classes, dtype=object)
        return pd.DataFrame({"label": names[statistics[:, LABEL].astype(np.int64)], "predicted": names[statistics[:, PREDICTED].astype(np.int64)]})

    def confusion_matrix(self, statistics: FloatArray) -> IntArray:
        """Return how many images of each class (row) were predicted as each class (column), int64 (C, C)."""
        num_classes = len(self.classes)
        pairs = (statistics[:, LABEL] * num_classes + statistics[:, PREDICTED]).astype(np.int64)
        return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)

    def _class_scores(self, statistics: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        labels = statistics[:, LABEL].astype(np.int64)
        num_classes = len(self.classes)
        correct = statistics[:, RANK] == 0
        support: FloatArray = np.bincount(labels, weights, minlength=num_classes).astype(np.float64)
        named: FloatArray = np.bincount(statistics[:, PREDICTED].astype(np.int64), weights, minlength=num_classes).astype(np.float64)
        hits: FloatArray = np.bincount(labels[correct], weights[correct], minlength=num_classes).astype(np.float64)
        precision = hits / np.maximum(named, 1e-12)
        recall = hits / np.maximum(support, 1e-12)
        f1 = 2 * hits / np.maximum(support + named, 1e-12)
        return support, precision, recall, f1


def bins(statistics: FloatArray) -> IntArray:
    """Return the calibration bin of each image, 0..14: bin b holds the probabilities in (b/15, (b+1)/15]."""
    return np.clip(np.ceil(statistics[:, CONFIDENCE] * NUM_BINS).astype(np.int64) - 1, 0, NUM_BINS - 1)


plugin = Classification
