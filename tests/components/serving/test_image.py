from __future__ import annotations

import io
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from components.records import Preprocess
from components.serving.image import decode, fit, prepare


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
    assert found.shape == (16, 24, 3)
    np.testing.assert_array_equal(found, fit(decode(content), preprocess))
    np.testing.assert_array_equal(found, prepare(content, preprocess))
