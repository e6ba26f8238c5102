from __future__ import annotations

import numpy as np
import pytest

from components.datasets.checks._features import MIN_SIDE, NUM_FILTERS, describe


@pytest.mark.parametrize(("side", "channels"), [(MIN_SIDE, 1), (16, 3), (32, 3)])
def test_pictures_of_any_size_have_as_many_features(side: int, channels: int) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (50, side, side, channels), np.uint8)
    described = describe(pictures)
    assert described.shape == (50, 2 * 9 * NUM_FILTERS)
    assert np.isfinite(described).all()
    assert (described >= 0).all()
    assert (described == describe(pictures)).all()


def test_a_mirror_image_is_told_apart_unless_it_shall_not_be() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), np.uint8)
    pictures[10:] = pictures[:10, :, ::-1]
    plain, mirrored = describe(pictures).astype(float), describe(pictures, mirrored=True).astype(float)
    assert np.abs(plain[:10] - plain[10:]).max() > 0.1
    np.testing.assert_allclose(mirrored[:10], mirrored[10:], atol=1e-3)


def test_brightness_and_contrast_change_little() -> None:
    pictures = np.random.default_rng(0).integers(60, 180, (20, 16, 16, 1), np.uint8)
    pictures[10:] = pictures[:10] // 2 + 80
    described = describe(pictures).astype(float)
    within = np.abs(described[:10] - described[10:]).mean()
    between = np.abs(described[:9] - described[1:10]).mean()
    assert within < between / 10
