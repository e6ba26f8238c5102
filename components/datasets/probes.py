"""What is measured of a decoded image, to tell a picture from a blank, a blur or an overexposure."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

_LUMA = np.arange(256)
_LAPLACIAN = np.arange(-4 * 255, 4 * 255 + 1)


class Measures(NamedTuple):
    """Of the luma (ITU-R BT.601) in 0..1."""

    brightness: float
    """The mean."""
    contrast: float
    """The standard deviation."""
    sharpness: float
    """The variance of the Laplacian: Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy"."""


def measure(image: Image.Image) -> Measures:
    """Measure a decoded image."""
    luma = np.asarray(image if image.mode == "L" else image.convert("L"))
    mean, variance = _moments(np.bincount(luma.ravel(), minlength=256), _LUMA)
    signed = luma.astype(np.int16)
    inner = signed[1:-1, 1:-1]
    laplacian = signed[:-2, 1:-1] + signed[2:, 1:-1] + signed[1:-1, :-2] + signed[1:-1, 2:] - 4 * inner + _LAPLACIAN.max()
    _, roughness = _moments(np.bincount(laplacian.ravel(), minlength=len(_LAPLACIAN)), _LAPLACIAN) if laplacian.size else (0.0, 0.0)
    return Measures(brightness=mean / 255, contrast=variance**0.5 / 255, sharpness=roughness / 255**2)


def _moments(counts: npt.NDArray[np.int64], values: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Return mean and variance of whole numbers from how often each occurs: exact sums, whatever the size of the image."""
    total, first, second = int(counts.sum()), int(counts @ values), int(counts @ values**2)
    return first / total, max(0, second * total - first * first) / total**2
