"""What the annotation columns of a manifest mean, and how they are read.

label           classification: the class's name; null: not labelled
boxes_xyxy      detection: a box an object, [x0, y0, x1, y1] in pixels of the upright image, as edges: the box of the left-most pixel
                column is x0 = 0, x1 = 1, and width = x1 - x0. Null: nobody has annotated the image; empty: nothing is on it
box_labels      the class's name of each box
box_ignore      for each box whether it is neither to be found nor missed (COCO: iscrowd, Pascal VOC: difficult); null: none is
polygons        for each box the rings of its outline, each [x0, y0, x1, y1, …] in the same coordinates; an empty list: a box only
mask_sha256     segmentation: SHA-256 of the mask's bytes, an indexed PNG in the shards at mask_shard, mask_offset, mask_length, of the
                upright image's size; a pixel holds the index of its class in dataset.yaml, or 255: not labelled, not judged
mask_png        the mask's bytes themselves; not in a manifest, but in rows that are learnt from and judged by (`dataset.with_masks`)

Legend: N images, K boxes of an image, H height, W width in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from components.datasets.masks import IGNORE, MAX_MASK_CLASSES, VOC_COLOURS, Mask, mask_png, read_mask
from components.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "IGNORE",
    "MASK_PNG",
    "MAX_MASK_CLASSES",
    "VOC_COLOURS",
    "Boxes",
    "FlatBoxes",
    "Mask",
    "Truth",
    "boxes_of",
    "classes_shown",
    "flat_boxes",
    "mask_png",
    "read_mask",
    "region_of_polygon",
]

#: The column of masks' bytes.
MASK_PNG = "mask_png"

Boxes = npt.NDArray[np.float64]


class Truth(NamedTuple):
    """The objects that are on one image.

    Attributes:
        boxes_xyxy: float64 (K, 4), pixel edges.
        labels: int64 (K,), class indices.
        ignore: bool (K,): neither to be found nor missed (COCO's crowds: any share of a detection that lies in one counts as overlap).
    """

    boxes_xyxy: Boxes
    labels: npt.NDArray[np.int64]
    ignore: npt.NDArray[np.bool_]


class FlatBoxes(NamedTuple):
    """The boxes of all images one after another; those of image n are `offsets[n]` to `offsets[n + 1]`.

    Attributes:
        offsets: int64 (N + 1,).
        boxes_xyxy: float64 (M, 4).
        labels: M class names, object array.
        ignore: bool (M,).
    """

    offsets: npt.NDArray[np.int64]
    boxes_xyxy: Boxes
    labels: npt.NDArray[np.object_]
    ignore: npt.NDArray[np.bool_]


def boxes_of(cell: Any) -> Boxes:
    """Return a cell of the column `boxes_xyxy` as float64 (K, 4); null is no box."""
    if cell is None or len(cell) == 0:
        return np.empty((0, 4))
    return np.asarray([list(box) for box in cell], dtype=np.float64)


def classes_shown(rows: pd.DataFrame, classes: Sequence[str]) -> list[frozenset[str]]:
    """Return the names of the classes that each image shows, from whichever annotation its row has.

    Args:
        rows: A manifest's rows; those of masks are looked into where their bytes are there (`mask_png`).
        classes: All names, in the order of the masks' indices.

    Raises:
        DataError: A mask is damaged.
    """
    shown: list[set[str]] = [set() for _ in range(len(rows))]
    if "label" in rows:
        for names, label in zip(shown, rows["label"], strict=True):
            names.update(() if label is None else (label,))
    if "box_labels" in rows:
        for names, labels in zip(shown, rows["box_labels"], strict=True):
            names.update(() if labels is None else labels)
    if MASK_PNG in rows:
        for names, content in zip(shown, rows[MASK_PNG], strict=True):
            values = () if content is None else np.unique(read_mask(content)).tolist()
            names.update(classes[value] for value in values if value < len(classes))
    return [frozenset(names) for names in shown]


def flat_boxes(table: pa.Table) -> FlatBoxes:
    """Return the boxes of a manifest's table (columns boxes_xyxy, box_labels, box_ignore) without a loop over its rows.

    Raises:
        DataError: An image has another number of labels than boxes.
    """
    lists = table.column("boxes_xyxy").combine_chunks()
    counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    labels, ignore = (table.column(name).combine_chunks() for name in ("box_labels", "box_ignore"))
    label_counts = pc.fill_null(pc.list_value_length(labels), 0).to_numpy(zero_copy_only=False)
    if len(wrong := np.flatnonzero(label_counts != counts)):
        raise DataError(f"row {wrong[0]} of the manifest has {counts[wrong[0]]} boxes and {label_counts[wrong[0]]} box_labels; expected as many")
    offsets = np.concatenate([[0], np.cumsum(counts)])
    boxes = pc.list_flatten(pc.list_flatten(lists)).to_numpy(zero_copy_only=False).reshape(-1, 4)
    ignored = np.zeros(len(boxes), dtype=np.bool_)
    given = pc.fill_null(pc.list_value_length(ignore), 0).to_numpy(zero_copy_only=False)
    if given.any():
        ignored[np.repeat(given == counts, counts)] = pc.fill_null(pc.list_flatten(ignore), False).to_numpy(zero_copy_only=False)
    return FlatBoxes(offsets, boxes, np.asarray(pc.list_flatten(labels).to_pylist(), dtype=object), ignored)


def region_of_polygon(rings: Sequence[Sequence[float]], size_hw: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return the pixels of one object, drawn as COCO draws polygons (the run-length encoding of its own API).

    Args:
        rings: Each [x0, y0, x1, y1, …] in pixel edges; they are united. One of fewer than three points covers nothing.
        size_hw: Height and width in pixels.

    Returns:
        bool (H, W).

    Raises:
        DataError: A point lies farther outside of the image than the image is large: drawing to there takes memory without bound.
    """
    from faster_coco_eval.core import mask as rle

    height, width = size_hw
    whole = [list(map(float, ring)) for ring in rings if len(ring) >= 6]
    for ring in whole:
        if not (-width <= min(ring[::2]) and max(ring[::2]) <= 2 * width and -height <= min(ring[1::2]) and max(ring[1::2]) <= 2 * height):
            raise DataError(f"an outline reaches to x {max(ring[::2], key=abs):.6g}, y {max(ring[1::2], key=abs):.6g}; the image is {width}×{height}")
    if not whole:
        return np.zeros(size_hw, dtype=np.bool_)
    return np.asarray(rle.decode(rle.merge(rle.frPyObjects(whole, height, width))), dtype=np.bool_)
