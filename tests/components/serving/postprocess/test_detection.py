from __future__ import annotations

import numpy as np
import pytest

from components.records import Preprocess
from components.serving.detections import Detections, no_detections
from components.serving.postprocess.detection import plugin

CLASSES = ["cat", "dog"]


def _detections(*rows: tuple[list[float], int, float]) -> Detections:
    boxes, labels, scores = zip(*rows, strict=True)
    return Detections(np.array(boxes, np.float32), np.array(labels, np.int64), np.array(scores, np.float32))


def test_points_become_the_boxes_that_no_surer_one_of_their_class_covers() -> None:
    boxes = np.array([[[0, 0, 10, 10], [0, 0, 10, 11], [0, 0, 10, 10], [50, 50, 60, 60], [1, 1, 2, 2]]], np.float32)
    scores = np.array([[[0.9, 0.1], [0.8, 0.2], [0.1, 0.7], [0.02, 0.03], [0.001, 0.005]]], np.float32)
    [found] = plugin.predictions({"boxes": boxes, "scores": scores})
    assert found.labels.tolist() == [0, 1, 1]
    assert found.scores == pytest.approx([0.9, 0.7, 0.03])
    np.testing.assert_array_equal(found.boxes_xyxy[2], [50, 50, 60, 60])


def test_boxes_are_restored_to_the_pixels_of_the_original_and_end_at_its_edges() -> None:
    found = _detections(([16, 8, 48, 40], 0, 0.9), ([-5, 0, 70, 64], 1, 0.5))
    restored = plugin.restore(found, (100, 200), Preprocess(size_hw=(64, 64), channels=3, resize="letterbox"))
    np.testing.assert_allclose(restored.boxes_xyxy, [[50, 0, 150, 75], [0, 0, 200, 100]], rtol=1e-6)
    assert restored.scores == pytest.approx(found.scores)


def test_a_row_for_people_holds_the_sure_detections() -> None:
    row = plugin.columns(_detections(([0, 0, 4, 4], 1, 0.8), ([1, 1, 2, 2], 0, 0.2)), CLASSES)
    assert row == {"labels": ["dog"], "scores": [pytest.approx(0.8)], "boxes_xyxy": [[0.0, 0.0, 4.0, 4.0]]}
    assert plugin.columns(no_detections(), CLASSES) == {"labels": [], "scores": [], "boxes_xyxy": []}


def test_predictions_are_compared_box_by_box_with_classes_by_name() -> None:
    ours = _detections(([0, 0, 10, 10], 0, 0.9), ([20, 20, 30, 30], 1, 0.6), ([40, 40, 50, 50], 0, 0.1))
    theirs = _detections(([0, 0, 10, 10.5], 1, 0.88), ([20, 20, 30, 30], 0, 0.6))
    difference, same = plugin.difference(ours, CLASSES, theirs, ["dog", "cat"])
    assert (difference, same) == (pytest.approx(0.02), True)
    lost, shown = plugin.difference(ours, CLASSES, _detections(([0, 0, 10, 10], 0, 0.9)), CLASSES)
    assert (lost, shown) == (pytest.approx(0.6), False)
    other_class = plugin.difference(ours, CLASSES, theirs, CLASSES)
    assert (other_class[0], other_class[1]) == (pytest.approx(0.9), False)
    assert plugin.difference(no_detections(), CLASSES, no_detections(), CLASSES) == (0.0, True)


def test_a_line_says_how_many_of_each_class_were_found() -> None:
    found = _detections(([0, 0, 4, 4], 1, 0.8), ([5, 5, 9, 9], 1, 0.3), ([1, 1, 2, 2], 0, 0.2))
    assert plugin.told(found, CLASSES) == ("2 × dog", "")
    assert plugin.told(no_detections(), CLASSES) == ("nothing found", "")


def test_matched_boxes_are_told_with_their_overlap_and_scores() -> None:
    ours = _detections(([0, 0, 10, 10], 0, 0.9), ([50, 50, 60, 60], 1, 0.5), ([80, 80, 90, 90], 1, 0.1))
    theirs = _detections(([0, 0, 10, 8], 1, 0.8), ([50, 50, 60, 60], 1, 0.7))
    found = plugin.likeness(ours, CLASSES, theirs, ["dog", "cat"])  # their 1 is a cat: our 0; nothing of theirs is a dog
    assert found == {"matched_boxes": 0.5, "matched_iou": pytest.approx(0.8), "matched_score_difference": pytest.approx(0.1)}
    assert plugin.likeness(ours, CLASSES, no_detections(), CLASSES) == {"matched_boxes": 0.0}
    assert plugin.likeness(no_detections(), CLASSES, ours, CLASSES) == {}
