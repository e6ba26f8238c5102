from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import binary_erosion, generate_binary_structure, zoom
from scipy.spatial.distance import cdist
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, jaccard_score

from components.datasets.annotations import mask_png
from components.errors import DataError
from components.evaluation.metrics import segmentation
from components.evaluation.metrics.segmentation import Segmentation


@pytest.fixture
def evaluator() -> Segmentation:
    return Segmentation(["sky", "tree", "road"])


def _masks(seed: int, count: int = 6) -> list[np.ndarray]:
    return [np.random.default_rng(seed + number).integers(0, 3, (8, 9)).astype(np.uint8) for number in range(count)]


def test_the_numbers_are_those_of_scikit_learn(evaluator: Segmentation) -> None:
    truths, predictions = _masks(0), _masks(100)
    truth, given = (np.concatenate([mask.ravel() for mask in masks]) for masks in (truths, predictions))
    statistics = evaluator.statistics(predictions, truths)
    scores = evaluator.score(statistics)
    assert scores["miou"] == pytest.approx(jaccard_score(truth, given, average="macro"))
    assert scores["dice"] == pytest.approx(f1_score(truth, given, average="macro"))
    assert scores["pixel_accuracy"] == pytest.approx(accuracy_score(truth, given))
    np.testing.assert_allclose(evaluator.per_class(statistics)["iou"], jaccard_score(truth, given, average=None))
    assert evaluator.per_class(statistics)["support"].tolist() == [6, 6, 6]


def test_an_image_that_counts_twice_is_as_one_that_is_there_twice(evaluator: Segmentation) -> None:
    truths, predictions = _masks(0), _masks(100)
    weights = np.array([0.0, 1, 2, 1, 1, 3])
    again = np.repeat(np.arange(6), weights.astype(int))
    expected = evaluator.score(evaluator.statistics([predictions[n] for n in again], [truths[n] for n in again]))
    assert evaluator.score(evaluator.statistics(predictions, truths), weights) == pytest.approx(expected)


def test_pixels_that_are_not_labelled_do_not_count(evaluator: Segmentation) -> None:
    truth = np.zeros((4, 4), np.uint8)
    truth[:, 2:] = 255
    given = np.zeros((4, 4), np.uint8)
    given[:, 2:] = 2
    assert evaluator.score(evaluator.statistics([given], [truth]))["miou"] == 1.0
    with pytest.raises(DataError, match="no pixel to score"):
        evaluator.score(evaluator.statistics([given], [np.full((4, 4), 255, np.uint8)]))


def test_a_boundary_is_met_within_the_tolerance_only(evaluator: Segmentation) -> None:
    truth = np.zeros((100, 100), np.uint8)
    truth[:, 50:] = 1
    scores = []
    for shift in (0, 2, 10):
        given = np.zeros((100, 100), np.uint8)
        given[:, 50 + shift :] = 1
        scores.append(evaluator.score(evaluator.statistics([given], [truth]))["boundary_f"])
    assert scores[0] == 1.0
    assert scores[0] >= scores[1] > 0.5
    assert scores[2] == 0.0


def _boundary_f(truth: np.ndarray, given: np.ndarray, label: int, reach: float) -> float:
    """By erosion and all distances, one against one."""
    cross = generate_binary_structure(2, 1)
    edges = [(mask == label) & ~binary_erosion(mask == label, cross, border_value=1) for mask in (truth, given)]
    distances = cdist(*(np.argwhere(edge) for edge in edges))
    recall, precision = (distances.min(axis=1) <= reach).mean(), (distances.min(axis=0) <= reach).mean()
    return float(2 * precision * recall / (precision + recall))


@pytest.mark.parametrize("at_once", [2**23, 300])
def test_the_boundary_f_score_is_that_of_all_distances(evaluator: Segmentation, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(segmentation, "_PIXELS_AT_ONCE", at_once)  # 300: band by band, as a very large image is
    draws = np.random.default_rng(0)
    truth, given = (zoom(draws.integers(0, 3, (7, 9)), 20, order=0).astype(np.uint8) for _ in range(2))
    given[:, 40:] = np.roll(truth, (1, 2), (0, 1))[:, 40:]
    reach = np.ceil(0.008 * np.hypot(*truth.shape))
    statistics = evaluator.statistics([given], [truth])
    expected = [_boundary_f(truth, given, label, reach) for label in range(3)]
    np.testing.assert_allclose(evaluator.per_class(statistics)["boundary_f"], expected)
    assert 0.2 < min(expected) < max(expected) < 0.95
    np.testing.assert_array_equal(statistics[0, :9].reshape(3, 3), confusion_matrix(truth.ravel(), given.ravel()))


def test_mistakes_say_what_was_taken_for_what(evaluator: Segmentation) -> None:
    truth = np.zeros((10, 10), np.uint8)
    given = truth.copy()
    given[:2] = 2
    assert evaluator.mistakes(evaluator.statistics([truth, given], [truth, truth])) == [(1, "20.0% wrong, most: sky taken for road")]


def test_the_baseline_names_the_commonest_class_everywhere(evaluator: Segmentation) -> None:
    truth = np.ones((4, 4), np.uint8)
    truth[0] = 2
    constant = evaluator.baseline([truth])
    assert evaluator.score(evaluator.statistics([constant], [truth]))["pixel_accuracy"] == 0.75


def test_rows_give_the_targets(evaluator: Segmentation) -> None:
    mask = np.array([[0, 1], [2, 255]], np.uint8)
    np.testing.assert_array_equal(evaluator.targets(pd.DataFrame({"image_id": ["a"], "mask_png": [mask_png(mask)]}))[0], mask)
    with pytest.raises(DataError, match="a: its mask holds 7, which is no class"):
        evaluator.targets(pd.DataFrame({"image_id": ["a"], "mask_png": [mask_png(np.full((2, 2), 7, np.uint8))]}))
    with pytest.raises(DataError, match="b has no mask: nobody has annotated it, nor 1 other images"):
        evaluator.targets(pd.DataFrame({"image_id": ["a", "b", "c"], "mask_png": [mask_png(mask), None, None]}))
    with pytest.raises(DataError, match="labelled for another task"):
        evaluator.targets(pd.DataFrame({"image_id": ["a"]}))
    with pytest.raises(DataError, match=r"has the shape \(3, 2\), its mask \(2, 2\)"):
        evaluator.statistics([np.zeros((3, 2), np.uint8)], [mask])
