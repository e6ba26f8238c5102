"""A mask of classes as a file: an indexed PNG; it needs no more than Pillow, for it is also what a served model answers.

Legend: H height, W width in pixels.
"""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from components.errors import DataError

#: The mask's value of a pixel that belongs to no class.
IGNORE = 255
#: As many classes as a mask of 8 bits can tell apart.
MAX_MASK_CLASSES = 255

Mask = npt.NDArray[np.uint8]


def mask_png(mask_HW: Mask) -> bytes:
    """Return a mask as an indexed PNG; equal masks give equal bytes on one machine, equal pixels on all."""
    image = Image.fromarray(mask_HW).convert("L")
    image.putpalette(_PALETTE)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()


def read_mask(content: bytes) -> Mask:
    """Return the class indices of a mask, uint8 (H, W).

    Raises:
        DataError: It is no indexed or grey PNG of 8 bits.
    """
    try:
        image = Image.open(io.BytesIO(content), formats=("PNG",))
        image.load()
    except Exception as error:  # Pillow's readers raise whatever they trip over
        raise DataError(f"the mask is damaged: {error}") from error
    if image.mode not in ("P", "L", "1"):
        raise DataError(f"the mask's pixels are {image.mode}; expected an indexed PNG: one number a pixel, the index of its class")
    return np.asarray(image if image.mode != "1" else image.convert("P"), dtype=np.uint8)


def _colours() -> list[tuple[int, ...]]:
    """Return Pascal VOC's palette: the bits of an index spread over red, green and blue from the highest bit down."""
    return [tuple(sum(((index >> (3 * bit + channel)) & 1) << (7 - bit) for bit in range(8)) for channel in range(3)) for index in range(256)]


VOC_COLOURS = _colours()
_PALETTE = [channel for colour in VOC_COLOURS for channel in colour]
