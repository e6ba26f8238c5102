"""Segmentation: which pixels were taken for what, and truths beside predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from components.datasets.masks import Mask
from components.evaluation.metrics.segmentation import Segmentation
from components.evaluation.overlays import Pixels, beside, with_mask
from components.evaluation.pictures import draw_confusion


class SegmentationFigures:
    """The `Figures` of segmentation."""

    legend = "left: as labelled; right: as predicted"

    def __call__(self, evaluator: Segmentation, statistics: npt.NDArray[np.float64], folder: Path) -> None:
        """Draw confusion.png, of pixels.

        Args:
            evaluator: Of the task.
            statistics: What it says of each image, float64 (N, K).
            folder: Where it goes; it exists.
        """
        draw_confusion(evaluator.confusion_matrix(statistics), evaluator.classes, folder / "confusion.png")

    def marked(self, image: Pixels, annotation: Mask, classes: Sequence[str]) -> Pixels:
        """Lay a mask over an image; a class that is called background stays clear."""
        return with_mask(image, annotation, classes.index("background") if "background" in classes else None)

    def judged(self, image: Pixels, target: Mask, prediction: Mask, classes: Sequence[str]) -> Pixels:
        """Draw the mask that is true, left, and the one that was predicted, right."""
        return beside([self.marked(image, target, classes), self.marked(image, prediction, classes)])


plugin = SegmentationFigures()
