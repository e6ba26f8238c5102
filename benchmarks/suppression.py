"""Reading a detector's outputs without torch: 8,400 points, 80 classes, 1,000 sure enough, 300 kept; against the textbook's loop in NumPy."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from benchmarks.pairs import interleaved
from benchmarks.rows import Row
from components.errors import DarkroomError
from components.serving.detections import MAX_DETECTIONS, Detections
from components.serving.postprocess.detection import JUDGED_SCORE, SUPPRESSION_IOU, plugin

NUM_POINTS, NUM_CLASSES, NUM_SURE, SURE, SIDE = 8_400, 80, 1_000, 0.25, 640
TARGET_MS, NUM_PAIRS, REPEATS = 5.0, 9, 5

Floats = npt.NDArray[np.float32]


def outputs(num_classes: int = NUM_CLASSES, num_sure: int = NUM_SURE) -> tuple[Floats, Floats]:
    """Return boxes (1, P, 4) and scores (1, P, C) of one image: of `num_sure` points one class has a score of 0.25 or more, the rest is noise."""
    draws = np.random.default_rng(0)
    middles, sides = draws.uniform(0, SIDE, (NUM_POINTS, 2)), draws.uniform(10, 120, (NUM_POINTS, 2))
    boxes = np.concatenate([middles - sides / 2, middles + sides / 2], axis=1).astype(np.float32)
    scores = draws.uniform(0, 0.9 * JUDGED_SCORE, (NUM_POINTS, num_classes)).astype(np.float32)
    sure = draws.permutation(NUM_POINTS)[:num_sure]
    scores[sure, draws.integers(0, num_classes, num_sure)] = draws.uniform(SURE, 1, num_sure)
    return boxes[None], scores[None]


def textbook(boxes: Floats, scores: Floats) -> Detections:
    """Return what the loop that everyone writes first keeps: the surest box, away with what it overlaps, and again; class by class by moved boxes."""
    best = scores.max(axis=1)
    chosen = np.flatnonzero(best >= JUDGED_SCORE)
    found, best, labels = boxes[chosen], best[chosen], scores[chosen].argmax(axis=1)
    moved = found.astype(np.float64) + labels[:, None] * (found.max() + 1)  # boxes of two classes never overlap
    areas = (moved[:, 2] - moved[:, 0]) * (moved[:, 3] - moved[:, 1])
    order, kept = np.argsort(-best, kind="stable"), list[int]()
    while len(order) and len(kept) < MAX_DETECTIONS:
        first, rest = order[0], order[1:]
        kept.append(first)
        low, high = np.maximum(moved[first, :2], moved[rest, :2]), np.minimum(moved[first, 2:], moved[rest, 2:])
        shared = np.clip(high - low, 0, None).prod(axis=1)
        order = rest[shared / (areas[first] + areas[rest] - shared) <= SUPPRESSION_IOU]
    return Detections(found[kept], labels[kept], best[kept])


def measure(name: str, num_classes: int, num_sure: int, target_ms: float | None) -> Row:
    """Measure both on one image.

    Raises:
        DarkroomError: They do not keep the same.
    """
    boxes, scores = outputs(num_classes, num_sure)
    [ours], theirs = plugin.predictions({"boxes": boxes, "scores": scores}), textbook(boxes[0], scores[0])
    if not (np.array_equal(ours.boxes_xyxy, theirs.boxes_xyxy) and np.array_equal(ours.labels, theirs.labels)):
        raise DarkroomError("the textbook's loop keeps other boxes")
    given = {"boxes": boxes, "scores": scores}
    pairs = interleaved(lambda: _rate(lambda: plugin.predictions(given)), lambda: _rate(lambda: textbook(boxes[0], scores[0])), NUM_PAIRS, name)
    ours_ms, theirs_ms = 1e3 / pairs.ours, 1e3 / pairs.theirs
    return Row(
        f"decoding and suppression without torch, {NUM_POINTS:,} points × {num_classes} classes, {num_sure:,} sure enough, {len(ours.scores)} kept",
        f"{ours_ms:.1f} ms; the textbook's loop {theirs_ms:.1f} ms: {pairs.ratio:.1f}× ({pairs.low:.1f} to {pairs.high:.1f})",
        f"{target_ms:g} ms" if target_ms else "",
        pairs.ratio,
        ours_ms <= target_ms if target_ms else None,
        "processor time of one thread; the same boxes kept, in the same order",
    )


def rows() -> list[Row]:
    """Measure."""
    return [
        measure("suppression of 80 classes", NUM_CLASSES, NUM_SURE, TARGET_MS),
        measure("suppression of one class", 1, NUM_SURE, None),
    ]


def _rate(call: Callable[[], object]) -> float:
    """Return calls per second of processor time: all of it is one thread's work, and what else the machine does is none of it."""
    began = time.thread_time()
    for _ in range(REPEATS):
        call()
    return REPEATS / (time.thread_time() - began)
