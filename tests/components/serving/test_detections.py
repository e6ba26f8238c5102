from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision

from components.serving.detections import Detections, no_detections, suppressed


def _candidates(seed: int, count: int, num_classes: int) -> Detections:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 300, (count, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(5, 90, (count, 2))], axis=1).astype(np.float32)
    return Detections(boxes, rng.integers(0, num_classes, count), rng.permutation(count).astype(np.float32) / count)


@pytest.mark.parametrize(("count", "num_classes"), [(4000, 1), (1000, 80), (700, 3), (5, 2), (1, 1)])
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_what_stays_is_what_torchvision_keeps(count: int, num_classes: int, threshold: float) -> None:
    found = _candidates(count + num_classes, count, num_classes)
    expected = torchvision.ops.batched_nms(torch.tensor(found.boxes_xyxy), torch.tensor(found.scores), torch.tensor(found.labels), threshold)
    kept = suppressed(found, threshold, max_detections=count)
    np.testing.assert_array_equal(kept.scores, found.scores[expected.numpy()])
    np.testing.assert_array_equal(kept.boxes_xyxy, found.boxes_xyxy[expected.numpy()])


def test_no_more_are_kept_than_asked_for_and_the_surest_stand_first() -> None:
    kept = suppressed(_candidates(0, 1000, 80), 0.9, max_detections=300)
    assert len(kept.scores) == 300
    assert (np.diff(kept.scores) <= 0).all()


def test_nothing_stays_nothing() -> None:
    assert suppressed(no_detections(), 0.5).boxes_xyxy.shape == (0, 4)


def test_boxes_without_an_area_suppress_nothing() -> None:
    boxes = np.array([[5, 5, 5, 5], [5, 5, 5, 5]], np.float32)
    assert len(suppressed(Detections(boxes, np.zeros(2, np.int64), np.array([0.9, 0.8], np.float32)), 0.5).scores) == 2
