from __future__ import annotations

import io

import pytest
from PIL import Image

from components.datasets.headers import FORMATS, open_image, read_header
from components.errors import DataError


@pytest.mark.parametrize("kind", FORMATS)
def test_each_format_is_read(kind: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (7, 5)).save(buffer, kind)
    assert read_header(buffer.getvalue()) == (5, 7, 1)


def test_formats_that_run_programs_or_hold_no_photographs_are_refused() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (7, 5)).save(buffer, "EPS")
    with pytest.raises(DataError, match="no image that can be read"):
        open_image(buffer.getvalue())
    assert read_header(buffer.getvalue()) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "the file is empty", id="empty"),
        pytest.param(b"404 Not Found\n", r"it is text: '404 Not Found", id="text"),
        pytest.param(b"\x89PNG\r\n\x1a\n\0\0\0\0", "it begins with", id="only a signature"),
    ],
)
def test_what_is_no_image_is_described(content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_image(content)


def test_a_decompression_bomb_is_refused_by_its_header() -> None:
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    assert len(buffer.getvalue()) < 100_000
    with pytest.raises(DataError, match="decompression bomb"):
        open_image(buffer.getvalue())
