from __future__ import annotations

from pathlib import Path

import numpy as np

from components.evaluation.figures.segmentation import plugin as figures
from components.evaluation.metrics.segmentation import plugin as evaluator_of

CLASSES = ["background", "cat"]


def test_pixels_are_drawn_as_a_confusion_matrix(tmp_path: Path) -> None:
    evaluator = evaluator_of(CLASSES)
    mask = np.eye(6, dtype=np.uint8)
    figures(evaluator, evaluator.statistics([mask, 1 - mask], [mask, mask]), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["confusion.png"]


def test_truth_stands_left_of_the_prediction_over_the_image() -> None:
    image, mask = np.full((200, 200, 1), 50, np.uint8), np.zeros((200, 200), np.uint8)
    mask[:100] = 1
    picture = figures.judged(image, mask, 1 - mask, CLASSES)
    assert picture.shape == (200, 404, 3)
    coloured = np.ptp(picture.astype(int), axis=2) > 20
    assert coloured[:100, :200].all()
    assert not coloured[100:, :200].any()
    assert coloured[100:, 204:].all()
    np.testing.assert_array_equal(picture[:, :200], figures.marked(image, mask, CLASSES))
