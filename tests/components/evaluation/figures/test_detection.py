from __future__ import annotations

from pathlib import Path

import numpy as np

from components.datasets.annotations import Truth
from components.evaluation.figures.detection import plugin as figures
from components.evaluation.metrics.detection import plugin as evaluator_of
from components.serving.detections import Detections, no_detections

CLASSES = ["cat", "dog"]
TRUTH = Truth(np.array([[20.0, 20, 80, 80]]), np.array([0]), np.array([False]))
FOUND = Detections(np.array([[22, 20, 80, 80], [120, 120, 180, 180]], np.float32), np.array([0, 1]), np.array([0.9, 0.1], np.float32))


def test_curves_and_errors_are_drawn_with_and_without_detections(tmp_path: Path) -> None:
    evaluator = evaluator_of(CLASSES)
    for name, predictions in (("found", [FOUND]), ("nothing", [no_detections()])):
        (tmp_path / name).mkdir()
        figures(evaluator, evaluator.statistics(predictions, [TRUTH]), tmp_path / name)
    drawn = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*.png")}
    assert sorted(drawn) == [f"{name}/{figure}.png" for name in ("found", "nothing") for figure in ("errors", "precision_recall")]
    assert drawn["found/errors.png"] != drawn["nothing/errors.png"]
    assert drawn["found/precision_recall.png"] != drawn["nothing/precision_recall.png"]


def test_truths_stand_left_of_sure_detections() -> None:
    image = np.full((200, 200, 1), 50, np.uint8)
    picture = figures.judged(image, TRUTH, FOUND, CLASSES)
    coloured = np.ptp(picture.astype(int), axis=2) > 20
    assert picture.shape == (200, 404, 3)
    assert coloured[79, 20:80].all()
    assert coloured[79, 204 + 22 : 204 + 80].all()
    assert not coloured[100:].any(), "a detection of a score of 0.1 is not shown"
