"""The points of an anchor-free detector, and the boxes that are measured from them.

Legend: N images, P points (the cells of the three grids, stride 8 first, row by row), C classes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

STRIDES = (8, 16, 32)


class Raw(NamedTuple):
    """What the network says of each point.

    Attributes:
        distances: float (N, P, 4): to the left, upper, right and lower side, in strides, not negative.
        logits: float (N, P, C).
    """

    distances: torch.Tensor
    logits: torch.Tensor


def points(height: int, width: int, device: torch.device | None = None) -> torch.Tensor:
    """Return the centres of the points in pixels, and their strides: float32 (P, 3) as x, y, stride."""
    levels = []
    for stride in STRIDES:
        rows = (torch.arange(height // stride, device=device) + 0.5) * stride
        columns = (torch.arange(width // stride, device=device) + 0.5) * stride
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        levels.append(torch.stack([x.flatten(), y.flatten(), torch.full((x.numel(),), float(stride), device=device)], dim=1))
    return torch.cat(levels)


def decode(distances: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Return boxes in pixels, float (N, P, 4) as x0, y0, x1, y1, from distances in strides, (N, P, 4), and `points`."""
    centres, lengths = points[:, :2], distances * points[:, 2:]
    return torch.cat([centres - lengths[..., :2], centres + lengths[..., 2:]], dim=-1)
