"""Average precision by our evaluator against pycocotools and faster-coco-eval: 1,000 images of 100 detections in 80 classes, in turn."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.pairs import interleaved
from benchmarks.rows import Row
from components.datasets.annotations import Truth
from components.evaluation.metrics.detection import Detection
from components.serving.detections import Detections

TARGET, TOLERANCE = 12.0, 1e-6
NUM_IMAGES, NUM_DETECTIONS, NUM_CLASSES = 1000, 100, 80
NUM_PAIRS = 3
WIDTH, HEIGHT = 640.0, 480.0
#: Of COCO's numbers those that we give too, by their place in its list.
PLACES = {"ap": 0, "ap50": 1, "ap75": 2, "ap_small": 3, "ap_medium": 4, "ap_large": 5, "ar": 8}


def scene(seed: int = 0) -> tuple[list[Detections], list[Truth]]:
    """Return detections and objects as a detector leaves them on photographs.

    Some seven objects an image (COCO's mean) of a few classes, of all sizes, one in a hundred a crowd; two thirds of the detections lie about an
    object, the surer the nearer, one in five of them under another name; the rest lies anywhere and is less sure.
    """
    rng = np.random.default_rng(seed)
    predictions, truths = [], []
    for _ in range(NUM_IMAGES):
        count = 1 + int(rng.poisson(6.3))
        sides = np.exp(rng.uniform(np.log(10), np.log(300), (count, 2)))
        corners = rng.uniform(0, 1, (count, 2)) * np.maximum([WIDTH, HEIGHT] - sides, 1)
        boxes = np.concatenate([corners, corners + sides], axis=1)
        labels = rng.choice(rng.integers(0, NUM_CLASSES, 4), count)
        truths.append(Truth(boxes, labels, rng.random(count) < 0.01))
        near = rng.integers(0, count, NUM_DETECTIONS * 2 // 3)
        spread = rng.exponential(0.08, len(near))
        moved = boxes[near] + rng.normal(0, 1, (len(near), 4)) * spread[:, None] * np.tile(sides[near], 2)
        num_elsewhere = NUM_DETECTIONS - len(near)
        elsewhere = rng.uniform(0, 1, (num_elsewhere, 2)) * [WIDTH * 0.8, HEIGHT * 0.8]
        found = np.concatenate([moved, np.concatenate([elsewhere, elsewhere + rng.uniform(8, 150, (num_elsewhere, 2))], axis=1)])
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
        named = np.where(rng.random(len(near)) < 0.8, labels[near], rng.integers(0, NUM_CLASSES, len(near)))
        named = np.concatenate([named, rng.integers(0, NUM_CLASSES, num_elsewhere)])
        scores = np.concatenate([np.exp(-6 * spread) * rng.uniform(0.4, 1, len(near)), rng.uniform(0.01, 0.4, num_elsewhere)])
        predictions.append(Detections(found.astype(np.float32), named.astype(np.int64), scores.astype(np.float32)))
    return predictions, truths


def in_coco(predictions: list[Detections], truths: list[Truth]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the same as COCO's files hold it: the dataset with its annotations, and the results."""
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image, (found, truth) in enumerate(zip(predictions, truths, strict=True)):
        for (x0, y0, x1, y1), label, crowd in zip(truth.boxes_xyxy.tolist(), truth.labels.tolist(), truth.ignore.tolist(), strict=True):
            size = {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)}
            annotations.append({"id": len(annotations) + 1, "image_id": image, "category_id": label, "iscrowd": int(crowd), **size})
        for (x0, y0, x1, y1), label, score in zip(found.boxes_xyxy.tolist(), found.labels.tolist(), found.scores.tolist(), strict=True):
            results.append({"image_id": image, "category_id": label, "bbox": [x0, y0, x1 - x0, y1 - y0], "score": score})
    images = [{"id": image, "width": WIDTH, "height": HEIGHT} for image in range(len(truths))]
    categories = [{"id": number, "name": str(number)} for number in range(NUM_CLASSES)]
    return {"images": images, "categories": categories, "annotations": annotations}, results


class Contender:
    """A COCO implementation on the scene; what it reads and indexes beforehand is not measured."""

    def __init__(self, coco: Any, evaluation: Any, dataset: dict[str, Any], results: list[dict[str, Any]]) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            self._given = coco()
            self._given.dataset = dataset
            self._given.createIndex()
            self._found = self._given.loadRes(results)
        self._evaluation = evaluation
        self.numbers: dict[str, float] = {}

    def __call__(self) -> float:
        """Return evaluations a second of processor time."""
        with contextlib.redirect_stdout(io.StringIO()):
            judged = self._evaluation(self._given, self._found, "bbox")
            began = time.process_time()
            judged.evaluate()
            judged.accumulate()
            judged.summarize()
        self.numbers = {name: float(judged.stats[place]) for name, place in PLACES.items()}
        return 1 / (time.process_time() - began)


def rows() -> list[Row]:
    """Measure."""
    import faster_coco_eval
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    predictions, truths = scene()
    dataset, results = in_coco(predictions, truths)
    numbers: dict[str, float] = {}

    def ours() -> float:
        began = time.process_time()
        evaluator = Detection([str(number) for number in range(NUM_CLASSES)])
        numbers.update(evaluator.score(evaluator.statistics(predictions, truths)))
        return 1 / (time.process_time() - began)

    found = []
    others: list[tuple[str, Contender, float | None]] = [
        ("pycocotools", Contender(COCO, COCOeval, dataset, results), TARGET),
        ("faster-coco-eval", Contender(faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster, dataset, results), None),
    ]
    for name, theirs, target in others:
        found.append(_row(name, ours, theirs, numbers, target))
    return found


def _row(name: str, ours: Callable[[], float], theirs: Contender, numbers: dict[str, float], target: float | None) -> Row:
    pairs = interleaved(ours, theirs, NUM_PAIRS, f"evaluation against {name}")
    apart = max(abs(numbers[key] - value) for key, value in theirs.numbers.items())
    measured = f"{pairs.ratio:.1f}× ({pairs.low:.1f} to {pairs.high:.1f}); {1 / pairs.ours:.2f} s against {1 / pairs.theirs:.2f} s"
    note = f"{len(PLACES)} numbers, {apart:.1e} apart at most (AP {numbers['ap']:.4f}); processor seconds; ours with VOC's AP"
    same = apart <= TOLERANCE
    return Row(
        f"average precision of {NUM_IMAGES:,} images × {NUM_DETECTIONS} detections, {NUM_CLASSES} classes, against {name}",
        measured,
        f"{target:.0f}×, same to {TOLERANCE:g}" if target else f"same to {TOLERANCE:g}",
        pairs.ratio,
        same and (target is None or pairs.ratio >= target),
        note,
    )
