"""Scenes composed of scikit-learn's handwritten digits, with exact boxes and masks: labelled images that need no network.

Real digits (UCI ML, Alpaydin and Kaynak 1998) of several sizes stand on a larger canvas, may hide each other in part, with noise and, on half of the
scenes, lines as clutter. Each digit stands on one scene alone, so that no two scenes share an object. All is a function of the seed.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from components.datasets.masks import Mask
from components.protocols import ImportedImage

Pixels = npt.NDArray[np.uint8]

CLASSES = [str(digit) for digit in range(10)]
BACKGROUND = "background"
NUM_SCENES, SIDE = 600, 64

_MOST_DIGITS = 4
_DIGIT_SIDES = (14, 30)  # pixels, the upper end excluded
_INK = 80  # of 255: as dark pixels of a digit belong to it
_MOST_HIDDEN = 0.3  # of a digit, by those that were laid over it
_TRIALS = 20


@dataclass(frozen=True)
class Scene:
    """An image with what is on it.

    Attributes:
        pixels: uint8 (side, side).
        boxes_xyxy: float64 (K, 4), the ink of each digit in pixel edges, hidden parts included.
        labels: The digit of each box.
        mask: uint8 (side, side): 0 for the background, else the digit plus one.
        cluttered: Whether there are lines.
    """

    pixels: Pixels
    boxes_xyxy: npt.NDArray[np.float64]
    labels: list[str]
    mask: Mask
    cluttered: bool


def scenes(num_scenes: int = NUM_SCENES, side: int = SIDE, seed: int = 0) -> Iterator[Scene]:
    """Yield scenes, each with one to four digits.

    Args:
        num_scenes: At most 700: there are 1,797 digits.
        side: Height and width in pixels, at least 32.
        seed: Of everything random.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    draws = np.random.default_rng(seed)
    counts = draws.integers(1, _MOST_DIGITS + 1, num_scenes)
    order = np.resize(draws.permutation(len(digits.images)), counts.sum())
    for chosen in np.split(order, np.cumsum(counts)[:-1]):
        glyphs = [(np.rint(digits.images[index] * (255 / 16)).astype(np.uint8), int(digits.target[index])) for index in chosen]
        yield _scene(glyphs, side, draws)


def _scene(glyphs: list[tuple[Pixels, int]], side: int, draws: np.random.Generator) -> Scene:
    pixels = draws.integers(0, 40, (side, side)).astype(np.uint8)
    cluttered = bool(draws.random() < 0.5)
    for _ in range(3 if cluttered else 0):
        _draw_line(pixels, int(draws.integers(60, 130)), draws)
    owner = np.full((side, side), -1, dtype=np.int64)
    boxes: list[list[int]] = []
    labels: list[int] = []
    ink: list[int] = []
    for glyph, digit in glyphs:
        placed = _placed(glyph, owner, ink, draws)
        if placed is None:
            continue
        shape, y, x = placed
        window = (slice(y, y + len(shape)), slice(x, x + len(shape)))
        written = shape >= _INK
        pixels[window] = np.where(written, shape, np.maximum(pixels[window], shape))
        owner[window][written] = len(labels)
        rows, columns = np.flatnonzero(written.any(axis=1)), np.flatnonzero(written.any(axis=0))
        boxes.append([x + columns[0], y + rows[0], x + columns[-1] + 1, y + rows[-1] + 1])
        labels.append(digit)
        ink.append(int(written.sum()))
    values = np.array([*(digit + 1 for digit in labels), 0], dtype=np.uint8)  # owner -1: the last, the background
    return Scene(pixels, np.array(boxes, dtype=np.float64), [str(digit) for digit in labels], values[owner], cluttered)


def _placed(glyph: Pixels, owner: npt.NDArray[np.int64], ink: list[int], draws: np.random.Generator) -> tuple[Pixels, int, int] | None:
    """Return a digit at a size and place where it hides little of the others; None if twenty trials found none."""
    for _ in range(_TRIALS):
        size = int(draws.integers(*_DIGIT_SIDES))
        y, x = (int(draws.integers(0, len(owner) - size + 1)) for _ in range(2))
        shape: Pixels = np.asarray(Image.fromarray(glyph).resize((size, size), Image.Resampling.BILINEAR))
        visible = owner.copy()
        visible[y : y + size, x : x + size][shape >= _INK] = len(ink)
        left = np.bincount(visible[visible >= 0], minlength=len(ink) + 1)
        if all(left[number] >= (1 - _MOST_HIDDEN) * whole for number, whole in enumerate(ink)):
            return shape, y, x
    return None


def _draw_line(pixels: Pixels, value: int, draws: np.random.Generator) -> None:
    ends = draws.integers(0, len(pixels), (2, 2))
    steps = np.linspace(0, 1, 2 * len(pixels))[:, None]
    places = np.rint(ends[0] * (1 - steps) + ends[1] * steps).astype(np.int64)
    pixels[places[:, 0], places[:, 1]] = value


def detection_images(num_scenes: int = NUM_SCENES) -> Iterator[ImportedImage]:
    """Yield scenes with boxes, classes 0 to 9."""
    for index, scene in enumerate(scenes(num_scenes)):
        row = {"boxes_xyxy": scene.boxes_xyxy.tolist(), "box_labels": scene.labels}
        yield ImportedImage(f"{index:04d}.png", _png(scene.pixels), row | _metadata(scene))


def segmentation_images(num_scenes: int = NUM_SCENES) -> Iterator[ImportedImage]:
    """Yield scenes with masks, classes background and 0 to 9."""
    for index, scene in enumerate(scenes(num_scenes)):
        yield ImportedImage(f"{index:04d}.png", _png(scene.pixels), _metadata(scene), scene.mask)


def _metadata(scene: Scene) -> dict[str, str]:
    return {"clutter": "lines" if scene.cluttered else "none"}


def _png(pixels: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=0)  # stored: the same bytes whatever zlib Pillow was built with
    return buffer.getvalue()
