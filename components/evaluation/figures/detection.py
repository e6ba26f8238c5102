"""Detection: precision against recall, kinds of error, and truths beside predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from components.datasets.annotations import Truth
from components.evaluation.metrics.detection import Detection
from components.evaluation.overlays import Pixels, beside, with_boxes
from components.evaluation.pictures import draw_bars, draw_curves
from components.serving.detections import Detections
from components.serving.postprocess.detection import SHOWN_SCORE


class DetectionFigures:
    """The `Figures` of detection."""

    legend = "left: as labelled; right: as found"

    def __call__(self, evaluator: Detection, statistics: npt.NDArray[np.float64], folder: Path) -> None:
        """Draw precision_recall.png, of each class at IoU 0.5, and errors.png, how many there are of each kind.

        Args:
            evaluator: Of the task.
            statistics: What it says of each image, float64 (N, K).
            folder: Where they go; it exists.
        """
        recall = np.linspace(0, 1, 101)
        curves = {
            name: curve for name, curve in zip(evaluator.classes, evaluator.precision_recall(statistics), strict=True) if not np.isnan(curve).any()
        }
        draw_curves(recall, curves, ("recall", "precision at IoU 0.5"), folder / "precision_recall.png")
        draw_bars(evaluator.error_counts(statistics), "errors", folder / "errors.png")

    def marked(self, image: Pixels, annotation: Truth | Detections, classes: Sequence[str]) -> Pixels:
        """Draw boxes with class names; of detections those of a score of 0.25 or more, with the score."""
        if isinstance(annotation, Truth):
            names = [
                f"{classes[label]}{' (ignored)' if ignored else ''}" for label, ignored in zip(annotation.labels, annotation.ignore, strict=True)
            ]
            return with_boxes(image, annotation.boxes_xyxy, annotation.labels.tolist(), names)
        shown = annotation.scores >= SHOWN_SCORE
        labels = annotation.labels[shown].tolist()
        names = [f"{classes[label]} {score:.2f}" for label, score in zip(labels, annotation.scores[shown], strict=True)]
        return with_boxes(image, annotation.boxes_xyxy[shown].astype(np.float64), labels, names)

    def judged(self, image: Pixels, target: Truth, prediction: Detections, classes: Sequence[str]) -> Pixels:
        """Draw what is there, left, and what was found, right."""
        return beside([self.marked(image, target, classes), self.marked(image, prediction, classes)])


plugin = DetectionFigures()
