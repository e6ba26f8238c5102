"""What is measured of every polygon of a dataset, to be judged by rules: how many points it has, whether it crosses itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from components.progress import bar

#: Rings that go through GEOS at once: bounds the memory, and lets progress show.
_BATCH = 200_000


class FlatRings(NamedTuple):
    """The rings of all polygons one after another, R of them.

    Attributes:
        image: int64 (R,) the row of the manifest.
        object: int64 (R,) the box of that image which the ring is an outline of, from 0.
        ring: int64 (R,) the ring of that object, from 0.
        offsets: int64 (R + 1,): the numbers of ring r are `offsets[r]` to `offsets[r + 1]` of `coordinates`.
        coordinates: float64, x0, y0, x1, y1, … in pixel edges.
    """

    image: npt.NDArray[np.int64]
    object: npt.NDArray[np.int64]
    ring: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    coordinates: npt.NDArray[np.float64]


def flat_rings(polygons: pa.ChunkedArray) -> FlatRings:
    """Return the rings of a manifest's column `polygons` without a loop over its rows; null is no ring."""
    images = polygons.combine_chunks()
    of_image, objects = _inner(images)
    of_object, rings = _inner(objects)
    of_ring, coordinates = _inner(rings)
    owner = _owner(of_object)
    image = _owner(of_image)[owner]
    number = np.arange(len(image))
    offsets = np.concatenate([[0], np.cumsum(of_ring)])
    first_object, first_ring = _starts(of_image), _starts(of_object)
    numbers = pc.fill_null(coordinates, float("nan")).to_numpy(zero_copy_only=False).astype(np.float64)
    return FlatRings(image, owner - first_object[image], number - first_ring[owner], offsets, numbers)


def ring_table(image_ids: Sequence[str] | npt.NDArray[np.object_], rings: FlatRings) -> pd.DataFrame:
    """Measure every ring.

    Args:
        image_ids: Of the manifest's N images.
        rings: Of their polygons; anything at all may stand there.

    Returns:
        A row a ring, in order:

        image_id, index, ring   whose it is: ring `ring` of box `index` of the image
        num_points              without the last one where that is the first again
        whole                   its coordinates are pairs of finite numbers
        area                    in square pixels, by Gauss's shoelace formula; NaN where it is not whole
        crosses_itself          it encloses no simple polygon (OGC 06-103r4, simple features): edges cross, lie on each other, or
                                meet other than in turn. False where it is not whole, or has fewer than three points
    """
    counts = np.diff(rings.offsets)
    whole = (counts % 2 == 0) & (np.bincount(_owner(counts), ~np.isfinite(rings.coordinates), minlength=len(counts)) == 0)
    area, closed = np.full(len(counts), np.nan), np.zeros(len(counts), dtype=np.bool_)
    crossing = np.zeros(len(counts), dtype=np.bool_)
    with bar("measure polygons", len(counts), "rings") as progress:
        for start in range(0, len(counts), _BATCH):
            batch = np.arange(start, min(start + _BATCH, len(counts)))
            chosen = batch[whole[batch]]
            points = _points(rings, chosen, counts)
            area[chosen], closed[chosen] = _areas(points, counts[chosen] // 2)
            crossing[chosen] = _crossing(points, counts[chosen] // 2, closed[chosen])
            progress.update(len(batch))
    return pd.DataFrame(
        {
            "image_id": pd.Series(np.asarray(image_ids, dtype=object)[rings.image], dtype=object),
            "index": rings.object,
            "ring": rings.ring,
            "num_points": counts // 2 - closed,
            "whole": whole,
            "area": area,
            "crosses_itself": crossing,
        },
        copy=False,
    )


def _inner(lists: pa.Array) -> tuple[npt.NDArray[np.int64], pa.Array]:
    """Return how many items each list holds, and all items one after another."""
    counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    return counts, pc.list_flatten(lists)


def _owner(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.repeat(np.arange(len(counts)), counts)


def _starts(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.asarray(np.cumsum(counts) - counts)


def _points(rings: FlatRings, chosen: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the points of some rings one after another, (P, 2)."""
    wanted = counts[chosen]
    place = np.repeat(rings.offsets[chosen] - _starts(wanted), wanted) + np.arange(wanted.sum())
    return np.asarray(rings.coordinates[place].reshape(-1, 2))


def _areas(points: npt.NDArray[np.float64], sizes: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return the areas of rings, and whether their last point is the first again."""
    owner, starts = _owner(sizes), _starts(sizes)
    if not len(points):
        return np.zeros(len(sizes)), np.zeros(len(sizes), dtype=np.bool_)
    following = np.arange(1, len(points) + 1)
    following[(starts + sizes - 1)[sizes > 0]] = starts[sizes > 0]
    first = points[starts[owner]]
    here, there = points - first, points[following] - first  # from the first point: no digits lost far from the corner
    with np.errstate(over="ignore", invalid="ignore"):
        twice = np.bincount(owner, here[:, 0] * there[:, 1] - there[:, 0] * here[:, 1], minlength=len(sizes))
    closed = np.zeros(len(sizes), dtype=np.bool_)
    several = np.flatnonzero(sizes > 1)
    closed[several] = (points[starts[several]] == points[(starts + sizes - 1)[several]]).all(axis=1)
    return np.abs(twice) / 2, closed


def _crossing(points: npt.NDArray[np.float64], sizes: npt.NDArray[np.int64], closed: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    import shapely

    crossing = np.zeros(len(sizes), dtype=np.bool_)
    enough = np.flatnonzero(sizes - closed >= 3)
    owner = np.full(len(sizes), -1)
    owner[enough] = np.arange(len(enough))
    of_point = np.repeat(owner, sizes)
    if len(enough):
        polygons = shapely.polygons(shapely.linearrings(points[of_point >= 0], indices=of_point[of_point >= 0]))
        crossing[enough] = ~shapely.is_valid(polygons)
    return crossing
