from __future__ import annotations

import numpy as np

from components.datasets.contact_sheet import contact_sheet


def test_each_image_has_its_tile_whatever_its_form() -> None:
    images = [np.full((2, 3, 3), 200, np.uint8), np.full((300, 20, 1), 90, np.uint8), None, *[np.zeros((8, 8, 3), np.uint8)] * 5]
    sheet = np.asarray(contact_sheet(images, ["a very long name of an image that will not fit\nthe rest is cut " * 5] * 8, "title"))
    assert sheet.shape[1] == 6 * 136 + 8
    assert (sheet == 200).all(axis=2).any()
    assert (sheet == 90).all(axis=2).any()
    assert (sheet == 0).all(axis=2).sum() >= 5 * 128 * 128


def test_letters_with_accents_are_drawn_and_not_stood_in_for_by_boxes() -> None:
    pictures = {np.asarray(contact_sheet([None], [letter])).tobytes() for letter in "äöüßéñłж"}
    assert len(pictures) == 8
