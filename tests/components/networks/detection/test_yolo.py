from __future__ import annotations

import pytest
import torch

from components.networks.detection.points import STRIDES
from components.networks.detection.yolo import SIZES, YOLO


@pytest.mark.parametrize("size", sorted(SIZES))
def test_every_size_says_something_of_each_point(size: str) -> None:
    raw = YOLO(5, 3, size).eval()(torch.rand(1, 3, 64, 96))
    num_points = sum((64 // stride) * (96 // stride) for stride in STRIDES)
    assert raw.distances.shape == (1, num_points, 4)
    assert raw.logits.shape == (1, num_points, 5)
    assert (raw.distances >= 0).all()
    assert raw.logits.sigmoid().mean() < 0.05, "before training next to nothing is found"


def test_sizes_grow() -> None:
    counts = [sum(parameter.numel() for parameter in YOLO(3, 3, size).parameters()) for size in ("nano", "small", "medium", "large")]
    assert counts == sorted(counts)
    assert counts[0] < 4e6
