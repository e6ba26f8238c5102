"""Masks as run lengths, the ways annotation tools write them; whatever is wrong in them is a DataError, never a crash.

Own code, since the libraries' decoders trust what they are given: a wrong length there writes outside of the memory it has.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from components.errors import DataError

Bits = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]


def coco_counts(counts: Sequence[int] | str) -> Counts:
    """Return run lengths as COCO writes them, lists of numbers or its compressed text.

    The text is a variable-length code of 6-bit letters from '0' on: 5 bits of value, lowest first, and one that says that more follow; from the
    fourth run on the difference to the run two before is written (github.com/cocodataset/cocoapi, common/maskApi.c, rleToString).

    Raises:
        DataError: It is no such text.
    """
    try:
        if not isinstance(counts, str):
            return np.asarray(counts, dtype=np.int64).reshape(-1)
        letters = np.frombuffer(counts.encode("ascii"), dtype=np.uint8).astype(np.int64) - 48
    except (UnicodeEncodeError, OverflowError, ValueError):
        raise DataError("a run-length encoding holds what is no run length") from None
    if not len(letters):
        return np.empty(0, dtype=np.int64)
    ends = (letters & 0x20) == 0
    if letters.min() < 0 or letters.max() > 63 or not ends[-1]:
        raise DataError("a compressed run-length encoding holds letters that COCO's does not use, or is cut off")
    starts = np.flatnonzero(np.concatenate([[True], ends[:-1]]))
    lengths = np.diff([*starts, len(letters)])
    if lengths.max() > 10:
        raise DataError("a compressed run-length encoding holds a number of more than 50 bits")
    places = np.arange(len(letters)) - np.repeat(starts, lengths)
    values = np.add.reduceat((letters & 0x1F) << (5 * places), starts)
    negative = (letters[ends] & 0x10) != 0
    values[negative] -= np.int64(1) << (5 * lengths[negative])
    values[1::2], values[2::2] = np.cumsum(values[1::2]), np.cumsum(values[2::2])
    return np.asarray(values, dtype=np.int64)


def unpacked(counts: Counts, size: int) -> Bits:
    """Return `size` pixels from run lengths of off, on, off, … in turn, bool (size,).

    Raises:
        DataError: They do not add up to `size`.
    """
    _check(counts, size)
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts)


def coco_region(counts: Counts, size_hw: tuple[int, int]) -> Bits:
    """Return a mask from COCO's run lengths, which go down the columns, bool (H, W).

    Raises:
        DataError: They are those of another size.
    """
    return unpacked(counts, size_hw[0] * size_hw[1]).reshape(size_hw[::-1]).T


def coco_box(counts: Counts, size_hw: tuple[int, int]) -> list[float]:
    """Return the box of the pixels that are on, [x0, y0, x1, y1] as edges, without unpacking them; all 0 where none is.

    Raises:
        DataError: The run lengths are those of another size.
    """
    height = size_hw[0]
    _check(counts, height * size_hw[1])
    ends = np.cumsum(counts)
    starts, ends = (ends - counts)[1::2], ends[1::2]
    on = ends > starts
    starts, ends = starts[on], ends[on] - 1
    if not len(starts):
        return [0.0, 0.0, 0.0, 0.0]
    columns = starts // height, ends // height
    through = columns[0] != columns[1]  # a run over the end of a column touches the top and the bottom
    y0 = 0 if through.any() else int((starts % height).min())
    y1 = height if through.any() else int((ends % height).max()) + 1
    return [float(columns[0].min()), float(y0), float(columns[1].max() + 1), float(y1)]


def _check(counts: Counts, size: int) -> None:
    if (counts < 0).any() or counts.sum(dtype=np.float64) != size:
        raise DataError(f"a run-length encoding gives {counts.sum(dtype=np.float64):.0f} pixels; expected {size}")


def rle_pack_pixels(content: Sequence[int], size: int) -> npt.NDArray[np.uint8]:
    """Return the bytes that Label Studio's brush packs (thi.ng/rle-pack: a bit stream, highest bit first), uint8 (size,).

    32 bits: number of words. 5: bits of a word less 1. 4 × 4: the widths of run lengths, each less 1. Then blocks: 1 bit whether a word is repeated,
    2 bits which width, a run length less 1 of that width, and the word, or as many words.

    Raises:
        DataError: It is cut off, or holds another number of bytes.
    """
    try:
        bits = np.unpackbits(np.asarray(content, dtype=np.int64).astype(np.uint8)) if all(0 <= value < 256 for value in content) else None
    except (OverflowError, TypeError, ValueError):
        bits = None
    if bits is None:
        raise DataError("a brush's run-length encoding holds what is no byte")
    position = 0

    def number(width: int) -> int:
        nonlocal position
        if position + width > len(bits):
            raise DataError("a brush's run-length encoding is cut off")
        value = int(bits[position : position + width] @ (1 << np.arange(width - 1, -1, -1, dtype=np.int64)))
        position += width
        return value

    total, word = number(32), number(5) + 1
    widths = [number(4) + 1 for _ in range(4)]
    if total != size or word != 8:
        raise DataError(f"a brush's run-length encoding holds {total} words of {word} bits; expected {size} of 8")
    out = np.zeros(size, dtype=np.uint8)
    place = 0
    while place < size:
        repeated = number(1)
        end = place + 1 + number(widths[number(2)])
        if end > size:
            raise DataError(f"a brush's run-length encoding gives more than {size} bytes")
        if repeated:
            out[place:end] = number(8)
        else:
            for index in range(place, end):
                out[index] = number(8)
        place = end
    return out
