"""All pairs of 64-bit hashes that differ in few bits, without comparing every one with every other.

Multi-index hashing (Norouzi, Punjani and Fleet 2012, "Fast search in Hamming space with multi-index hashing") with keys of three blocks
(Manku, Jain and Das Sarma 2007, "Detecting near-duplicates for web crawling"): the bits are cut into radius + 3 blocks, so two hashes that
differ in at most `radius` bits agree in three blocks or more, and stand side by side when sorted by those three.

The hashes are those of `duplicates`: a mirrored image has the hash of the image with some of its bits inverted. Before it is sorted, a hash is
turned upright by two of its key's own bits, so that an image and its mirror images have one key, and one search finds them all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import combinations, pairwise
from math import comb

import numpy as np
import numpy.typing as npt

from components.datasets.parallel import map_batches
from components.progress import bar

Hashes = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]

#: Bit k belongs to an odd horizontal frequency if k % 4 is 0 or 2, to an odd vertical one if it is 1 or 2: what mirroring inverts.
MIRROR, FLIP = np.uint64(0x5555555555555555), np.uint64(0x6666666666666666)
#: By orientation: as it is, mirrored left to right, top to bottom, both (turned by 180 degrees).
ORIENTATIONS = np.array([0, MIRROR, FLIP, MIRROR ^ FLIP], dtype=np.uint64)
MAX_RADIUS = 13

#: What bounds the work where very many look alike: one is compared with so many before it that have its key, and so many are found by a key.
_MOST_COMPARED, _MOST_FOUND = 256, 16
_SEGMENT = 1 << 15
_BITS, _KEY_BLOCKS = 64, 3
_ONE = np.uint64(1)


def similar(hashes: Hashes, radius: int) -> Iterator[tuple[Indices, Indices]]:
    """Yield the pairs that differ in at most `radius` bits in one of the four orientations, part by part.

    Whether a pair is found depends on nothing that stands after it. All are found, unless more than 256 images have one key; then an image is
    compared with the 256 before it, and at most 16 of them are found by that key. A pair may be yielded twice.

    Args:
        hashes: Distinct pictures, uint64 (N,); see `MIRROR` for the order of the bits.
        radius: Bits in which two may differ, 0 to 13.

    Yields:
        Indices of the earlier ones, ascending numbers of the later ones: int64 (K,) each.
    """
    bounds = [_BITS * block // (radius + _KEY_BLOCKS) for block in range(radius + _KEY_BLOCKS + 1)]
    blocks = list(pairwise(bounds))
    keys = list(combinations(range(len(blocks)), _KEY_BLOCKS))
    with bar("search near duplicates", comb(len(blocks), _KEY_BLOCKS), "keys") as progress:
        for found in map_batches(lambda batch: _by_key(hashes, radius, blocks, batch[0]), keys, 1, os.cpu_count() or 1):
            progress.update()
            yield found


def orientation(first: Hashes, second: Hashes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Return which of the `ORIENTATIONS` of the second hash is nearest to the first, and the bits that differ then."""
    distances = np.bitwise_count((first ^ second)[:, None] ^ ORIENTATIONS)
    nearest = distances.argmin(axis=1)
    return nearest, distances[np.arange(len(first)), nearest]


def _by_key(hashes: Hashes, radius: int, blocks: list[tuple[int, int]], chosen: tuple[int, ...]) -> tuple[Indices, Indices]:
    """Return the pairs that agree in the chosen blocks, and in no three blocks before them: those are another key's."""
    reference = blocks[chosen[0]][0]
    upright = hashes ^ (_bit(hashes, reference + -reference % 4) * MIRROR) ^ (_bit(hashes, reference + (1 - reference) % 4) * FLIP)
    key = np.zeros(len(hashes), dtype=np.uint64)
    for start, stop in (blocks[block] for block in chosen):
        key = (key << np.uint64(stop - start)) | ((upright >> np.uint64(start)) & np.uint64((1 << (stop - start)) - 1))
    key = (key << np.uint64(32)) | np.arange(len(hashes), dtype=np.uint64)
    key.sort()
    order = (key & np.uint64(0xFFFFFFFF)).astype(np.int64)
    key >>= np.uint64(32)
    earlier, later = _neighbours(upright[order], key, radius)
    earlier, later = order[earlier], order[later]
    difference = upright[earlier] ^ upright[later]
    owned = np.ones(len(earlier), dtype=bool)
    for block in set(range(chosen[-1])) - set(chosen):
        start, stop = blocks[block]
        owned &= (difference >> np.uint64(start)) & np.uint64((1 << (stop - start)) - 1) != 0
    return earlier[owned], later[owned]


def _bit(hashes: Hashes, number: int) -> Hashes:
    return (hashes >> np.uint64(number)) & _ONE


def _neighbours(hashes: Hashes, key: Hashes, radius: int) -> tuple[Indices, Indices]:
    """Return the positions of the pairs that have one key and differ in few bits; both arrays are sorted by key."""
    starts = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]])).astype(np.int64) if len(key) else np.zeros(0, dtype=np.int64)
    before = np.arange(len(key), dtype=np.int64) - np.repeat(starts, np.diff(np.append(starts, len(key))))
    found: list[tuple[Indices, Indices]] = []
    for start in range(0, len(key), _SEGMENT):
        stop = min(start + _SEGMENT, len(key))
        found += _of_segment(hashes, before[start:stop], radius, start, stop)
    if not found:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    earlier, later = (np.concatenate(part) for part in zip(*found, strict=True))
    return earlier, later


def _of_segment(hashes: Hashes, before: Indices, radius: int, start: int, stop: int) -> list[tuple[Indices, Indices]]:
    """Compare each hash of a segment with the one, two, three … places before it, as far as they have its key.

    Args:
        hashes: All of them, sorted.
        before: How many of the same key stand before, int64 (stop - start,).
        radius: Bits in which two may differ.
        start: The segment's first.
        stop: Behind its last.
    """
    found, counts = [], np.zeros(stop - start, dtype=np.uint8)
    sparse: Indices | None = None
    for step in range(1, min(_MOST_COMPARED, int(before.max(initial=0))) + 1):
        if sparse is None and step % 8 == 1:
            going_on = (before >= step) & (counts < _MOST_FOUND)
            sparse = np.flatnonzero(going_on) if np.count_nonzero(going_on) < len(going_on) // 8 else None
        if sparse is None:
            first = max(start, step)
            near = np.bitwise_count(hashes[first:stop] ^ hashes[first - step : stop - step]) <= radius
            hits = np.flatnonzero(near) + (first - start)
            hits = hits[(before[hits] >= step) & (counts[hits] < _MOST_FOUND)]
        else:
            sparse = sparse[(before[sparse] >= step) & (counts[sparse] < _MOST_FOUND)]
            if not len(sparse):
                break
            hits = sparse[np.bitwise_count(hashes[start + sparse] ^ hashes[start + sparse - step]) <= radius]
        if len(hits):
            counts[hits] += 1
            found.append((hits + (start - step), hits + start))
    return found
