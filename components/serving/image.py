"""Original bytes → what a network sees: the one decode, orient and resize function of training, evaluation, calibration and serving.

Deterministic, in this order: decoded to upright RGB (`datasets.decoding`); grayscale, where one channel is wanted, as ITU-R BT.601 luma;
resized with Pillow's bilinear filter, which averages over all source pixels when it shrinks (antialias).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from components.datasets.decoding import Pixels, decode, upright_rgb
from components.datasets.headers import open_image
from components.datasets.masks import IGNORE, Mask
from components.records import Preprocess

__all__ = ["Pixels", "Placement", "PreparedImage", "decode", "fit", "fit_mask", "placement", "prepare", "unfit_mask"]


class PreparedImage(NamedTuple):
    """An image as a network takes it.

    Attributes:
        pixels: uint8 (h, w, C).
        size_hw: Height and width of the upright original.
    """

    pixels: Pixels
    size_hw: tuple[int, int]


class Placement(NamedTuple):
    """Where `fit` puts the original: a position in its pixels times `scale_xy` plus `offset_xy` is one in the network's pixels.

    Attributes:
        scale_xy: The network's pixels in one of the original's.
        offset_xy: Where the original's upper left corner lies, in the network's pixels.
    """

    scale_xy: tuple[float, float]
    offset_xy: tuple[float, float]

    def forward(self, boxes_xyxy: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return boxes of the original, (K, 4), in the network's pixels."""
        moved: npt.NDArray[np.float64] = boxes_xyxy * (self.scale_xy * 2) + (self.offset_xy * 2)
        return moved

    def backward(self, boxes_xyxy: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return boxes in the network's pixels, (K, 4), in those of the original."""
        moved: npt.NDArray[np.float64] = (boxes_xyxy - (self.offset_xy * 2)) / (self.scale_xy * 2)
        return moved


def placement(size_hw: tuple[int, int], preprocess: Preprocess) -> Placement:
    """Return where `fit` puts an original of `size_hw` pixels."""
    (height, width), (to_height, to_width) = size_hw, preprocess.size_hw
    if preprocess.resize == "stretch":
        return Placement((to_width / width, to_height / height), (0.0, 0.0))
    if preprocess.resize == "crop":
        scale = max(to_width / width, to_height / height)
        return Placement((scale, scale), ((to_width - width * scale) / 2, (to_height - height * scale) / 2))
    inner_width, inner_height = _inner(width, height, to_width, to_height)
    return Placement((inner_width / width, inner_height / height), (float((to_width - inner_width) // 2), float((to_height - inner_height) // 2)))


def fit(pixels: Pixels, preprocess: Preprocess) -> Pixels:
    """Bring a decoded image, uint8 (H, W, 3), to the size and channels that a network takes.

    `stretch` ignores the aspect ratio; `crop` fills the size and cuts off what stands over, alike on both sides; `letterbox`
    shows all of the image in the middle of black.

    Returns:
        uint8 (h, w, C) of `preprocess.size_hw` and `preprocess.channels`.
    """
    return _fitted(Image.fromarray(pixels), preprocess)


def fit_mask(mask_HW: Mask, preprocess: Preprocess) -> Mask:
    """Bring a mask to the size that a network takes, as `fit` does with its image: each pixel has the value of the nearest of the original.

    Returns:
        uint8 (h, w) of `preprocess.size_hw`; 255, not judged, where `letterbox` is black.
    """
    height, width = mask_HW.shape
    scale, offset = placement((height, width), preprocess)
    rows = _nearest(preprocess.size_hw[0], 1 / scale[1], -offset[1] / scale[1])
    columns = _nearest(preprocess.size_hw[1], 1 / scale[0], -offset[0] / scale[0])
    fitted = np.full(preprocess.size_hw, IGNORE, dtype=np.uint8)
    inside = [np.flatnonzero((places >= 0) & (places < side)) for places, side in ((rows, height), (columns, width))]
    fitted[np.ix_(*inside)] = mask_HW[np.ix_(rows[inside[0]], columns[inside[1]])]
    return fitted


def unfit_mask(mask_hw: Mask, size_hw: tuple[int, int], preprocess: Preprocess) -> Mask:
    """Bring a mask of the network's size back to the original's: each pixel has the value of the nearest that the network saw.

    Returns:
        uint8 (H, W) of `size_hw`.
    """
    scale, offset = placement(size_hw, preprocess)
    rows = _nearest(size_hw[0], scale[1], offset[1]).clip(0, mask_hw.shape[0] - 1)
    columns = _nearest(size_hw[1], scale[0], offset[0]).clip(0, mask_hw.shape[1] - 1)
    restored: Mask = mask_hw[np.ix_(rows, columns)]
    return restored


def prepare(content: bytes, preprocess: Preprocess) -> PreparedImage:
    """Decode an image file and bring it to the size and channels that a network takes: `fit(decode(content))`.

    Raises:
        DataError: It is damaged, no image, or a decompression bomb.
    """
    image = upright_rgb(open_image(content))
    return PreparedImage(_fitted(image, preprocess), (image.height, image.width))


def _nearest(count: int, scale: float, offset: float) -> npt.NDArray[np.int64]:
    """Return in which pixels the centres of `count` pixels lie, int64 (count,)."""
    places: npt.NDArray[np.int64] = np.floor((np.arange(count) + 0.5) * scale + offset).astype(np.int64)
    return places


def _inner(width: int, height: int, to_width: int, to_height: int) -> tuple[int, int]:
    """Return width and height of what `letterbox` shows."""
    scale = min(to_width / width, to_height / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


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
    inner = _inner(image.width, image.height, width, height)
    canvas = Image.new(image.mode, (width, height))
    canvas.paste(image.resize(inner, Image.Resampling.BILINEAR), ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return canvas
