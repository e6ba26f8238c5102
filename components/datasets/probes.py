"""What is measured of a decoded image, to tell a picture from a blank, a blur or an overexposure."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

_LUMA = np.arange(256)
#: Of an image with k times as many pixels, the sharpness is that of every k-th row.
_MOST_PIXELS = 1 << 17


class Measures(NamedTuple):
    """Of the luma (ITU-R BT.601) in 0..1."""

    brightness: float
    """The mean."""
    contrast: float
    """The standard deviation."""
    sharpness: float
    """The variance of the Laplacian: Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy". Of an image with k times
    131,072 pixels, k from 2 on, that of every k-th row."""


def measure(image: Image.Image) -> Measures:
    """Measure a decoded image. All sums are of whole numbers and exact: the same on every machine, whatever the size of the image."""
    luma = image if image.mode == "L" else image.convert("L")
    counts = np.array(luma.histogram())
    mean, variance = _moments(int(counts.sum()), int(counts @ _LUMA), int(counts @ _LUMA**2))
    _, roughness = _moments(*_laplacian_sums(np.asarray(luma)))
    return Measures(brightness=mean / 255, contrast=variance**0.5 / 255, sharpness=roughness / 255**2)


def _laplacian_sums(luma: npt.NDArray[np.uint8 | np.int16]) -> tuple[int, int, int]:
    """Return of how many pixels with four neighbours the Laplacian was taken, and the sums of it and of its square over them."""
    height, width = luma.shape
    if height < 3 or width < 3:
        return 0, 0, 0
    step = max(1, height * width // _MOST_PIXELS)
    if step <= 2:  # every row is used, most of them as a neighbour, too
        luma = luma.astype(np.int16)
    above, rows, below = (luma[first : height - 2 + first : step].astype(np.int16, copy=False) for first in range(3))
    laplacian = rows[:, 1:-1] * np.int16(-4)
    for neighbours in (above[:, 1:-1], below[:, 1:-1], rows[:, :-2], rows[:, 2:]):
        laplacian += neighbours
    values = laplacian.ravel().astype(np.float64)  # sums of whole numbers below 2**53, which are exact in any order
    # einsum, for BLAS has threads of its own, which fight with those that measure: a product took four times as long there
    return values.size, int(values.sum()), int(np.einsum("i,i->", values, values))


def _moments(count: int, first: int, second: int) -> tuple[float, float]:
    """Return mean and variance from the sums of numbers and of their squares."""
    return (first / count, max(0, second * count - first * first) / count**2) if count else (0.0, 0.0)
