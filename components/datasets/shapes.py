"""Shapes that annotation tools draw, as pixels and as boxes. A pixel is in a shape if its centre is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Bits = npt.NDArray[np.bool_]


def region_of_box(box_xyxy: Sequence[float], size_hw: tuple[int, int]) -> Bits:
    """Return the pixels of a box, bool (H, W)."""
    x0, y0, x1, y1 = box_xyxy
    rows, columns = _centres(size_hw)
    return np.asarray(((rows >= y0) & (rows < y1)) & ((columns >= x0) & (columns < x1)), dtype=np.bool_)


def region_of_ellipse(centre: tuple[float, float], radii: tuple[float, float], degrees: float, size_hw: tuple[int, int]) -> Bits:
    """Return the pixels of an ellipse that is turned clockwise about its centre, bool (H, W)."""
    rows, columns = _centres(size_hw)
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    dx, dy = columns - centre[0], rows - centre[1]
    with np.errstate(over="ignore", invalid="ignore"):
        inside = ((dx * cos + dy * sin) * radii[1]) ** 2 + ((dy * cos - dx * sin) * radii[0]) ** 2 <= (radii[0] * radii[1]) ** 2
    return np.asarray(inside, dtype=np.bool_)


def box_of_ellipse(centre: tuple[float, float], radii: tuple[float, float], degrees: float = 0.0) -> list[float]:
    """Return the box of an ellipse that is turned about its centre, [x0, y0, x1, y1]."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    half_w, half_h = math.hypot(radii[0] * cos, radii[1] * sin), math.hypot(radii[0] * sin, radii[1] * cos)
    return [centre[0] - half_w, centre[1] - half_h, centre[0] + half_w, centre[1] + half_h]


def rotated_box(box_xyxy: Sequence[float], centre: tuple[float, float], degrees: float) -> list[float]:
    """Return the corners of a box that is turned clockwise (as seen: y goes down) about a point, [x0, y0, x1, y1, …]."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x0, y0, x1, y1 = box_xyxy
    turned: list[float] = []
    for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1)):
        dx, dy = x - centre[0], y - centre[1]
        turned += [centre[0] + dx * cos - dy * sin, centre[1] + dx * sin + dy * cos]
    return turned


def _centres(size_hw: tuple[int, int]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    return (np.arange(size_hw[0]) + 0.5)[:, None], (np.arange(size_hw[1]) + 0.5)[None, :]
