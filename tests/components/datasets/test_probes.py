from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from components.datasets.probes import measure


def test_a_blank_image_has_brightness_alone() -> None:
    assert measure(Image.new("RGB", (9, 7), "white")) == (1.0, 0.0, 0.0)
    assert measure(Image.new("L", (9, 7), 51)) == (0.2, 0.0, 0.0)


def test_measures_are_those_of_the_definition() -> None:
    luma = np.random.default_rng(3).integers(0, 256, (20, 30)).astype(np.uint8)
    found = measure(Image.fromarray(luma))
    values = luma / 255
    laplacian = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:] - 4 * values[1:-1, 1:-1]
    assert found == pytest.approx((values.mean(), values.std(), laplacian.var()))


def test_of_a_large_image_every_second_row_tells_how_sharp_it_is() -> None:
    luma = np.random.default_rng(3).integers(0, 256, (500, 600)).astype(np.uint8)
    values = luma / 255
    laplacian = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:] - 4 * values[1:-1, 1:-1]
    found = measure(Image.fromarray(luma))
    assert found == pytest.approx((values.mean(), values.std(), laplacian[::2].var()))
    assert found.sharpness == pytest.approx(laplacian.var(), rel=0.02)


def test_a_blur_is_less_sharp() -> None:
    sharp = Image.fromarray(np.random.default_rng(3).integers(0, 256, (64, 64)).astype(np.uint8))
    blurred = sharp.resize((8, 8), Image.Resampling.BILINEAR).resize((64, 64), Image.Resampling.BICUBIC)
    assert measure(blurred).sharpness < measure(sharp).sharpness / 100


def test_the_smallest_images_are_measured() -> None:
    assert measure(Image.new("L", (1, 1), 255)) == (1.0, 0.0, 0.0)
