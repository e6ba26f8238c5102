from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from components.datasets.decoding import decode
from components.errors import DataError


def _bytes(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _scene(height: int = 12, width: int = 20) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_put_upright(orientation: int) -> None:
    upright = np.kron(_scene(6, 10), np.ones((8, 8, 1), np.uint8))
    turned = {1: [], 2: [1], 3: [3], 4: [6], 5: [5], 6: [2], 7: [7], 8: [4]}[orientation]
    image = Image.fromarray(upright)
    for transpose in turned:  # what the camera stored: the inverse of what the tag asks for
        image = image.transpose({1: 0, 3: 3, 6: 1, 5: 5, 2: 2, 7: 6, 4: 4}[transpose])
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = _bytes(image, "PNG", exif=exif)
    np.testing.assert_array_equal(decode(content), np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content)))))
    np.testing.assert_array_equal(decode(content), upright)


def test_transparency_is_laid_over_white() -> None:
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, :, 3] = [0, 255, 51]
    np.testing.assert_array_equal(decode(_bytes(Image.fromarray(pixels)))[0, :, 0], [255, 0, 204])
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    assert decode(_bytes(palette, transparency=0)).tolist() == [[[255, 255, 255], [40, 50, 60]]]


def test_16_bit_samples_are_cut_to_their_high_byte_in_gray_as_in_colour() -> None:
    samples = np.array([[0, 255, 256, 65535, 0x7FFF]], np.uint16)
    assert decode(_bytes(Image.fromarray(samples)))[0, :, 0].tolist() == [0, 0, 1, 255, 0x7F]
    pgm = b"P5 5 1 65535\n" + samples.astype(">u2").tobytes()
    assert decode(pgm)[0, :, 0].tolist() == [0, 0, 1, 255, 0x7F]


@pytest.mark.parametrize(
    ("image", "kind", "expected"),
    [
        pytest.param(Image.new("L", (1, 1), 77), "PNG", [77, 77, 77], id="grayscale"),
        pytest.param(Image.new("1", (1, 1), 1), "PNG", [255, 255, 255], id="one bit"),
        pytest.param(Image.new("LA", (1, 1), (0, 0)), "PNG", [255, 255, 255], id="gray with alpha"),
        pytest.param(Image.new("CMYK", (1, 1), (255, 0, 0, 0)), "TIFF", [0, 255, 255], id="CMYK"),
    ],
)
def test_other_modes_become_rgb(image: Image.Image, kind: str, expected: list[int]) -> None:
    assert decode(_bytes(image, kind)).tolist() == [[expected]]


@pytest.mark.parametrize("mode", ["F", "I"])
def test_pixels_without_a_range_are_refused(mode: str) -> None:
    with pytest.raises(DataError, match="expected 8 or 16 bits"):
        decode(_bytes(Image.new(mode, (2, 2), 70_000), "TIFF"))


@pytest.mark.filterwarnings("ignore")  # Pillow tells of each damaged tag
@given(st.integers(0, 400), st.integers(0, 255), st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"]))
@settings(max_examples=150, deadline=None)
def test_a_damaged_file_decodes_or_is_a_data_error_and_nothing_else(position: int, value: int, kind: str) -> None:
    content = bytearray(_bytes(Image.fromarray(_scene()), kind))
    content[position % len(content)] = value
    for damaged in (bytes(content), bytes(content[: position % len(content)])):
        try:
            pixels = decode(damaged)
        except DataError:
            continue
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3
        assert pixels.shape[2] == 3


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_truncated_image_is_refused(kind: str) -> None:
    content = _bytes(Image.fromarray(_scene(64, 64)), kind)
    with pytest.raises(DataError, match=r"damaged: .*truncated"):
        decode(content[: len(content) // 2])


@pytest.mark.shared_data
def test_png_suite(shared_data: Path) -> None:
    """All sound files decode; of the 14 damaged ones 13 are refused, and xcsn0g01 (a wrong checksum) may load."""
    refused = []
    with tarfile.open(shared_data / "pngsuite.tar.gz") as tar:
        for member in tar:
            if not member.name.endswith(".png"):
                continue
            file = tar.extractfile(member)
            assert file is not None
            try:
                assert decode(file.read()).shape[2] == 3
            except DataError:
                refused.append(Path(member.name).name)
    assert all(name.startswith("x") for name in refused)
    assert len(set(refused) | {"xcsn0g01.png"}) == 14
