"""Boxes and masks drawn over an image, and pictures beside each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from components.datasets.contact_sheet import lettering
from components.datasets.masks import IGNORE

Pixels = npt.NDArray[np.uint8]

#: Colours that can be told apart, by class index in turn: Tol 2021, "Colour Schemes", bright and vibrant.
_COLOURS = ["#ee7733", "#0077bb", "#33bbee", "#ee3377", "#cc3311", "#009988", "#ccbb44", "#aa3377", "#66ccee", "#228833", "#4477aa", "#bbbbbb"]
_UNJUDGED = (128, 128, 128)
_LEAST_SIDE = 192  # pixels: smaller images are enlarged, so that lines and names can be read
_SHARE = 0.55
_GAP = 4


def enlarged(image: Pixels) -> tuple[Image.Image, int]:
    """Return an image, uint8 (H, W, 1 or 3), in colour and large enough to draw on, and by how much it was enlarged."""
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).convert("RGB")
    factor = max(1, -(-_LEAST_SIDE // max(picture.size)))
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST), factor


def with_boxes(image: Pixels, boxes_xyxy: npt.NDArray[np.float64], labels: Sequence[int], names: Sequence[str]) -> Pixels:
    """Draw boxes with a name each.

    Args:
        image: uint8 (H, W, 1 or 3).
        boxes_xyxy: (K, 4), pixel edges.
        labels: K numbers that choose the colour.
        names: K texts.
    """
    picture, factor = enlarged(image)
    draw = ImageDraw.Draw(picture)
    draw.font = lettering()
    width = max(1, max(picture.size) // 192)
    for box, label, name in zip(boxes_xyxy * factor, labels, names, strict=True):
        colour = _COLOURS[label % len(_COLOURS)]
        x0, y0, x1, y1 = (float(value) for value in box)
        draw.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=colour, width=width)
        top = y0 - 12 if y0 >= 12 else y0
        draw.rectangle((x0, top, x0 + draw.textlength(name) + 3, top + 12), fill=colour)
        draw.text((x0 + 2, top), name, fill="white")
    return np.asarray(picture)


def with_mask(image: Pixels, mask: Pixels, background: int | None) -> Pixels:
    """Lay the colours of a mask, uint8 (H, W), over an image of its size; grey where it is 255, nothing where it is `background`."""
    colours = np.array([tuple(int(text[place : place + 2], 16) for place in (1, 3, 5)) for text in _COLOURS], dtype=np.float64)
    overlay = colours[mask % len(colours)]
    overlay[mask == IGNORE] = _UNJUDGED
    pixels = np.repeat(image, 3, axis=2) if image.shape[-1] == 1 else image
    share = np.where(mask == background, 0.0, _SHARE)[..., None] if background is not None else _SHARE
    blended = (pixels * (1 - share) + overlay * share).round().astype(np.uint8)
    return np.asarray(enlarged(blended)[0])


def beside(pictures: Sequence[Pixels]) -> Pixels:
    """Return pictures of one height, uint8 (H, W, 3) each, side by side with a white gap."""
    gap = np.full((len(pictures[0]), _GAP, 3), 255, dtype=np.uint8)
    parts = [part for picture in pictures for part in (gap, picture)][1:]
    return np.concatenate(parts, axis=1)
