"""Original bytes → what a network sees: the one decode, orient and resize function of training, evaluation, calibration and serving.

Deterministic, in this order: first frame; EXIF orientation applied; 16-bit samples cut to their high byte; palettes resolved;
transparency laid over white; CMYK and grayscale converted to RGB (8 bits a sample); resized with Pillow's bilinear filter, which
averages over all source pixels when it shrinks (antialias); grayscale, where one channel is wanted, as ITU-R BT.601 luma.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from components.datasets.headers import open_image, orientation_of
from components.errors import DataError
from components.records import Preprocess

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


def fit(pixels: Pixels, preprocess: Preprocess) -> Pixels:
    """Bring a decoded image, uint8 (H, W, 3), to the size and channels that a network takes.

    `stretch` ignores the aspect ratio; `crop` fills the size and cuts off what stands over, alike on both sides; `letterbox`
    shows all of the image in the middle of black.

    Returns:
        uint8 (h, w, C) of `preprocess.size_hw` and `preprocess.channels`.
    """
    return _fitted(Image.fromarray(pixels), preprocess)


def prepare(content: bytes, preprocess: Preprocess) -> Pixels:
    """Decode an image file and bring it to the size and channels that a network takes: `fit(decode(content))`.

    Raises:
        DataError: It is damaged, no image, or a decompression bomb.
    """
    return _fitted(upright_rgb(open_image(content)), preprocess)


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


def _fitted(image: Image.Image, preprocess: Preprocess) -> Pixels:
    if preprocess.channels == 1:
        image = image.convert("L")
    height, width = preprocess.size_hw
    if image.size != (width, height):
        image = _resized(image, width, height, preprocess.resize)
    pixels = np.asarray(image)
    return pixels[:, :, None] if preprocess.channels == 1 else pixels


def _resized(image: Image.Image, width: int, height: int, how: str) -> Image.Image:
    if how == "stretch":
        return image.resize((width, height), Image.Resampling.BILINEAR)
    if how == "crop":
        scale = min(image.width / width, image.height / height)
        left, top = (image.width - width * scale) / 2, (image.height - height * scale) / 2
        return image.resize((width, height), Image.Resampling.BILINEAR, box=(left, top, left + width * scale, top + height * scale))
    scale = min(width / image.width, height / image.height)
    inner = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    canvas = Image.new(image.mode, (width, height))
    canvas.paste(image.resize(inner, Image.Resampling.BILINEAR), ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return canvas
