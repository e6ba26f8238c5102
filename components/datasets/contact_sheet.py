"""A few images with some text below each, as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Pixels = npt.NDArray[np.uint8]

_TILE, _LINE, _NUM_LINES, _GAP, _COLUMNS = 128, 14, 3, 8, 6
_PAPER, _INK, _GRAY = "white", "#202020", "#d8d8d8"


def contact_sheet(images: Sequence[Pixels | None], captions: Sequence[str], title: str = "") -> Image.Image:
    """Draw images in rows of six, small ones enlarged without smoothing.

    Args:
        images: uint8 (H, W, 3) or (H, W, 1); None: one that cannot be shown.
        captions: One text an image. What stands before a line break is an id, of which the end is shown if it is too long; the rest is cut to fit.
        title: A line above all.
    """
    columns = min(_COLUMNS, max(1, len(images)))
    cell_width, cell_height = _TILE + _GAP, _TILE + _NUM_LINES * _LINE + _GAP
    head = _LINE + _GAP if title else 0
    sheet = Image.new("RGB", (columns * cell_width + _GAP, head + -(-len(images) // columns) * cell_height + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.font = lettering()
    draw.text((_GAP, _GAP), title, fill=_INK)
    for index, (pixels, caption) in enumerate(zip(images, captions, strict=True)):
        left, top = _GAP + index % columns * cell_width, head + _GAP + index // columns * cell_height
        draw.rectangle((left, top, left + _TILE - 1, top + _TILE - 1), fill=_GRAY)
        if pixels is None:
            draw.line((left, top, left + _TILE - 1, top + _TILE - 1), fill=_INK)
            draw.line((left, top + _TILE - 1, left + _TILE - 1, top), fill=_INK)
        else:
            tile = _tile(pixels)
            sheet.paste(tile, (left + (_TILE - tile.width) // 2, top + (_TILE - tile.height) // 2))
        for line, text in enumerate(_lines(caption, draw)):
            draw.text((left, top + _TILE + 3 + _LINE * line), text, fill=_INK)
    return sheet


def lettering() -> ImageFont.FreeTypeFont:
    """Return the font of captions in pictures: matplotlib's, which has accents, Greek and Cyrillic; Pillow's own has English letters alone."""
    import matplotlib as mpl

    return ImageFont.truetype(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", 10)


def _tile(pixels: Pixels) -> Image.Image:
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).convert("RGB")
    scale = _TILE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BILINEAR)


def _lines(caption: str, draw: ImageDraw.ImageDraw) -> list[str]:
    """Return the lines that fit below a tile."""
    first, _, rest = caption.partition("\n")
    if draw.textlength(first) > _TILE:
        while draw.textlength(f"…{first}") > _TILE:
            first = first[1:]
        first = f"…{first}"
    lines = [first, ""]
    for letter in " ".join(rest.split()):
        if draw.textlength(lines[-1] + letter) > _TILE:
            lines.append("")
        lines[-1] += letter
    return lines[:_NUM_LINES]
