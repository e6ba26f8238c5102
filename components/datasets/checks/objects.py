"""Check of what is drawn on images: boxes without an area, outside, twice, unlikely small or large; outlines that are none."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.datasets.checks.boxes import box_table
from components.datasets.checks.polygons import flat_rings, ring_table
from components.datasets.checks.suite import Part, Subject

_POLYGONS = ("short_polygons", "crossing_polygons")
_MIN_POINTS = 3


def examine(subject: Subject) -> Part:
    """Check boxes and outlines, where there are any."""
    part = Part()
    if subject.has("boxes_xyxy"):
        part = _boxes(subject)
    if subject.has("polygons") and subject.watches(*_POLYGONS):
        outlines = _polygons(subject)
        part = Part({**part.columns, **outlines.columns}, {}, [*part.rules, *outlines.rules])
    return part


def _boxes(subject: Subject) -> Part:
    config, flat = subject.config, subject.boxes
    known = {name: subject.measured[name].fillna(subject.table.column(name).to_pandas().astype("float64")) for name in ("height", "width")}
    boxes = box_table(subject.image_ids, flat.offsets, flat.boxes_xyxy, flat.labels, known["height"], known["width"])
    image = np.repeat(np.arange(len(subject)), np.diff(flat.offsets))
    shorter = boxes[["width", "height"]].min(axis=1)

    def column(broken: pd.Series[bool], kind: str) -> pd.Series[Any]:
        chosen = np.flatnonzero(broken.to_numpy(dtype=bool))
        return _named(subject, image[chosen], boxes.iloc[chosen], kind)

    no_objects = np.flatnonzero((np.diff(flat.offsets) == 0) & subject.table.column("boxes_xyxy").is_valid().to_numpy())
    filled = boxes["finite"] & ~boxes["empty"]
    columns: dict[str, Any] = {
        "empty_boxes": column(~filled, "size"),
        "boxes_outside": column(boxes["outside"] > config.max_outside, "outside"),
        "repeated_boxes": column(boxes["duplicate_of"].notna(), "duplicate"),
        "small_boxes": column(filled & (shorter < config.min_box_side), "size"),
        "large_boxes": column(filled & (boxes["share"] > config.max_box_share), "share"),
        "no_objects": subject.texts(no_objects, "no box"),
    }
    rules = [
        subject.clean("empty_boxes", "boxes have an area", "empty_boxes", "a positive width and height"),
        subject.clean("boxes_outside", "boxes are inside their image", "boxes_outside", f"at most {config.max_outside:g} pixels outside"),
        subject.clean("repeated_boxes", "no box is there twice", "repeated_boxes", "each box once"),
        subject.clean("small_boxes", "no box is unlikely small", "small_boxes", f"sides of at least {config.min_box_side:g} pixels"),
        subject.clean("large_boxes", "no box is unlikely large", "large_boxes", f"at most {config.max_box_share:.0%} of the image"),
        subject.clean("no_objects", "images have an object", "no_objects", "at least one box"),
    ]
    return Part(columns, {}, rules)


def _named(subject: Subject, image: npt.NDArray[np.int64], boxes: pd.DataFrame, kind: str) -> pd.Series[Any]:
    """Return a column that names the first of these boxes of each image, and how many more there are.

    Args:
        subject: The dataset.
        image: int64 (K,), ascending: whose box it is.
        boxes: K rows of `box_table`.
        kind: What to say of each, a key of `_TOLD`.
    """
    images, first, counts = np.unique(image, return_index=True, return_counts=True)
    told = [_TOLD[kind](box) for box in boxes.iloc[first].itertuples()]
    return subject.texts(images, [text if count == 1 else f"{text}; {count - 1} more" for text, count in zip(told, counts, strict=True)])


_TOLD: dict[str, Any] = {
    "size": lambda box: f"box {box.index} ({box.label}): {box.width:g}×{box.height:g} pixels",
    "outside": lambda box: f"box {box.index} ({box.label}): {box.outside:g} pixels outside",
    "duplicate": lambda box: f"box {box.index} ({box.label}) is box {box.duplicate_of}",
    "share": lambda box: f"box {box.index} ({box.label}): {box.share:.0%} of the image",
    "points": lambda ring: (
        f"outline of box {ring.index}: {ring.num_points} points" if ring.whole else f"outline of box {ring.index}: not pairs of numbers"
    ),
    "crossing": lambda ring: f"outline of box {ring.index}",
}


def _polygons(subject: Subject) -> Part:
    flat = flat_rings(subject.table.column("polygons"))
    rings = ring_table(subject.image_ids, flat)
    short = np.flatnonzero(~rings["whole"] | (rings["num_points"] < _MIN_POINTS))
    crossing = np.flatnonzero(rings["crosses_itself"])
    columns = {
        "short_polygons": _named(subject, flat.image[short], rings.iloc[short], "points"),
        "crossing_polygons": _named(subject, flat.image[crossing], rings.iloc[crossing], "crossing"),
    }
    rules = [
        subject.clean("short_polygons", "outlines have three points", "short_polygons", "at least three points, pairs of numbers"),
        subject.clean("crossing_polygons", "outlines do not cross themselves", "crossing_polygons", "a simple polygon"),
    ]
    return Part(columns, {}, rules)
