from __future__ import annotations

import torch

from components.networks.detection.points import decode, points


def test_points_are_the_centres_of_their_cells_and_boxes_are_measured_from_them() -> None:
    grid = points(32, 64)
    assert grid[0].tolist() == [4, 4, 8]
    assert grid[7].tolist() == [60, 4, 8]
    assert grid[-1].tolist() == [48, 16, 32]
    assert grid[:, 2].tolist() == [8] * 32 + [16] * 8 + [32] * 2
    distances = torch.zeros(1, len(grid), 4)
    distances[0, -1] = torch.tensor([1.0, 0.5, 0.25, 0.5])
    assert decode(distances, grid)[0, -1].tolist() == [16, 0, 56, 32]
