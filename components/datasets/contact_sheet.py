"""A few images with a line of text below each, as one picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

_TILE, _TEXT, _GAP, _COLUMNS = 128, 34, 8, 6
_PAPER, _INK, _GRAY = "white", "#202020", "#d8d8d8"


def contact_sheet(images: Sequence[npt.NDArray[np.uint8] | None], captions: Sequence[str]) -> Image.Image:
    """Draw images in rows of six, small ones enlarged without smoothing.

    Args:
        images: uint8 (H, W, 3); None: one that cannot be shown.
        captions: One text an image; cut to two lines.
    """
    columns = min(_COLUMNS, max(1, len(images)))
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * (_TILE + _GAP) + _GAP, rows * (_TILE + _TEXT + _GAP) + _GAP), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for index, (pixels, caption) in enumerate(zip(images, captions, strict=True)):
        left, top = _GAP + index % columns * (_TILE + _GAP), _GAP + index // columns * (_TILE + _TEXT + _GAP)
        draw.rectangle((left, top, left + _TILE - 1, top + _TILE - 1), fill=_GRAY)
        if pixels is None:
            draw.line((left, top, left + _TILE - 1, top + _TILE - 1), fill=_INK)
            draw.line((left, top + _TILE - 1, left + _TILE - 1, top), fill=_INK)
        else:
            tile = _tile(pixels)
            sheet.paste(tile, (left + (_TILE - tile.width) // 2, top + (_TILE - tile.height) // 2))
        for line, text in enumerate(_lines(caption, draw, font)):
            draw.text((left, top + _TILE + 3 + 14 * line), text, fill=_INK, font=font)
    return sheet


def _tile(pixels: npt.NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(pixels)
    scale = _TILE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BILINEAR)


def _lines(caption: str, draw: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> list[str]:
    """Cut a caption into the two lines that fit below a tile."""
    lines = [""]
    for letter in caption:
        if letter == "\n" or draw.textlength(lines[-1] + letter, font=font) > _TILE:
            lines.append("")
        lines[-1] += letter.strip("\n")
    return lines[:2]
