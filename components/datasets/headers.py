"""What an image's first bytes say, without decoding it: its kind, by which a check judges it, and its size, which the manifest holds.

What is taken, and how `serving.image` decodes it:

more than `MAX_PIXELS` pixels   refused as a decompression bomb, before anything is decoded
unreadable header, empty        refused
animated, or several pages      the first frame
more than 8 bits a channel      cut to the high byte; samples of 32 bits have no stated range and are refused
CMYK                            converted to RGB without a colour profile
palette                         resolved to RGB
alpha                           laid over white
EXIF orientation                applied; height and width are those of the upright image
a name of another format        the bytes decide, the name does not matter
"""

from __future__ import annotations

import io
import warnings
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from PIL import BmpImagePlugin, GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, PpmImagePlugin, TiffImagePlugin, WebPImagePlugin

from components.errors import DataError

#: The formats that are read, with the suffixes of their files' names. Others Pillow knows are left out on purpose: EPS starts a program, the
#: rest are no photographs.
_SUFFIXES: dict[str, tuple[str, ...]] = {
    str(JpegImagePlugin.JpegImageFile.format): (".jpg", ".jpeg", ".jpe", ".jfif"),
    str(PngImagePlugin.PngImageFile.format): (".png", ".apng"),
    str(WebPImagePlugin.WebPImageFile.format): (".webp",),
    str(BmpImagePlugin.BmpImageFile.format): (".bmp", ".dib"),
    str(GifImagePlugin.GifImageFile.format): (".gif",),
    str(TiffImagePlugin.TiffImageFile.format): (".tif", ".tiff"),
    str(PpmImagePlugin.PpmImageFile.format): (".ppm", ".pgm", ".pbm", ".pnm"),
}
FORMATS = tuple(_SUFFIXES)
#: Above this an image is a decompression bomb: Pillow's own limit for raising, a gibibyte of pixels divided by six.
MAX_PIXELS = 2 * (2**30 // 4 // 3)
_EXIF_ORIENTATION = 0x0112
_TIFF_BITS_PER_SAMPLE = 258
_PNG_SIGNATURE = 8
_PNG_METADATA = {b"eXIf", b"tEXt", b"zTXt", b"iTXt"}
#: Bits of a channel that Pillow's modes stand for, where the file does not say it.
_BITS = {"1": 1, "I;16": 16, "I;16B": 16, "I;16L": 16, "I": 32, "F": 32}

# Pillow warns at half the limit; `open_image` refuses at the limit, and a warning on the terminal would be a finding that no report has.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class Header(NamedTuple):
    """Size in pixels after orientation, and the EXIF orientation, 1 to 8."""

    height: int
    width: int
    orientation: int


class ImageKind(NamedTuple):
    """What kind of image a file holds."""

    format: str
    """One of `FORMATS`; also a phone's JPEG with more pictures behind the first (MPO) is JPEG."""
    mode: str
    """Pillow's: `L`, `RGB`, `RGBA`, `P`, `CMYK`, `I;16` …"""
    height: int
    """In pixels, as stored."""
    width: int
    frames: int
    """More than one: animated, or a TIFF of several pages."""
    bits: int
    """Of a channel; of a palette's colours, not of its indices."""
    palette: bool
    alpha: bool
    """Whether pixels may be transparent, by a channel or by a colour that is named so."""
    orientation: int
    """EXIF's, 1 (upright) to 8."""


def open_image(content: bytes) -> Image.Image:
    """Open an image without decoding its pixels.

    Raises:
        DataError: It is no image, of a kind that is not read, or a decompression bomb.
    """
    if not content:
        raise DataError("the file is empty")
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError:
        raise DataError(f"refused as a decompression bomb: more than {MAX_PIXELS:,} pixels") from None
    except Exception as error:  # Pillow's readers raise whatever they trip over: struct.error, KeyError, SyntaxError …
        raise DataError(f"no image that can be read ({_beginning(content)}); expected one of {', '.join(FORMATS)}") from error
    if image.width * image.height > MAX_PIXELS:
        raise DataError(f"refused as a decompression bomb: {image.width}×{image.height} pixels; expected at most {MAX_PIXELS:,}")
    return image


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 (upright) where there is none or it means nothing. A PNG is decoded for it."""
    return _orientation(image.getexif())


def header_of(content: bytes) -> Header:
    """Return an image's size and orientation without decoding it.

    Raises:
        DataError: It is no image, of a kind that is not read, or a decompression bomb.
    """
    image = open_image(content)
    width, height = image.size
    orientation = _cheap_orientation(image, content)
    return Header(width, height, orientation) if orientation >= 5 else Header(height, width, orientation)


def read_header(content: bytes) -> Header | None:
    """Return an image's size and orientation, None if even its header is damaged."""
    try:
        return header_of(content)
    except DataError:  # a damaged image is a finding of validation, not an end of the import
        return None


def kind_of(image: Image.Image, content: bytes) -> ImageKind:
    """Return what kind of image `open_image(content)` opened, before it is decoded.

    Raises:
        DataError: Its header is damaged behind what `open_image` reads.
    """
    kind = "JPEG" if image.format == "MPO" else str(image.format)
    try:
        frames = 1 if kind == "JPEG" else int(getattr(image, "n_frames", 1))
        bits = _bits(image, content)
    except Exception as error:  # Pillow's readers raise whatever they trip over
        raise DataError(f"the image is damaged: {error}") from error
    return ImageKind(
        format=kind,
        mode=image.mode,
        height=image.height,
        width=image.width,
        frames=frames,
        bits=bits,
        palette=image.mode in ("P", "PA"),
        alpha=image.has_transparency_data,
        orientation=_cheap_orientation(image, content),
    )


def suffix_fits(name: str, kind: str) -> bool:
    """Tell whether a file's name ends as files of a format do; a name without a suffix fits all."""
    suffix = PurePosixPath(name).suffix.lower()
    return not suffix or suffix in _SUFFIXES[kind]


def _orientation(exif: Image.Exif) -> int:
    value = exif.get(_EXIF_ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _cheap_orientation(image: Image.Image, content: bytes) -> int:
    """Return the orientation; a PNG is decoded only where metadata stands behind its pixels, any other image never."""
    try:
        if image.format == "PNG" and not _ends_with_metadata(content):
            return _orientation(Image.Image.getexif(image))
        return orientation_of(image)
    except Exception:  # readers of EXIF raise anything; what is unreadable turns nothing
        return 1


def _ends_with_metadata(png: bytes) -> bool:
    """Tell whether a PNG has metadata behind its pixels (PNG, 3rd edition, 5.6: text and EXIF may stand there)."""
    place, pixels = _PNG_SIGNATURE, False
    while place + 8 <= len(png):
        kind = png[place + 4 : place + 8]
        if pixels and kind in _PNG_METADATA:
            return True
        pixels = pixels or kind == b"IDAT"
        place += 12 + int.from_bytes(png[place : place + 4], "big")
    return False


def _bits(image: Image.Image, content: bytes) -> int:
    if image.mode in ("P", "PA"):
        return 8
    if image.format == "PNG":
        return content[24]  # IHDR: the bit depth follows signature (8), length and name (8), width and height (8)
    if image.format == "TIFF":
        declared: Any = image.tag_v2.get(_TIFF_BITS_PER_SAMPLE, (1,))  # type: ignore[attr-defined]
        return int(max(declared))
    if image.format == "PPM" and image.mode != "F":
        return max(1, int(_ppm_maximum(content)).bit_length())
    return _BITS.get(image.mode, 8)


def _ppm_maximum(content: bytes) -> bytes:
    """Return the largest value of a sample, the fourth word of a PPM or PGM; a PBM has none: 1."""
    words = b"\n".join(line.partition(b"#")[0] for line in content[:4096].split(b"\n")).split()
    return b"1" if words[0] in (b"P1", b"P4") else words[3]


def _beginning(content: bytes) -> str:
    start = content[:24].strip()
    return (
        f"it is text: '{start.decode('ascii')} …'" if start.isascii() and start.decode("ascii").isprintable() else f"it begins with {content[:8]!r}"
    )
