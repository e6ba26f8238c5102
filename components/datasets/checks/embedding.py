"""A small fixed description of a decoded image, by which two versions of a dataset are compared: no network, nothing learnt.

Of a thumbnail of 16×16 pixels, averaged over areas: the low frequencies of its colours by the discrete cosine transform (Ahmed,
Natarajan and Rao 1974), luma finer than chroma as in JPEG (JFIF's YCbCr, which is ITU-R BT.601 over the full range), and in each
quarter of it how strong edges of each direction are (Dalal and Triggs 2005, "Histograms of oriented gradients for human detection";
without their normalisation: a weak edge shall count as a weak edge).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

#: How many numbers describe an image.
DIMENSIONS = 64

_SIDE = 16
_LUMA_FREQUENCIES, _CHROMA_FREQUENCIES = 7, 3
_DIRECTIONS = 6
_RGB_TO_YCBCR = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])


def embed(image: Image.Image) -> npt.NDArray[np.float32]:
    """Describe a decoded image.

    Args:
        image: Upright; of any mode and size.

    Returns:
        float32 (64,): 28 luma and 2 × 6 chroma coefficients (the first is the mean of the luma in 0..1), then for each quarter,
        left before right and top before bottom, the mean strength of edges in 6 directions of 30° each.
    """
    known = image if image.mode in ("RGB", "L") else image.convert("RGB")
    thumbnail = known.resize((_SIDE, _SIDE), Image.Resampling.BOX, reducing_gap=1.0).convert("RGB")
    pixels = np.asarray(thumbnail, dtype=np.float32).reshape(-1) / 255
    frequencies = _TO_FREQUENCIES @ pixels
    luma = (_TO_LUMA @ pixels.reshape(-1, 3).T).reshape(_SIDE, _SIDE)
    down, right = (luma[2:, 1:-1] - luma[:-2, 1:-1]).ravel(), (luma[1:-1, 2:] - luma[1:-1, :-2]).ravel()
    direction = np.floor(np.arctan2(down, right) * (_DIRECTIONS / np.pi)).astype(np.int64) % _DIRECTIONS  # an edge up is an edge down
    edges = np.bincount(_QUARTER + direction, np.hypot(down, right), minlength=4 * _DIRECTIONS) * (4 / len(down))
    return np.concatenate([frequencies, edges.astype(np.float32)])


def _to_frequencies() -> npt.NDArray[np.float32]:
    """Return the matrix (40, 768) from a thumbnail's RGB to its coefficients, scaled so that the first is the mean."""
    place = np.arange(_SIDE)
    wave = np.cos(np.pi * np.outer(np.arange(_LUMA_FREQUENCIES), 2 * place + 1) / (2 * _SIDE)) * np.sqrt(2)
    wave[0] = 1
    rows = []
    for colour, frequencies in zip(_RGB_TO_YCBCR, (_LUMA_FREQUENCIES, _CHROMA_FREQUENCIES, _CHROMA_FREQUENCIES), strict=True):
        for down in range(frequencies):
            for right in range(frequencies - down):
                rows.append(np.einsum("y,x,c->yxc", wave[down], wave[right], colour).ravel() / _SIDE**2)
    return np.array(rows, dtype=np.float32)


_TO_FREQUENCIES = _to_frequencies()
_TO_LUMA = _RGB_TO_YCBCR[0].astype(np.float32)
_INNER = np.arange(_SIDE - 2) // (_SIDE // 2 - 1)
_QUARTER = ((2 * _INNER[:, None] + _INNER) * _DIRECTIONS).ravel()
