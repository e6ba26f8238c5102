from __future__ import annotations

import numpy as np

from components.evaluation.overlays import beside, with_boxes, with_mask

GREY = np.full((100, 200, 1), 90, np.uint8)


def _coloured(picture: np.ndarray) -> np.ndarray:
    return np.ptp(picture.astype(int), axis=2) > 20


def test_a_box_is_drawn_at_its_edges_and_only_there() -> None:
    picture = with_boxes(GREY, np.array([[20.0, 40, 80, 90]]), [1], ["dog"])
    assert picture.shape == (100, 200, 3)
    coloured = _coloured(picture)
    assert coloured[89, 20:80].all()
    assert coloured[40:90, 20].all()
    assert coloured[40:90, 79].all()
    assert not coloured[45:85, 25:75].any()
    assert not coloured[:, 90:].any()
    assert coloured[30:40, 20:24].any(), "the name stands above"


def test_small_images_are_enlarged_and_boxes_with_them() -> None:
    picture = with_boxes(np.zeros((20, 20, 3), np.uint8), np.array([[5.0, 15, 10, 20]]), [0], [""])
    assert picture.shape == (200, 200, 3)
    assert _coloured(picture)[199, 50:100].all()


def test_a_mask_colours_its_pixels_greys_those_not_judged_and_leaves_the_background_clear() -> None:
    mask = np.zeros((100, 200), np.uint8)
    mask[:, 50:100], mask[:, 100:] = 3, 255
    picture = with_mask(GREY, mask, background=0)
    assert (picture[:, :50] == 90).all()
    assert _coloured(picture)[:, 50:100].all()
    assert not _coloured(picture)[:, 100:].any()
    assert (picture[:, 100:] > 90).all()
    assert _coloured(with_mask(GREY, mask, background=None))[:, :50].all()


def test_pictures_stand_beside_each_other() -> None:
    picture = beside([np.zeros((10, 20, 3), np.uint8), np.full((10, 20, 3), 7, np.uint8)])
    assert picture.shape == (10, 44, 3)
    assert (picture[:, 20:24] == 255).all()
    assert (picture[:, 24:] == 7).all()
