from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from components.datasets.checks.embedding import DIMENSIONS, embed


def picture(seed: int = 0, size: tuple[int, int] = (96, 64)) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


def test_a_blank_image_has_brightness_and_colour_alone() -> None:
    found = embed(Image.new("RGB", (40, 30), (255, 0, 0)))
    assert found.shape == (DIMENSIONS,)
    assert found.dtype == np.float32
    assert found[[0, 28, 34]] == pytest.approx([0.299, -0.168736, 0.5])
    assert np.delete(found, [0, 28, 34]) == pytest.approx(0, abs=1e-6)


def test_edges_are_counted_by_direction_and_quarter() -> None:
    luma = np.zeros((16, 16), np.uint8)
    luma[:8, 4:8] = 255  # the upper left: edges to the right (bin 0), and below them edges downwards (bin 3)
    edges = embed(Image.fromarray(luma))[40:].reshape(2, 2, 6)
    assert edges[0, 0, 0] == edges[0, 0].max() > 0
    assert edges[1, 0, 3] == edges[1, 0].max() > 0
    assert edges[1, 1].sum() == pytest.approx(0)


def test_an_edge_counts_alike_in_both_senses() -> None:
    ramp = np.add.outer(np.arange(16) * 3, np.arange(16) * 7).astype(np.uint8)
    there, back = embed(Image.fromarray(ramp))[40:], embed(Image.fromarray(255 - ramp))[40:]
    assert there == pytest.approx(back, abs=1e-6)
    assert np.count_nonzero(there > 1e-6) == 4


def test_the_size_and_mode_of_a_picture_hardly_matter() -> None:
    small, large = picture(), picture(size=(960, 640))
    assert np.abs(embed(small) - embed(large)).max() < 0.02
    assert embed(small) == pytest.approx(embed(small.convert("RGBA")))
    assert embed(small.convert("L")) == pytest.approx(embed(small.convert("L").convert("RGB")), abs=1e-6)
    assert np.linalg.norm(embed(small) - embed(picture(1))) > 10 * np.linalg.norm(embed(small) - embed(large))


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (7, 3)])
def test_the_smallest_images_are_described(size: tuple[int, int]) -> None:
    assert np.isfinite(embed(Image.new("RGB", size, "white"))).all()
