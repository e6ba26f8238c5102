from __future__ import annotations

import numpy as np
import pytest

from components.datasets.checks._hamming import FLIP, MIRROR, ORIENTATIONS, Hashes, orientation, similar


def _found(hashes: Hashes, radius: int) -> set[tuple[int, int]]:
    return {pair for earlier, later in similar(hashes, radius) for pair in zip(earlier.tolist(), later.tolist(), strict=True)}


def _all_pairs(hashes: Hashes, radius: int) -> set[tuple[int, int]]:
    """What the search has to find, by comparing every one with every other."""
    distances = np.bitwise_count((hashes[:, None] ^ hashes)[..., None] ^ ORIENTATIONS).min(axis=-1)
    return {(one, other) for one, other in np.argwhere(distances <= radius).tolist() if one < other}


def _hashes(num: int, num_families: int, seed: int) -> Hashes:
    """Families of hashes that differ from their head in up to twelve bits, in any orientation."""
    generator = np.random.default_rng(seed)
    heads = generator.integers(0, 2**64, num_families, dtype=np.uint64)
    hashes = heads[generator.integers(0, num_families, num)] ^ ORIENTATIONS[generator.integers(0, 4, num)]
    for _ in range(12):
        hashes ^= (np.uint64(1) << generator.integers(0, 64, num, dtype=np.uint64)) * (generator.random(num) < 0.4).astype(np.uint64)
    return hashes


@pytest.mark.parametrize("radius", [0, 3, 8, 13])
def test_it_finds_what_comparing_all_with_all_finds(radius: int) -> None:
    hashes = _hashes(800, 150, seed=radius)
    hashes[700:] = hashes[:100] ^ ORIENTATIONS[np.arange(100) % 4]
    expected = _all_pairs(hashes, radius)
    assert len(expected) > 10
    assert _found(hashes, radius) == expected


def test_what_is_found_among_the_old_does_not_depend_on_the_new() -> None:
    hashes = _hashes(1200, 1, seed=1)  # so many alike that the bounds bite
    old = _found(hashes[:800], 8)
    assert 0 < len(old) < len(_all_pairs(hashes[:800], 8))
    assert {pair for pair in _found(hashes, 8) if pair[1] < 800} == old


def test_many_that_are_alike_stay_bounded() -> None:
    hashes = np.arange(8_000, dtype=np.uint64)
    assert max(len(earlier) for earlier, _ in similar(hashes, 8)) <= 16 * len(hashes)


def test_the_nearest_orientation_and_its_distance() -> None:
    hashes = np.array([0x0123456789ABCDEF], dtype=np.uint64)
    for number, mask in enumerate([np.uint64(0), MIRROR, FLIP, MIRROR ^ FLIP]):
        turned, distance = orientation(hashes, hashes ^ mask ^ np.uint64(0b101))
        assert (turned[0], distance[0]) == (number, 2)


def test_nothing_and_one_have_no_pairs() -> None:
    assert _found(np.zeros(0, dtype=np.uint64), 8) == set()
    assert _found(np.zeros(1, dtype=np.uint64), 8) == set()
