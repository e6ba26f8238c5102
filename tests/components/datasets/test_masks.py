from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from components.datasets.masks import IGNORE, mask_png, read_mask
from components.errors import DataError


def test_a_mask_is_read_as_it_was_written_and_has_colours_to_look_at() -> None:
    mask = np.array([[0, 1, 2], [254, IGNORE, 7]], np.uint8)
    content = mask_png(mask)
    np.testing.assert_array_equal(read_mask(content), mask)
    with Image.open(io.BytesIO(content)) as image:
        assert image.mode == "P"
        assert len(set(image.convert("RGB").get_flattened_data())) == 6


def test_what_is_no_mask_is_refused() -> None:
    with pytest.raises(DataError, match="the mask is damaged"):
        read_mask(b"no image")
    coloured = io.BytesIO()
    Image.new("RGB", (3, 2)).save(coloured, "PNG")
    with pytest.raises(DataError, match="the mask's pixels are RGB; expected an indexed PNG"):
        read_mask(coloured.getvalue())
