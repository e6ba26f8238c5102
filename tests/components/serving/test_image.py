from __future__ import annotations

import io
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from components.records import Preprocess
from components.serving.image import decode, fit, fit_mask, placement, prepare, unfit_mask


def _bytes(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _scene(height: int = 12, width: int = 20) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, (height, width, 3)).astype(np.uint8)


def _preprocess(height: int, width: int, channels: Literal[1, 3], resize: Literal["stretch", "crop", "letterbox"]) -> Preprocess:
    return Preprocess(size_hw=(height, width), channels=channels, resize=resize)


def test_stretch_shrinks_with_antialias() -> None:
    checkers = np.kron(np.indices((64, 64)).sum(axis=0) % 2, np.ones((1, 1))).astype(np.uint8) * 255
    small = fit(np.repeat(checkers[:, :, None], 3, axis=2), _preprocess(8, 8, 3, "stretch"))
    assert small.shape == (8, 8, 3)
    assert np.abs(small.astype(int) - 128).max() <= 2  # a nearest or plain bilinear sample would give 0 and 255


def test_crop_fills_and_cuts_alike_on_both_sides() -> None:
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 255
    assert (fit(pixels, _preprocess(10, 10, 3, "crop")) == 255).all()


def test_letterbox_shows_all_in_the_middle_of_black() -> None:
    found = fit(np.full((10, 20, 3), 255, np.uint8), _preprocess(20, 20, 1, "letterbox"))
    assert found.shape == (20, 20, 1)
    assert (found[5:15] == 255).all()
    assert not found[:5].any()
    assert not found[15:].any()


def test_one_channel_is_luma_and_gray_stays_as_it_is() -> None:
    gray = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    np.testing.assert_array_equal(fit(gray, _preprocess(16, 16, 1, "stretch"))[:, :, 0], gray[:, :, 0])
    assert fit(np.array([[[255, 0, 0]]], np.uint8), _preprocess(1, 1, 1, "stretch")).item() == 76


@pytest.mark.parametrize("resize", ["stretch", "crop", "letterbox"])
def test_prepare_is_decode_and_fit_and_the_same_every_time(resize: Literal["stretch", "crop", "letterbox"]) -> None:
    content = _bytes(Image.fromarray(_scene(37, 53)), "JPEG")
    preprocess = _preprocess(16, 24, 3, resize)
    found = prepare(content, preprocess)
    assert found.pixels.shape == (16, 24, 3)
    assert found.size_hw == (37, 53)
    np.testing.assert_array_equal(found.pixels, fit(decode(content), preprocess))
    np.testing.assert_array_equal(found.pixels, prepare(content, preprocess).pixels)


PLACES = [
    ("stretch", (40, 90), (64, 64)),
    ("crop", (40, 90), (64, 64)),
    ("crop", (90, 40), (32, 64)),
    ("letterbox", (40, 90), (64, 64)),
    ("letterbox", (97, 31), (64, 48)),
    ("stretch", (20, 20), (64, 96)),
]


@pytest.mark.parametrize(("resize", "size_hw", "to_hw"), PLACES)
def test_placement_says_where_fit_puts_a_box(resize: Any, size_hw: tuple[int, int], to_hw: tuple[int, int]) -> None:
    height, width = size_hw
    box = np.array([width * 0.4, height * 0.4, width * 0.6, height * 0.6]).round()
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])] = 255
    preprocess = _preprocess(*to_hw, 1, resize)
    shown = fit(pixels, preprocess)[:, :, 0].astype(np.float64) / 255
    place = placement(size_hw, preprocess)
    moved = place.forward(box[None])[0]
    rows, columns = np.arange(to_hw[0]) + 0.5, np.arange(to_hw[1]) + 0.5
    centre = (shown.sum(axis=0) @ columns / shown.sum(), shown.sum(axis=1) @ rows / shown.sum())
    assert centre == pytest.approx(((moved[0] + moved[2]) / 2, (moved[1] + moved[3]) / 2), abs=0.05)
    assert shown.sum() == pytest.approx((moved[2] - moved[0]) * (moved[3] - moved[1]), rel=0.03)
    np.testing.assert_allclose(place.backward(moved[None])[0], box)


@pytest.mark.parametrize(("resize", "size_hw", "to_hw"), PLACES)
def test_a_mask_goes_where_its_image_goes_and_comes_back(resize: Any, size_hw: tuple[int, int], to_hw: tuple[int, int]) -> None:
    height, width = size_hw
    mask = np.zeros(size_hw, np.uint8)
    mask[int(height * 0.4) : int(height * 0.6), int(width * 0.4) : int(width * 0.6)] = 7
    preprocess = _preprocess(*to_hw, 1, resize)
    fitted = fit_mask(mask, preprocess)
    shown = fit(np.repeat((mask == 7).astype(np.uint8)[:, :, None] * 255, 3, axis=2), preprocess)[:, :, 0]
    assert set(np.unique(fitted)) <= {0, 7, 255}
    assert (fitted[shown == 255] == 7).all()
    assert (fitted[(shown == 0)] != 7).all()
    black = fit(np.full((*size_hw, 3), 255, np.uint8), preprocess)[:, :, 0] == 0
    np.testing.assert_array_equal(fitted == 255, black)
    restored = unfit_mask(fitted, size_hw, preprocess)
    assert restored.shape == size_hw
    assert (restored != mask).mean() < 0.06
