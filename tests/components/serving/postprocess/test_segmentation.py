from __future__ import annotations

import base64

import numpy as np
import pytest

from components.datasets.masks import read_mask
from components.records import Preprocess
from components.serving.postprocess.segmentation import plugin

CLASSES = ["background", "cat", "dog"]


def test_a_mask_is_restored_to_the_size_of_its_original() -> None:
    mask = np.zeros((8, 8), np.uint8)
    mask[2:6, 4:] = 1
    [prediction] = plugin.predictions({"mask": mask[None]})
    letterbox = plugin.restore(prediction, (50, 100), Preprocess(size_hw=(8, 8), channels=3, resize="letterbox"))
    assert letterbox.shape == (50, 100)
    np.testing.assert_array_equal(letterbox, np.tile((np.arange(100) >= 50).astype(np.uint8), (50, 1)))


def test_a_row_for_people_holds_shares_and_the_mask_itself() -> None:
    mask = np.array([[2, 2], [2, 1]], np.uint8)
    row = plugin.columns(mask, CLASSES)
    assert row["label"] == "dog"
    assert row["shares"] == pytest.approx({"background": 0.0, "cat": 0.25, "dog": 0.75})
    np.testing.assert_array_equal(read_mask(base64.b64decode(row["mask"])), mask)


def test_masks_differ_by_their_share_of_other_pixels_whatever_the_order_of_the_classes() -> None:
    mask = np.zeros((10, 20), np.uint8)
    other = np.full((10, 20), 1, np.uint8)  # background, in the other order
    assert plugin.difference(mask, CLASSES, other, ["cat", "background", "dog"]) == (0.0, True)
    other[0, :2] = 0
    assert plugin.difference(mask, CLASSES, other, ["cat", "background", "dog"]) == (0.01, True)
    other[0, 2] = 2
    assert plugin.difference(mask, CLASSES, other, ["cat", "background", "dog"]) == (0.015, False)
    assert plugin.likeness(mask, CLASSES, other, ["cat", "background", "dog"]) == {"pixel_agreement": pytest.approx(0.985)}


def test_a_line_says_the_share_of_each_class_that_is_there() -> None:
    assert plugin.told(np.array([[2, 2], [2, 1]], np.uint8), CLASSES) == ("dog 75.0%, cat 25.0%", "")
