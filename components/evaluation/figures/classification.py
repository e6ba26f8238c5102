"""Confusion and reliability of a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from components.evaluation.metrics.classification import CONFIDENCE, NUM_BINS, RANK, Classification, bins
from components.evaluation.overlays import Pixels
from components.evaluation.pictures import draw_confusion, draw_reliability


class ClassificationFigures:
    """The `Figures` of classification."""

    legend = ""

    def __call__(self, evaluator: Classification, statistics: npt.NDArray[np.float64], folder: Path) -> None:
        """Draw confusion.png and reliability.png.

        Args:
            evaluator: Of the task.
            statistics: What it says of each image, float64 (N, K).
            folder: Where they go; it exists.
        """
        draw_confusion(evaluator.confusion_matrix(statistics), evaluator.classes, folder / "confusion.png")
        of_image = bins(statistics)
        counts = np.bincount(of_image, minlength=NUM_BINS)
        filled = np.maximum(counts, 1)
        confidence = np.bincount(of_image, statistics[:, CONFIDENCE], minlength=NUM_BINS) / filled
        accuracy = np.bincount(of_image, statistics[:, RANK] == 0, minlength=NUM_BINS) / filled
        draw_reliability(counts, confidence, accuracy, evaluator.score(statistics)["calibration_error"], folder / "reliability.png")

    def marked(self, image: Pixels, annotation: Any, classes: Sequence[str]) -> Pixels:  # noqa: ARG002 - the seam's signature
        """Return the image: a class has no place in it."""
        return image

    def judged(self, image: Pixels, target: Any, prediction: Any, classes: Sequence[str]) -> Pixels:  # noqa: ARG002
        """Return the image; its caption says what was taken for what."""
        return image


plugin = ClassificationFigures()
