"""What an image's first bytes say, without decoding it."""

from __future__ import annotations

import io
from typing import NamedTuple

from PIL import BmpImagePlugin, GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, PpmImagePlugin, TiffImagePlugin, WebPImagePlugin

from components.errors import DataError

#: The formats that are read. Others Pillow knows are left out on purpose: EPS starts a program, the rest are no photographs.
_READERS = (
    JpegImagePlugin.JpegImageFile,
    PngImagePlugin.PngImageFile,
    WebPImagePlugin.WebPImageFile,
    BmpImagePlugin.BmpImageFile,
    GifImagePlugin.GifImageFile,
    TiffImagePlugin.TiffImageFile,
    PpmImagePlugin.PpmImageFile,
)
FORMATS = tuple(str(reader.format) for reader in _READERS)
_EXIF_ORIENTATION = 0x0112


class Header(NamedTuple):
    """Size in pixels after orientation, and the EXIF orientation, 1 to 8."""

    height: int
    width: int
    orientation: int


def open_image(content: bytes) -> Image.Image:
    """Open an image without decoding its pixels.

    Raises:
        DataError: It is no image, of a kind that is not read, or a decompression bomb.
    """
    if not content:
        raise DataError("the file is empty")
    try:
        return Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise DataError(f"refused as a decompression bomb: {error}") from error
    except Exception as error:  # Pillow's readers raise whatever they trip over: struct.error, KeyError, SyntaxError …
        raise DataError(f"no image that can be read ({_kind(content)}); expected one of {', '.join(FORMATS)}") from error


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 (upright) where there is none or it means nothing."""
    value = image.getexif().get(_EXIF_ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def read_header(content: bytes) -> Header | None:
    """Return an image's size and orientation, None if even its header is damaged."""
    try:
        image = open_image(content)
        orientation = orientation_of(image)
    except Exception:  # a damaged image is a finding of validation, not an end of the import; EXIF readers raise anything
        return None
    width, height = image.size
    return Header(width, height, orientation) if orientation >= 5 else Header(height, width, orientation)


def _kind(content: bytes) -> str:
    start = content[:24].strip()
    return (
        f"it is text: '{start.decode('ascii')} …'" if start.isascii() and start.decode("ascii").isprintable() else f"it begins with {content[:8]!r}"
    )
