from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.datasets.checks.polygons import flat_rings, ring_table
from components.datasets.manifest import ANNOTATIONS

Ring = list[float]


def table_of(polygons: list[list[list[Ring]] | None]) -> pd.DataFrame:
    column = pa.chunked_array([pa.array(polygons, type=ANNOTATIONS["polygons"])])
    return ring_table([f"{number}.jpg" for number in range(len(polygons))], flat_rings(column))


def turn(a: Any, b: Any, c: Any) -> float:
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))


def cross(a: Any, b: Any, c: Any, d: Any) -> bool:
    return turn(a, b, c) * turn(a, b, d) < 0 and turn(c, d, a) * turn(c, d, b) < 0


def plainly(ring: Ring) -> dict[str, Any]:
    """The same measures of one ring, edge by edge; `crosses_itself` where two edges cross inside of both."""
    points = list(zip(ring[::2], ring[1::2], strict=False))
    whole = len(ring) % 2 == 0 and bool(np.isfinite(ring).all())
    closed = whole and len(points) > 1 and points[0] == points[-1]
    row = {"num_points": len(ring) // 2 - closed, "whole": whole, "area": float("nan"), "crosses_itself": False}
    if whole:
        points = points[: len(points) - closed]
        edges = list(zip(points, points[1:] + points[:1], strict=True))
        row["area"] = abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in edges)) / 2
        row["crosses_itself"] = any(
            turn(a, b, c) * turn(a, b, d) < 0 and turn(c, d, a) * turn(c, d, b) < 0 for (a, b), (c, d) in combinations(edges, 2)
        )
    return row


NUMBERS = st.one_of(st.integers(0, 6).map(float), st.sampled_from([float("nan"), float("inf")]))
POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=7)
WHOLE = POINTS.map(lambda points: [float(number) for point in points for number in point])
CLOSED = WHOLE.map(lambda ring: ring + ring[:2])
RINGS = st.one_of(WHOLE, WHOLE, CLOSED, st.lists(NUMBERS, max_size=7))


@settings(deadline=None, max_examples=100)
@given(st.lists(st.none() | st.lists(st.lists(RINGS, max_size=3), max_size=3), min_size=1, max_size=4))
def test_every_ring_is_measured_as_one_by_one(polygons: list[list[list[Ring]] | None]) -> None:
    found = table_of(polygons)
    expected = [
        {"image_id": f"{image}.jpg", "index": index, "ring": number, **plainly(ring)}
        for image, objects in enumerate(polygons)
        for index, rings in enumerate(objects or [])
        for number, ring in enumerate(rings)
    ]
    assert found.drop(columns=["area", "crosses_itself"]).to_dict("records") == [
        {name: value for name, value in row.items() if name not in ("area", "crosses_itself")} for row in expected
    ]
    assert found["area"].to_numpy() == pytest.approx([row["area"] for row in expected], nan_ok=True)
    crossing = np.array([row["crosses_itself"] for row in expected], dtype=bool)
    assert found["crosses_itself"].to_numpy()[crossing].all()


@pytest.mark.parametrize(
    ("ring", "crosses"),
    [
        pytest.param([0, 0, 4, 0, 4, 4, 0, 4], False, id="square"),
        pytest.param([0, 0, 4, 0, 4, 4, 0, 4, 0, 0], False, id="square, closed"),
        pytest.param([0, 0, 4, 0, 4, 0, 4, 4, 0, 4], False, id="square with a point twice in turn"),
        pytest.param([0, 0, 4, 4, 4, 0, 0, 4], True, id="bow tie"),
        pytest.param([0, 0, 4, 0, 4, 4, 4, 8, 4, 4, 0, 4], True, id="square with a spike: there and back"),
        pytest.param([0, 0, 2, 2, 4, 0, 4, 4, 2, 2, 0, 4], True, id="two triangles that touch in a point"),
        pytest.param([0, 0, 4, 0], False, id="two points"),
        pytest.param([], False, id="no points"),
    ],
)
def test_what_crosses_itself(ring: Ring, crosses: bool) -> None:
    assert table_of([[[[float(number) for number in ring]]]])["crosses_itself"].tolist() == [crosses]


@settings(deadline=None, max_examples=30)
@given(st.integers(3, 40), st.integers(0, 2**32 - 1))
def test_a_ring_around_a_point_does_not_cross_itself(num_points: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    angles = (np.arange(num_points) + rng.uniform(0, 0.5, num_points)) * 2 * np.pi / num_points
    ring = 100 + np.stack([np.cos(angles), np.sin(angles)], axis=1) * rng.uniform(1, 50, (num_points, 1))
    assert not table_of([[[ring.ravel().tolist()]]])["crosses_itself"].any()


def test_an_area_far_from_the_corner_keeps_its_digits() -> None:
    far = 2.0**40
    assert table_of([[[[far, far, far + 3, far, far + 3, far + 2, far, far + 2]]]])["area"].tolist() == [6.0]


def test_images_without_polygons_have_no_rows() -> None:
    found = table_of([None, [], [[]], [[[0.0, 0.0, 1.0, 0.0, 0.0, 1.0]]]])
    assert found[["image_id", "index", "ring", "num_points", "area"]].to_numpy().tolist() == [["3.jpg", 0, 0, 3, 0.5]]
    assert table_of([None]).empty
