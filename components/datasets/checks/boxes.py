"""What is measured of every box of a dataset, to be judged by rules: its size, how far it lies outside, whether it is there twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.errors import DataError

#: Boxes of one label whose edges all lie as near as this, in pixels, are one box twice: far below what a hand can do twice, and
#: above what the rounding of any format does. From 20 pixels a side their intersection over union is above 0.998.
SAME_BOX_PX = 0.01


def box_table(
    image_ids: Sequence[str] | npt.NDArray[np.object_],
    offsets: npt.NDArray[np.int64],
    boxes_xyxy: npt.NDArray[np.float64],
    labels: npt.NDArray[np.object_],
    heights: Any,
    widths: Any,
) -> pd.DataFrame:
    """Measure every box; no loop over boxes or images.

    Args:
        image_ids: Of N images.
        offsets: int64 (N + 1,): the boxes of image n are `offsets[n]` to `offsets[n + 1]`, as in `annotations.FlatBoxes`.
        boxes_xyxy: float64 (M, 4) in pixel edges; anything at all may stand there, NaN and infinity too.
        labels: M class names; null is a label of its own.
        heights: N heights of the upright images in pixels; null where nobody knows.
        widths: N widths, in the same way.

    Returns:
        A row a box, in order:

        image_id, index, label   whose it is: box `index` of the image, from 0
        x1, y1, x2, y2           as given
        width, height            x2 - x1 and y2 - y1
        area                     in square pixels; 0 where a side is negative
        share                    of the image's area; NaN: the image's size is not known
        outside                  by how many pixels its farthest edge lies outside of the image, 0: none does; NaN: not known
        empty                    its area is not positive: a side is zero or negative, or not a number
        finite                   all four numbers are finite; where not, width, height, area, share and outside are NaN
        duplicate_of             the `index` of the first box of the image with the same label and place (`SAME_BOX_PX`), or null

    Raises:
        DataError: The numbers of images, boxes and labels do not go together.
    """
    boxes = np.asarray(boxes_xyxy, dtype=np.float64).reshape(-1, 4)
    counts = np.diff(offsets)
    if len(counts) != len(image_ids) or offsets[0] != 0 or (counts < 0).any() or not offsets[-1] == len(boxes) == len(labels):
        found = f"{len(image_ids)} images, {len(offsets)} offsets up to {offsets[-1]}, {len(boxes)} boxes, {len(labels)} labels"
        raise DataError(f"the boxes cannot be measured: found {found}; expected one offset more than images, the last as many as boxes and labels")
    image = np.repeat(np.arange(len(counts)), counts)
    columns = [np.ascontiguousarray(column) for column in boxes.T]
    finite = np.isfinite(columns[0])
    for column in columns[1:]:
        finite &= np.isfinite(column)
    x1, y1, x2, y2 = columns if finite.all() else [np.where(finite, column, np.nan) for column in columns]
    with np.errstate(over="ignore", invalid="ignore"):  # numbers that are finite and absurd have an area that is infinite
        width, height = x2 - x1, y2 - y1
        area = np.maximum(width, 0) * np.maximum(height, 0)
    size_x, size_y = _known(widths), _known(heights)
    outside = np.maximum(np.maximum(-np.minimum(x1, x2), np.maximum(x1, x2) - size_x[image]), 0)
    outside = np.maximum(outside, np.maximum(-np.minimum(y1, y2), np.maximum(y1, y2) - size_y[image]))
    duplicate_of = _first_of_same(image, labels, columns, finite)
    duplicated = duplicate_of >= 0
    index = np.arange(len(boxes)) - offsets[:-1][image]
    table = {
        "image_id": pd.Series(np.asarray(image_ids, dtype=object)[image], dtype=object),
        "index": index,
        "label": pd.Series(labels, dtype=object),
        **dict(zip(("x1", "y1", "x2", "y2"), columns, strict=True)),
        "width": width,
        "height": height,
        "area": area,
        "share": area / (size_x * size_y)[image],
        "outside": outside,
        "empty": ~((width > 0) & (height > 0)),
        "finite": finite,
        "duplicate_of": pd.arrays.IntegerArray(np.where(duplicated, index[duplicate_of], 0), ~duplicated),
    }
    return pd.DataFrame(table, copy=False)


def _known(lengths: Any) -> npt.NDArray[np.float64]:
    """Return sizes in pixels as floats, NaN where null or not positive."""
    known = pd.Series(lengths).to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(known > 0, known, np.nan)


def _first_of_same(
    image: npt.NDArray[np.int64],
    labels: npt.NDArray[np.object_],
    edges: Sequence[npt.NDArray[np.float64]],
    finite: npt.NDArray[np.bool_],
) -> npt.NDArray[np.int64]:
    """Return for each box the place of the first one that is the same, or -1.

    The boxes of an image and label are sorted by one edge after the other and cut where two neighbours are further apart than
    `SAME_BOX_PX`; what stands alone is left out of the next round. Nothing but sorting: a million equal boxes in one image are no trap.
    """
    first = np.full(len(image), -1, dtype=np.int64)
    codes, names = pd.factorize(labels, use_na_sentinel=False)
    group = image * max(1, len(names)) + codes
    rows = np.flatnonzero(finite & _perhaps_not_alone(group, edges[0]))
    group = group[rows]
    for edge in edges:
        values = edge[rows]
        order = np.lexsort((values, group))
        rows, group, values = rows[order], group[order], values[order]
        starts = np.ones(len(rows), dtype=np.bool_)
        starts[1:] = (group[1:] != group[:-1]) | (values[1:] - values[:-1] > SAME_BOX_PX)
        alone = starts & np.append(starts[1:], True)[: len(rows)]
        rows, group = rows[~alone], np.cumsum(starts)[~alone]
    order = np.lexsort((rows, group))
    rows, group = rows[order], group[order]
    starts = np.append(True, group[1:] != group[:-1])[: len(rows)]
    first_of_group = rows[starts][np.cumsum(starts) - 1]
    first[rows] = np.where(first_of_group == rows, -1, first_of_group)
    return first


def _perhaps_not_alone(group: npt.NDArray[np.int64], edge: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Tell which boxes share a pixel column with another of their group: quick to ask, and few are left to be sorted.

    Two neighbours at a column's border are found by columns that lie half a pixel further on.
    """
    perhaps = np.zeros(len(group), dtype=np.bool_)
    for shift in (0.0, 0.5):
        column = np.clip(np.nan_to_num(edge), -1e15, 1e15) + shift
        keys = group * 0x5851F42D4C957F2D + np.floor(column).astype(np.int64)  # wraps around; equal by chance costs a little time
        order = np.argsort(keys)
        same = np.flatnonzero(np.diff(keys[order]) == 0)
        perhaps[order[same]] = perhaps[order[same + 1]] = True
    return perhaps
