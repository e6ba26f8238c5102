from __future__ import annotations

import pytest
import torch

from components.networks.detection.yolo import SIZES, STRIDES, YOLO, decode, points


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


def test_points_are_the_centres_of_their_cells_and_boxes_are_measured_from_them() -> None:
    centres, strides = points(32, 64)
    assert centres[0].tolist() == [4, 4]
    assert centres[7].tolist() == [60, 4]
    assert centres[-1].tolist() == [48, 16]
    assert strides.tolist() == [8] * 32 + [16] * 8 + [32] * 2
    distances = torch.zeros(1, len(centres), 4)
    distances[0, -1] = torch.tensor([1.0, 0.5, 0.25, 0.5])
    assert decode(distances, centres, strides)[0, -1].tolist() == [16, 0, 56, 32]
