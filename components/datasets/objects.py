"""The objects that are annotated on one image: as rows of the manifest, and drawn as a mask."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from components.datasets.annotations import IGNORE, MAX_MASK_CLASSES, Mask, region_of_polygon
from components.datasets.shapes import region_of_box
from components.errors import DataError

Region = Callable[[tuple[int, int]], npt.NDArray[np.bool_]]
Finish = Callable[[tuple[int, int]], tuple[Mapping[str, Any], Mask | None]]

#: The class of the pixels that no outline covers, where masks are drawn from outlines.
BACKGROUND = "background"


def with_background(classes: list[str]) -> list[str]:
    """Return the classes of masks that are drawn from outlines: `background` is put first where it is not among them.

    Raises:
        DataError: They are more than a mask can tell apart.
    """
    classes = classes if BACKGROUND in classes else [BACKGROUND, *classes]
    if len(classes) > MAX_MASK_CLASSES:
        raise DataError(f"found {len(classes)} classes; a mask can tell {MAX_MASK_CLASSES} apart. Map some of them together")
    return classes


@dataclass
class Objects:
    """The objects annotated on one image, in order.

    Attributes:
        boxes_xyxy: In pixels of the upright image, as edges.
        labels: Class names.
        ignore: Whether each is neither to be found nor missed.
        polygons: The rings of each one's outline.
        regions: For each whose pixels are not given by rings, what returns them as bool (H, W) for a size; or None.
    """

    boxes_xyxy: list[list[float]] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    ignore: list[bool] = field(default_factory=list)
    polygons: list[list[list[float]]] = field(default_factory=list)
    regions: list[Region | None] = field(default_factory=list)

    def add(
        self,
        label: str,
        box_xyxy: Sequence[float] | None,
        rings: Sequence[Sequence[float]] = (),
        ignore: bool = False,
        region: Region | None = None,
    ) -> None:
        """Add an object; without a box it gets the bounds of its rings.

        Raises:
            DataError: It has neither, or a number of it is not finite, or a ring is not made of pairs.
        """
        if any(len(ring) % 2 for ring in rings):
            raise DataError(f"an outline of '{label}' has an odd number of coordinates; expected x, y in turn")
        rings = [ring for ring in rings if len(ring)]
        if box_xyxy is None:
            if not rings:
                raise DataError(f"an object '{label}' has neither a box nor an outline")
            xs, ys = ([value for ring in rings for value in ring[axis::2]] for axis in (0, 1))
            box_xyxy = [min(xs), min(ys), max(xs), max(ys)]
        box = [float(value) for value in box_xyxy]
        if not all(map(math.isfinite, box)) or not all(map(math.isfinite, (value for ring in rings for value in ring))):
            raise DataError(f"an object '{label}' has coordinates that are not finite")
        if len(box) != 4:
            raise DataError(f"a box of '{label}' has {len(box)} numbers; expected 4")
        self.boxes_xyxy.append(box)
        self.labels.append(label)
        self.ignore.append(ignore)
        self.polygons.append([[float(value) for value in ring] for ring in rings])
        self.regions.append(region)

    def row(self) -> dict[str, Any]:
        """Return the manifest's columns; columns that would say nothing are left out."""
        row: dict[str, Any] = {"boxes_xyxy": self.boxes_xyxy, "box_labels": self.labels}
        if any(self.ignore):
            row["box_ignore"] = self.ignore
        if any(self.polygons):
            row["polygons"] = self.polygons
        return row

    def mask(self, classes: Sequence[str], size_hw: tuple[int, int]) -> Mask:
        """Draw the objects' pixels, later ones over earlier ones, on the class `background`.

        What nobody can tell is 255: the pixels of objects to be ignored, and of a box without an outline.

        Args:
            classes: `with_background`.
            size_hw: Height and width of the upright image.

        Returns:
            uint8 (H, W).

        Raises:
            DataError: An outline reaches far out of the image, or a region is damaged.
        """
        out = np.full(size_hw, classes.index(BACKGROUND), dtype=np.uint8)
        for box, label, ignore, rings, region in zip(self.boxes_xyxy, self.labels, self.ignore, self.polygons, self.regions, strict=True):
            known = bool(rings or region)
            value = IGNORE if ignore or not known else classes.index(label)
            out[region(size_hw) if region else region_of_polygon(rings, size_hw) if rings else region_of_box(box, size_hw)] = value
        return out


def finish_with_mask(objects: Objects, classes: Sequence[str]) -> Finish:
    """Return an `Entry.finish` that draws the mask of objects."""
    return lambda size_hw: ({}, objects.mask(classes, size_hw))
