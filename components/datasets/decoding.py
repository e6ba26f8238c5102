"""Original bytes → upright RGB pixels: the one decode function of checks, training, evaluation, calibration and serving.

Deterministic, in this order: first frame; EXIF orientation applied; 16-bit samples cut to their high byte; palettes resolved;
transparency laid over white; CMYK and grayscale converted to RGB (8 bits a sample).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from components.datasets.headers import open_image, orientation_of
from components.errors import DataError

Pixels = npt.NDArray[np.uint8]

_WHITE = (255, 255, 255, 255)


def decode(content: bytes) -> Pixels:
    """Decode an image file.

    Returns:
        uint8 (H, W, 3), upright RGB.

    Raises:
        DataError: It is damaged, no image, or a decompression bomb.
    """
    return np.asarray(upright_rgb(open_image(content)))


def upright_rgb(image: Image.Image) -> Image.Image:
    """Decode an image that `open_image` opened.

    Raises:
        DataError: It is damaged.
    """
    try:
        image.load()
        if orientation_of(image) != 1:
            image = ImageOps.exif_transpose(image)
        return _rgb(image)
    except DataError:
        raise
    except Exception as error:  # Pillow's readers raise whatever they trip over in a damaged file
        raise DataError(f"the image is damaged: {error}") from error


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _from_16_bit(image)
    if image.mode == "F":
        raise DataError("floating-point pixels have no stated range; expected 8 or 16 bits a sample")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, _WHITE), rgba).convert("RGB")
    return image.convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    samples: npt.NDArray[Any] = np.asarray(image)
    if samples.size and (samples.min() < 0 or samples.max() > 65535):
        raise DataError("32-bit pixels have no stated range; expected 8 or 16 bits a sample")
    gray = (samples >> 8).astype(np.uint8)
    if isinstance(transparent := image.info.get("transparency"), int):
        gray = np.where(samples == transparent, np.uint8(255), gray)
    return Image.fromarray(gray).convert("RGB")
