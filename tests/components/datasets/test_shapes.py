from __future__ import annotations

import numpy as np

from components.datasets.shapes import box_of_ellipse, region_of_box, region_of_ellipse, rotated_box


def test_a_pixel_is_in_a_box_if_its_centre_is() -> None:
    np.testing.assert_array_equal(region_of_box([0.4, 0, 2.6, 1], (2, 4)), [[1, 1, 1, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(region_of_box([0.6, 0, 2.4, 1], (2, 4)), [[0, 1, 0, 0], [0, 0, 0, 0]])
    assert not region_of_box([1, 1, 1, 1], (2, 4)).any()


def test_an_ellipse_fills_its_area_within_its_box() -> None:
    for degrees in (0.0, 30.0, 90.0):
        bits = region_of_ellipse((50, 40), (30, 10), degrees, (80, 100))
        ys, xs = np.nonzero(bits)
        box = box_of_ellipse((50, 40), (30, 10), degrees)
        np.testing.assert_allclose([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], box, atol=1)
        np.testing.assert_allclose(bits.sum(), np.pi * 300, rtol=0.02)
    ys, xs = np.nonzero(region_of_ellipse((50, 40), (30, 10), 30.0, (80, 100)))
    assert np.corrcoef(xs, ys)[0, 1] > 0.5  # clockwise as seen: the right end goes down


def test_a_box_turns_clockwise_as_seen() -> None:
    np.testing.assert_allclose(rotated_box([0, 0, 2, 1], (0, 0), 90), [0, 0, 0, 2, -1, 2, -1, 0], atol=1e-12)
