"""What is measured of a decoded image, to tell a picture from a blank, a blur or an overexposure."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

_LUMA = np.arange(256)
#: Pixels that are worked on at a time: as many as stay in a processor's cache.
_BLOCK = 1 << 17


class Measures(NamedTuple):
    """Of the luma (ITU-R BT.601) in 0..1."""

    brightness: float
    """The mean."""
    contrast: float
    """The standard deviation."""
    sharpness: float
    """The variance of the Laplacian: Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy"."""


def measure(image: Image.Image) -> Measures:
    """Measure a decoded image. All sums are of whole numbers and exact: the same on every machine, whatever the size of the image."""
    luma = image if image.mode == "L" else image.convert("L")
    counts = np.array(luma.histogram())
    mean, variance = _moments(int(counts.sum()), int(counts @ _LUMA), int(counts @ _LUMA**2))
    _, roughness = _moments(*_laplacian_sums(np.asarray(luma)))
    return Measures(brightness=mean / 255, contrast=variance**0.5 / 255, sharpness=roughness / 255**2)


def _laplacian_sums(luma: npt.NDArray[np.uint8]) -> tuple[int, int, int]:
    """Return how many pixels have four neighbours, and the sums of the Laplacian and of its square over them."""
    height, width = luma.shape
    count, second = max(0, height - 2) * max(0, width - 2), 0
    if not count:
        return 0, 0, 0
    num_rows = max(1, _BLOCK // width)
    for top in range(0, height - 2, num_rows):
        rows = luma[top : top + num_rows + 2].astype(np.int16)
        laplacian = rows[1:-1, 1:-1] * np.int16(-4)
        for neighbours in (rows[:-2, 1:-1], rows[2:, 1:-1], rows[1:-1, :-2], rows[1:-1, 2:]):
            laplacian += neighbours
        squares = laplacian.astype(np.int32)
        squares *= squares
        second += int(squares.sum(dtype=np.int64))
    return count, _telescoped(luma[:, 1:-1]) + _telescoped(luma[1:-1].T), second


def _telescoped(lines: npt.NDArray[np.uint8]) -> int:
    """Return the sum of all second differences down the columns: all but the two lines at either end cancel."""
    first, second, last_but_one, last = (int(lines[line].sum(dtype=np.int64)) for line in (0, 1, -2, -1))
    return first - second - last_but_one + last


def _moments(count: int, first: int, second: int) -> tuple[float, float]:
    """Return mean and variance from the sums of numbers and of their squares."""
    return (first / count, max(0, second * count - first * first) / count**2) if count else (0.0, 0.0)
