from __future__ import annotations

import io
import tarfile
import warnings
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageFile

from components.datasets import headers
from components.datasets.headers import FORMATS, header_of, kind_of, open_image, read_header, suffix_fits
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


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.copy().save(buffer, kind, **options)  # a copy, because saving leaves its settings on an image
    return buffer.getvalue()


def _animated(kind: str) -> bytes:
    first, *others = [Image.new("RGB", (7, 5), (value, 0, 0)) for value in (0, 100, 200)]
    return _saved(first, kind, save_all=True, append_images=others)


def test_the_limit_of_pixels_is_the_one_that_is_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Image.MAX_IMAGE_PIXELS * 2 == headers.MAX_PIXELS
    content = _saved(Image.new("1", (40, 40)), "PNG")
    monkeypatch.setattr(headers, "MAX_PIXELS", 1599)
    with pytest.raises(DataError, match="bomb: 40×40 pixels; expected at most 1,599"):
        header_of(content)
    with warnings.catch_warnings(record=True) as shown:
        monkeypatch.setattr(headers, "MAX_PIXELS", 2**30)
        warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
        open_image(_saved(Image.new("1", (10_000, 10_000)), "PNG"))
    assert not shown


_EXIF = Image.Exif()
_EXIF[0x0112] = 6
_IMAGE = Image.new("RGB", (7, 5))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(_saved(_IMAGE, "JPEG"), {"format": "JPEG", "mode": "RGB", "bits": 8, "frames": 1, "alpha": False}, id="photograph"),
        pytest.param(_saved(_IMAGE, "JPEG", exif=_EXIF), {"orientation": 6, "height": 5, "width": 7}, id="turned, its size as stored"),
        pytest.param(_saved(_IMAGE.convert("CMYK"), "JPEG"), {"mode": "CMYK"}, id="CMYK"),
        pytest.param(_animated("MPO"), {"format": "JPEG", "frames": 1}, id="a phone's"),
        pytest.param(_animated("GIF"), {"format": "GIF", "frames": 3}, id="animated GIF"),
        pytest.param(_animated("PNG"), {"format": "PNG", "frames": 3}, id="animated PNG"),
        pytest.param(_animated("WEBP"), {"format": "WEBP", "frames": 3}, id="animated WebP"),
        pytest.param(_animated("TIFF"), {"frames": 3, "bits": 8}, id="TIFF of pages"),
        pytest.param(_saved(Image.new("I;16", (7, 5)), "TIFF"), {"bits": 16}, id="TIFF of 16 bits"),
        pytest.param(_saved(Image.new("I", (7, 5)), "PPM"), {"bits": 16}, id="PGM of 16 bits"),
        pytest.param(b"P6 # size\n1 1\n1023\n" + bytes(6), {"format": "PPM", "bits": 10}, id="PPM of 10 bits"),
        pytest.param(_saved(Image.new("1", (7, 5)), "PPM"), {"bits": 1}, id="PBM"),
        pytest.param(_saved(Image.new("P", (7, 5)), "BMP"), {"palette": True, "bits": 8}, id="palette"),
        pytest.param(_saved(Image.new("RGBA", (7, 5)), "WEBP"), {"alpha": True}, id="alpha"),
    ],
)
def test_the_kind_is_told_from_the_header(content: bytes, expected: dict[str, Any]) -> None:
    found = kind_of(open_image(content), content)._asdict()
    assert {name: found[name] for name in expected} == expected


def test_an_orientation_that_stands_behind_the_pixels_of_a_png_counts() -> None:
    plain = _saved(_IMAGE, "PNG")
    turned = _saved(_IMAGE, "PNG", exif=_EXIF)
    start = turned.index(b"eXIf") - 4
    chunk = turned[start : start + 12 + int.from_bytes(turned[start : start + 4], "big")]
    assert header_of(turned) == (7, 5, 6)
    assert header_of(plain[:-12] + chunk + plain[-12:]) == (7, 5, 6)


def test_no_pixel_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    contents = [_saved(Image.new("RGB", (7, 5)), kind, exif=_EXIF) for kind in ("PNG", "JPEG", "WEBP", "TIFF")]
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _self: pytest.fail("decoded"))
    assert [kind_of(open_image(content), content).orientation for content in contents] == [6, 6, 6, 6]


def test_a_name_of_another_format_is_told() -> None:
    assert suffix_fits("a/b.JPG", "JPEG")
    assert suffix_fits("a/b", "PNG")
    assert not suffix_fits("a/b.png", "JPEG")


@pytest.mark.shared_data
def test_pngs_of_every_kind_are_told_apart(shared_data: Path) -> None:
    """Name of a PngSuite file: …[colour type: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha][c|p|g][bits]."""
    told, refused = 0, []
    with tarfile.open(shared_data / "pngsuite.tar.gz") as tar:
        for member in tar:
            name = Path(member.name).stem
            if not member.name.endswith(".png"):
                continue
            file = tar.extractfile(member)
            assert file is not None
            try:
                content = file.read()
                found = kind_of(open_image(content), content)
            except DataError:
                refused.append(name)
                continue
            told += 1
            colour, bits = name[-4], int(name[-2:])
            assert (found.palette, found.bits) == (colour == "3", 8 if colour == "3" else bits), name
            assert found.alpha or colour not in "46", name
    assert told == 163
    assert len(refused) == 12
    assert all(name.startswith("x") for name in refused)
