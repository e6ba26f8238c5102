from __future__ import annotations

import numpy as np

from components.datasets.annotations import Truth
from components.evaluation.matching import AREAS, THRESHOLDS, iou_matrix, match
from components.serving.detections import Detections, no_detections


def _truth(*boxes: tuple[float, float, float, float], ignore: tuple[int, ...] = ()) -> Truth:
    flags = np.array([number in ignore for number in range(len(boxes))], np.bool_)
    return Truth(np.array(boxes, np.float64).reshape(-1, 4), np.zeros(len(boxes), np.int64), flags)


def _found(*boxes: tuple[float, float, float, float]) -> Detections:
    scores = np.linspace(0.9, 0.5, len(boxes)).astype(np.float32)
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), np.zeros(len(boxes), np.int64), scores)


def test_overlap_by_hand() -> None:
    box, other = np.array([[0.0, 0, 10, 10]]), np.array([[5.0, 0, 15, 10], [20, 20, 30, 30], [0, 0, 10, 10]])
    np.testing.assert_allclose(iou_matrix(box, other), [[50 / 150, 0, 1]])
    np.testing.assert_allclose(iou_matrix(box, other, np.array([True, False, False])), [[0.5, 0, 1]])


def test_an_object_is_found_once_by_the_surest() -> None:
    matches = match([_found((0, 0, 10, 10), (0, 0, 10, 9))], [_truth((0, 0, 10, 10))], 1)
    assert matches.found[:, 0, 0].tolist() == [True, False]
    assert matches.found[0, 0].all()
    assert matches.truth_counts[0, 0].tolist() == [1, 1, 0, 0]


def test_the_second_best_object_is_taken_if_the_best_is_gone() -> None:
    truth = _truth((0, 0, 10, 10), (0, 0, 10, 13))
    assert match([_found((0, 0, 10, 11), (0, 0, 10, 11))], [truth], 1).found[:, 0, 0].tolist() == [True, True]


def test_what_lies_in_a_crowd_counts_neither_way_however_often() -> None:
    matches = match([_found((0, 0, 10, 10), (5, 5, 15, 15))], [_truth((0, 0, 100, 100), ignore=(0,))], 1)
    assert matches.ignored[:, 0].all()
    assert not matches.found.any()
    assert matches.truth_counts.sum() == 0


def test_an_area_judges_its_own_objects_alone() -> None:
    matches = match([_found((0, 0, 200, 200), (300, 300, 310, 310))], [_truth((0, 0, 200, 200))], 1)
    small = list(AREAS).index("small")
    assert matches.ignored[0, small].all()
    assert not matches.ignored[1, small].any()
    assert matches.found[0, list(AREAS).index("large"), : len(THRESHOLDS)].all()


def test_images_without_anything() -> None:
    matches = match([no_detections(), _found((0, 0, 10, 10))], [_truth(), _truth()], 1)
    assert matches.image.tolist() == [1]
    assert not matches.found.any()
