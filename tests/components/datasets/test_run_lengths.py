from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from components.datasets.run_lengths import coco_box, coco_counts, coco_region, rle_pack_pixels, unpacked
from components.errors import DataError


@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=40)))
@settings(max_examples=100, deadline=None)
def test_cocos_own_encoder_is_understood(bits: np.ndarray) -> None:
    from pycocotools import mask as reference

    encoded = reference.encode(np.asfortranarray(bits.astype(np.uint8)))
    counts = coco_counts(encoded["counts"].decode())
    np.testing.assert_array_equal(coco_region(counts, bits.shape), bits)
    x, y, width, height = reference.toBbox(encoded)
    assert coco_box(counts, bits.shape) == [x, y, x + width, y + height]


def test_run_lengths_go_down_the_columns() -> None:
    np.testing.assert_array_equal(coco_region(coco_counts([1, 3, 2]), (3, 2)), [[0, 1], [1, 0], [1, 0]])
    assert coco_box(coco_counts([1, 3, 2]), (3, 2)) == [0, 0, 2, 3]
    assert coco_box(coco_counts([6]), (3, 2)) == [0, 0, 0, 0]


@pytest.mark.parametrize("counts", ["~~~", "P", "ooooooooooooooo0", "é", [2**70], [0, -1, 7], [1, 2]])
def test_wrong_run_lengths_are_refused(counts: str | list[int]) -> None:
    with pytest.raises(DataError, match="run-length"):
        coco_region(coco_counts(counts), (3, 2))


@given(st.one_of(st.text(max_size=60), st.lists(st.integers(-(2**66), 2**66), max_size=20)))
@settings(max_examples=300, deadline=None)
def test_anything_is_a_mask_or_an_error(counts: str | list[int]) -> None:
    try:
        assert coco_region(coco_counts(counts), (3, 2)).shape == (3, 2)
    except DataError:
        return


def test_runs_begin_with_off() -> None:
    np.testing.assert_array_equal(unpacked(np.array([0, 2, 1]), 3), [True, True, False])


@given(st.lists(st.integers(-1, 256), max_size=40), st.integers(0, 64))
@settings(max_examples=300, deadline=None)
def test_any_packed_brush_is_pixels_or_an_error(content: list[int], size: int) -> None:
    try:
        assert rle_pack_pixels(content, size).shape == (size,)
    except DataError:
        return


def test_a_brush_of_repeated_and_of_single_words() -> None:
    bits = f"{5:032b}" + f"{7:05b}" + "0011" * 4  # 5 words of 8 bits, widths of 4
    bits += "1" + "00" + f"{2:04b}" + f"{9:08b}"  # three times 9
    bits += "0" + "00" + f"{1:04b}" + f"{1:08b}" + f"{255:08b}"  # then 1 and 255
    content = [int(bits[place : place + 8].ljust(8, "0"), 2) for place in range(0, len(bits), 8)]
    np.testing.assert_array_equal(rle_pack_pixels(content, 5), [9, 9, 9, 1, 255])
