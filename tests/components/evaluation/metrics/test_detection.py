from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pandas as pd
import pytest

from components.datasets.annotations import Truth
from components.errors import DataError
from components.evaluation.metrics.detection import Detection
from components.serving.detections import Detections, no_detections


def _scene(seed: int, num_images: int = 40, num_classes: int = 5) -> tuple[list[Detections], list[Truth]]:
    """Objects of all sizes, some to be ignored; detections near them, of wrong classes, twice, or of nothing; many equal scores."""
    rng = np.random.default_rng(seed)
    predictions, truths = [], []
    for _ in range(num_images):
        count = int(rng.integers(0, 9))
        corners = rng.uniform(0, 400, (count, 2))
        boxes = np.concatenate([corners, corners + np.exp(rng.uniform(1, 5.5, (count, 2)))], axis=1)
        labels = rng.integers(0, num_classes, count)
        truths.append(Truth(boxes, labels, rng.random(count) < 0.15))
        near = rng.integers(0, count, 25) if count else np.empty(0, np.int64)
        moved = boxes[near] + rng.normal(0, 5, (len(near), 4))
        elsewhere = rng.uniform(0, 400, (15, 2))
        found = np.concatenate([moved, np.concatenate([elsewhere, elsewhere + rng.uniform(5, 90, (15, 2))], axis=1)])
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
        named = np.concatenate([np.where(rng.random(len(near)) < 0.8, labels[near], 0), rng.integers(0, num_classes, 15)])
        scores = np.round(rng.random(len(found)), 2).astype(np.float32)
        predictions.append(Detections(found.astype(np.float32), named.astype(np.int64), scores))
    return predictions, truths


def _coco(predictions: list[Detections], truths: list[Truth], num_classes: int, coco: Any, evaluation: Any) -> dict[str, float]:
    """Return what a COCO implementation says of the same boxes."""
    annotations: list[dict[str, Any]] = []
    for image, truth in enumerate(truths):
        for box, label, ignore in zip(truth.boxes_xyxy, truth.labels, truth.ignore, strict=True):
            x0, y0, x1, y1 = map(float, box)
            size = {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)}
            annotations.append({"id": len(annotations) + 1, "image_id": image, "category_id": int(label), "iscrowd": int(ignore), **size})
    results = [
        {
            "image_id": image,
            "category_id": int(label),
            "bbox": [float(x0), float(y0), float(x1) - float(x0), float(y1) - float(y0)],
            "score": float(score),
        }
        for image, found in enumerate(predictions)
        for (x0, y0, x1, y1), label, score in zip(found.boxes_xyxy, found.labels, found.scores, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        given = coco()
        given.dataset = {
            "images": [{"id": image, "width": 640, "height": 480} for image in range(len(truths))],
            "categories": [{"id": number, "name": str(number)} for number in range(num_classes)],
            "annotations": annotations,
        }
        given.createIndex()
        judged = evaluation(given, given.loadRes(results), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    names = {"ap": 0, "ap50": 1, "ap75": 2, "ap_small": 3, "ap_medium": 4, "ap_large": 5, "ar": 8}
    return {name: float(judged.stats[place]) for name, place in names.items()}


@pytest.mark.parametrize("seed", range(4))
def test_the_numbers_are_those_of_pycocotools(seed: int) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    predictions, truths = _scene(seed)
    evaluator = Detection([str(number) for number in range(5)])
    expected = _coco(predictions, truths, 5, COCO, COCOeval)
    scores = evaluator.score(evaluator.statistics(predictions, truths))
    assert {name: scores[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert 0.01 < scores["ap"] < 0.95


def test_the_numbers_are_those_of_faster_coco_eval() -> None:
    from faster_coco_eval import COCO, COCOeval_faster

    predictions, truths = _scene(11)
    evaluator = Detection([str(number) for number in range(5)])
    scores = evaluator.score(evaluator.statistics(predictions, truths))
    expected = _coco(predictions, truths, 5, COCO, COCOeval_faster)
    assert {name: scores[name] for name in expected} == pytest.approx(expected, abs=1e-6)


def test_an_image_that_counts_twice_is_as_one_that_is_there_twice() -> None:
    predictions, truths = _scene(5, num_images=12)
    evaluator = Detection([str(number) for number in range(5)])
    statistics = evaluator.statistics(predictions, truths)
    weights = np.array([0, 1, 2, 1, 1, 0, 3, 1, 1, 1, 1, 0], dtype=np.float64)
    repeated = np.repeat(np.arange(12), weights.astype(int))
    expected = evaluator.score(evaluator.statistics([predictions[n] for n in repeated], [truths[n] for n in repeated]))
    weighted = evaluator.score(statistics, weights)
    assert weighted == pytest.approx({name: expected[name] for name in weighted}, abs=1e-3)  # equal scores may stand in another order


def test_perfect_nothing_and_nothing_to_find() -> None:
    evaluator = Detection(["cat", "dog"])
    truth = Truth(np.array([[10.0, 10, 60, 80], [100, 100, 140, 150]]), np.array([0, 1]), np.zeros(2, np.bool_))
    perfect = Detections(truth.boxes_xyxy.astype(np.float32), truth.labels, np.array([0.9, 0.8], np.float32))
    scores = evaluator.score(evaluator.statistics([perfect], [truth]))
    assert (scores["ap"], scores["voc_ap"], scores["ar"]) == pytest.approx((1, 1, 1))
    assert np.isnan(scores["ap_small"])
    nothing = evaluator.statistics([evaluator.baseline([truth])], [truth])
    assert evaluator.score(nothing)["ap"] == 0
    assert evaluator.error_counts(nothing)["missed"] == 2
    empty = Truth(np.empty((0, 4)), np.empty(0, np.int64), np.empty(0, np.bool_))
    assert np.isnan(evaluator.score(evaluator.statistics([perfect], [empty]))["ap"])


def test_errors_are_told_apart() -> None:
    evaluator = Detection(["cat", "dog"])
    truth = Truth(np.array([[0.0, 0, 100, 100], [200, 0, 300, 100], [0, 200, 100, 300]]), np.array([0, 0, 1]), np.zeros(3, np.bool_))
    boxes = np.array([[0, 0, 100, 98], [0, 0, 100, 97], [200, 0, 300, 100], [0, 240, 100, 350], [500, 500, 550, 550]], np.float32)
    found = Detections(boxes, np.array([0, 0, 1, 1, 0]), np.array([0.9, 0.8, 0.9, 0.9, 0.9], np.float32))
    statistics = evaluator.statistics([found], [truth])
    assert evaluator.error_counts(statistics) == {"class": 1, "location": 1, "both": 0, "duplicate": 1, "background": 1, "missed": 2}
    assert evaluator.mistakes(statistics) == [(0, "1 class, 1 location, 1 duplicate, 1 background, 2 missed")]


def test_the_threshold_is_the_one_of_the_best_f1() -> None:
    evaluator = Detection(["cat"])
    truth = Truth(np.array([[0.0, 0, 10, 10], [20, 20, 30, 30]]), np.array([0, 0]), np.zeros(2, np.bool_))
    boxes = np.array([[0, 0, 10, 10], [20, 20, 30, 30], [50, 50, 60, 60]], np.float32)
    row = evaluator.per_class(evaluator.statistics([Detections(boxes, np.zeros(3, np.int64), np.array([0.9, 0.7, 0.4], np.float32))], [truth]))
    assert row.iloc[0].to_dict() == pytest.approx(
        {"class": "cat", "support": 2, "ap": 1.0, "ap50": 1.0, "f1": 1.0, "precision": 1.0, "recall": 1.0, "threshold": 0.7}
    )


def test_rows_give_the_targets() -> None:
    evaluator = Detection(["cat", "dog"])
    rows = pd.DataFrame({"image_id": ["a", "b"], "boxes_xyxy": [[[0, 0, 2, 3]], []], "box_labels": [["dog"], []], "box_ignore": [[True], None]})
    first, second = evaluator.targets(rows)
    assert (first.boxes_xyxy.tolist(), first.labels.tolist(), first.ignore.tolist()) == ([[0, 0, 2, 3]], [1], [True])
    assert second.boxes_xyxy.shape == (0, 4)
    with pytest.raises(DataError, match="a: boxes of bird, which are no classes"):
        evaluator.targets(rows.assign(box_labels=[["bird"], []]))
    with pytest.raises(DataError, match="b has no boxes_xyxy: nobody has annotated it"):
        evaluator.targets(rows.assign(boxes_xyxy=[[[0, 0, 2, 3]], None]))
    with pytest.raises(DataError, match="labelled for another task"):
        evaluator.targets(rows[["image_id"]])
    with pytest.raises(DataError, match="hold what is no number"):
        evaluator.statistics(
            [no_detections(), Detections(np.full((1, 4), np.nan, np.float32), np.array([0]), np.ones(1, np.float32))], [first, second]
        )
