"""Original bytes → what a network sees: the one decode, orient and resize function of training, evaluation, calibration and serving.

Deterministic, in this order: decoded to upright RGB (`datasets.decoding`); resized with Pillow's bilinear filter, which averages over
all source pixels when it shrinks (antialias); grayscale, where one channel is wanted, as ITU-R BT.601 luma.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from components.datasets.decoding import Pixels, decode, upright_rgb
from components.datasets.headers import open_image
from components.records import Preprocess

__all__ = ["Pixels", "decode", "fit", "prepare"]


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
