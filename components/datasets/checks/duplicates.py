"""Near duplicates: the same picture re-encoded, resized, mirrored, brightened or cropped a little. No label is ever looked at.

Of each image a fingerprint is kept: its luma at 16×16, its chroma at 8×8, its size, and a checksum of its pixels (of a grid of 128 to 256 of them
along the longer side, where there are more), 396 bytes. Its perceptual hash follows from it: the signs of 64 low frequencies of the luma (a DCT
hash as in Zauner 2010, "Implementation and benchmarking of perceptual image hash functions", with the sign in place of the median, so that
mirroring inverts bits and brightness changes none). Hashes that are alike in one of four orientations make a candidate; it is a near duplicate if
the thumbnails say so too: the normalised correlation of their luma is high, and their colours are near.

What has too little to tell by is judged more strictly. An image of nearly one colour (its luma spreads by less than four levels of 255) is only
accused if its pixels are the same. An image with fewer than 16 pixels along a side shows all it has in the thumbnail, and many of its kind
look alike (digits): its correlation has to be ten times nearer to one.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from components.datasets.checks._hamming import MAX_RADIUS, Hashes, orientation, similar
from components.datasets.contact_sheet import Pixels, contact_sheet
from components.errors import ConfigError, DataError

Fingerprints = npt.NDArray[np.void]

_SIDE, _CHROMA_SIDE, _GRID = 16, 8, 128
FINGERPRINT = np.dtype(
    [("luma", "u1", (_SIDE, _SIDE)), ("chroma", "u1", (2, _CHROMA_SIDE, _CHROMA_SIDE)), ("size_hw", "<u4", 2), ("checksum", "<u4")], align=False
)

#: How the later image of a pair is related to the earlier one.
SAME, REENCODED, RESIZED, CHANGED = "same pixels", "re-encoded", "resized", "changed"
_TURNED = np.array(["", "flipped", "flipped upside down", "turned by 180 degrees"], dtype=object)

_MIN_SPREAD = 4.0
_STRICTER = 10
#: A correlation above is what encoding and resizing leave; cropping and retouching leave less.
_UNCHANGED = 0.995
#: What bounds the work where very many images look alike: an image is examined with so many candidates, and listed with so many.
_MOST_EXAMINED, _MOST_LISTED = 256, 16
_CHUNK = 1 << 14


def fingerprint(image: Image.Image | Pixels) -> bytes:
    """Return what is kept of an image to find it again, `FINGERPRINT.itemsize` bytes.

    Args:
        image: Decoded and upright: RGB or L, or uint8 (H, W, 3), (H, W, 1) or (H, W).
    """
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image)
    if image.mode not in ("RGB", "L"):
        image = image.convert("RGB")
    small = image.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    luma, blue, red = small.convert("RGB").convert("YCbCr").split()
    chroma = (plane.reduce(_SIDE // _CHROMA_SIDE).tobytes() for plane in (blue, red))
    step = max(1, max(image.size) // _GRID)
    grid = image if step == 1 else image.resize((-(-image.width // step), -(-image.height // step)), Image.Resampling.NEAREST)
    return b"".join([luma.tobytes(), *chroma, struct.pack("<III", image.height, image.width, zlib.crc32(grid.tobytes()))])


def perceptual_hashes(fingerprints: Fingerprints) -> Hashes:
    """Return the hash of each fingerprint, uint64 (N,): near duplicates differ in few bits.

    Bit k is the sign of a frequency of the DCT-II of the luma: frequencies of the four parities (horizontal, vertical) in turn, low ones first.
    """
    hashes = np.empty(len(fingerprints), dtype=np.uint64)
    for start in range(0, len(fingerprints), _CHUNK):
        luma = fingerprints["luma"][start : start + _CHUNK].astype(np.float32)
        signs = np.stack([frequency > 0 for frequency in _frequencies(luma)], axis=1)
        hashes[start : start + _CHUNK] = np.packbits(signs, axis=1, bitorder="little").view("<u8")[:, 0]
    return hashes


def near_duplicates(
    image_ids: Sequence[str],
    fingerprints: Iterable[bytes | None],
    radius: int = 8,
    min_correlation: float = 0.95,
    max_colour_difference: float = 16.0,
) -> pd.DataFrame:
    """Find the pairs of images that are the same picture.

    Whether a pair is found depends on no image after it, so a dataset that grows keeps its pairs. Of many identical images each is paired
    with the first of them; an image is paired with at most 16 others before it.

    Args:
        image_ids: In the manifest's order, unique.
        fingerprints: One an image; None: it could not be decoded, and is paired with nothing.
        radius: Bits of 64 in which the hashes of candidates may differ, 0 to 13; the time grows by half with each.
        min_correlation: Of the luma thumbnails, 0 to 1.
        max_colour_difference: Of the chroma thumbnails, root mean square in levels of 255.

    Returns:
        One row a pair, in the order of the later images: first, second (ids, the earlier first), distance (bits), correlation,
        how (same pixels, re-encoded, resized, changed; flipped …).

    Raises:
        ConfigError: The radius is out of range.
        DataError: A fingerprint is of another form.
    """
    if not 0 <= radius <= MAX_RADIUS:
        raise ConfigError(f"the radius of near duplicates is {radius} bits; expected 0 to {MAX_RADIUS}")
    places, known = _known(fingerprints)
    hashes = perceptual_hashes(known)
    first_of = _first_of_same(known, hashes)
    copies = np.flatnonzero(first_of != np.arange(len(known)))
    parts = [(first_of[copies], copies, np.zeros(len(copies), dtype=np.uint8), np.ones(len(copies)), np.full(len(copies), SAME, dtype=object))]
    searched = np.flatnonzero((first_of == np.arange(len(known))) & (_spread(known) >= _MIN_SPREAD))
    examined, listed = np.zeros(len(known), dtype=np.int64), np.zeros(len(known), dtype=np.int64)
    for found in similar(hashes[searched], radius):
        earlier, later = (searched[part] for part in found)
        fresh = (examined[later] < _MOST_EXAMINED) & (listed[later] < _MOST_LISTED)
        earlier, later = earlier[fresh], later[fresh]
        np.add.at(examined, later, 1)
        for start in range(0, len(earlier), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            part = _verified(known, hashes, earlier[chunk], later[chunk], min_correlation, max_colour_difference)
            np.add.at(listed, part[1], 1)
            parts.append(part)
    earlier, later, distance, correlation, how = (np.concatenate(column) for column in zip(*parts, strict=True))
    ids = np.asarray(image_ids, dtype=object)[places]
    columns = {"first": ids[earlier], "second": ids[later], "distance": distance, "correlation": correlation, "how": how}
    order = np.lexsort((earlier, later))
    return pd.DataFrame(columns).iloc[order].drop_duplicates(["first", "second"]).reset_index(drop=True)


def across_splits(pairs: pd.DataFrame, splits: pd.Series[Any]) -> pd.DataFrame:
    """Return the pairs whose images stand on two sides.

    Args:
        pairs: What `near_duplicates` returns.
        splits: Each image's side by its id; null: on none.

    Returns:
        Those pairs, with two columns more: first_split, second_split.
    """
    sides = splits.dropna()
    placed = pairs.assign(first_split=pairs["first"].map(sides), second_split=pairs["second"].map(sides))
    both = placed["first_split"].notna() & placed["second_split"].notna()
    return placed[both & (placed["first_split"] != placed["second_split"])].reset_index(drop=True)


def draw_pairs(pairs: pd.DataFrame, read: Callable[[str], Pixels | None], path: Path, title: str = "") -> None:
    """Draw pairs side by side, three in a row, as one PNG.

    Args:
        pairs: What `near_duplicates` or `across_splits` returns; as many as are to be drawn.
        read: Called with an image's id; returns uint8 (H, W, 3) or (H, W, 1), None if it cannot be shown.
        path: The file to write.
        title: A line above all.
    """
    images, captions = [], []
    for pair in pairs.to_dict("records"):
        for side in ("first", "second"):
            images.append(read(str(pair[side])))
            where = f"in {pair[f'{side}_split']} " if f"{side}_split" in pair else ""
            how = f"{pair['how']} ({pair['correlation']:.3f})" if side == "second" else ""
            captions.append(f"{pair[side]}\n{where}{how}")
    contact_sheet(images, captions, title).save(path)


def _known(fingerprints: Iterable[bytes | None]) -> tuple[npt.NDArray[np.int64], Fingerprints]:
    """Return the fingerprints there are as one array, and their places among all."""
    listed = list(fingerprints)
    places = [place for place, content in enumerate(listed) if content is not None]
    contents = [content for content in listed if content is not None]
    if any(len(content) != FINGERPRINT.itemsize for content in contents):
        raise DataError(
            f"a fingerprint has another length than {FINGERPRINT.itemsize} bytes: another version of Darkroom took it; run validate again"
        )
    return np.array(places, dtype=np.int64), np.frombuffer(b"".join(contents), dtype=FINGERPRINT)


def _first_of_same(known: Fingerprints, hashes: Hashes) -> npt.NDArray[np.int64]:
    """Return for each fingerprint the place of the first one that is equal to it."""
    size = known["size_hw"].astype(np.uint64)
    mixed = (
        hashes ^ (known["checksum"] * np.uint64(0x9E3779B97F4A7C15)) ^ ((size[:, 0] << np.uint64(32) | size[:, 1]) * np.uint64(0xC2B2AE3D27D4EB4F))
    )
    _, first, group = np.unique(mixed, return_index=True, return_inverse=True)
    first_of = first[group].astype(np.int64)
    every = np.arange(len(known))
    for start in range(0, len(known), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        equal = known[first_of[chunk]] == known[chunk]
        first_of[chunk] = np.where(equal, first_of[chunk], every[chunk])
    return first_of


def _spread(known: Fingerprints) -> npt.NDArray[np.float64]:
    """Return the standard deviation of each thumbnail's luma, in levels of 255."""
    spread = np.empty(len(known))
    for start in range(0, len(known), _CHUNK):
        spread[start : start + _CHUNK] = known["luma"][start : start + _CHUNK].std(axis=(1, 2), dtype=np.float32)
    return spread


def _verified(
    known: Fingerprints,
    hashes: Hashes,
    earlier: npt.NDArray[np.int64],
    later: npt.NDArray[np.int64],
    min_correlation: float,
    max_colour_difference: float,
) -> tuple[Any, ...]:
    """Return those candidates whose thumbnails agree: earlier, later, distance, correlation, how."""
    turned, distance = orientation(hashes[earlier], hashes[later])
    first, second = known[earlier], known[later]
    correlation = _correlation(first["luma"], _turn(second["luma"], turned))
    colour = np.sqrt(((first["chroma"].astype(np.float32) - _turn(second["chroma"], turned)) ** 2).mean(axis=(1, 2, 3)))
    tiny = (first["size_hw"].min(axis=1) < _SIDE) | (second["size_hw"].min(axis=1) < _SIDE)
    allowed = np.where(tiny, (1 - min_correlation) / _STRICTER, 1 - min_correlation)
    same = (1 - correlation <= allowed) & (colour <= max_colour_difference)
    resized = (first["size_hw"] != second["size_hw"]).any(axis=1)
    changed = np.where(correlation >= _UNCHANGED, np.where(resized, RESIZED, np.where(turned > 0, "", REENCODED)), CHANGED).astype(object)
    how = _TURNED[turned]
    how = np.where(how == "", changed, np.where(changed == "", how, how + ", " + changed))
    return earlier[same], later[same], distance[same], correlation[same], how[same]


def _turn(planes: npt.NDArray[np.uint8], turned: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Return thumbnails (N, …, h, w) mirrored where `turned` is odd, and upside down where it is two or more."""
    out = planes.astype(np.float32)
    out[turned % 2 == 1] = out[turned % 2 == 1][..., ::-1]
    out[turned >= 2] = out[turned >= 2][..., ::-1, :]
    return out


def _correlation(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the normalised correlation of each pair of thumbnails (N, h, w), -1 to 1."""
    a, b = (planes.reshape(len(planes), -1).astype(np.float64) for planes in (first, second))
    a -= a.mean(axis=1, keepdims=True)
    b -= b.mean(axis=1, keepdims=True)
    norm = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.asarray((a * b).sum(axis=1) / np.where(norm > 0, norm, 1))


def _frequencies(luma: npt.NDArray[np.float32]) -> Iterator[npt.NDArray[np.float32]]:
    """Yield 64 frequencies of thumbnails (N, 16, 16), each (N,)."""
    place, frequency = np.arange(_SIDE)[None, :], np.arange(_SIDE)[:, None]
    cosines = np.cos(np.pi * (2 * place + 1) * frequency / (2 * _SIDE)).astype(np.float32)
    spectrum = (cosines @ luma @ cosines.T).astype(np.float32)
    for vertical, horizontal in _ORDER:
        yield spectrum[:, vertical, horizontal]


def _order() -> list[tuple[int, int]]:
    """Return the frequencies (vertical, horizontal) of bits 0 to 63; see `_hamming.MIRROR`."""
    every = sorted(((v, h) for v in range(_SIDE) for h in range(_SIDE) if v or h), key=lambda pair: (pair[0] ** 2 + pair[1] ** 2, pair))
    parities = [[pair for pair in every if (pair[0] % 2, pair[1] % 2) == parity][:16] for parity in ((0, 1), (1, 0), (1, 1), (0, 0))]
    return [parity[rank] for rank in range(16) for parity in parities]


_ORDER = _order()
