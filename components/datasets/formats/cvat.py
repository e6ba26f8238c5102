"""CVAT for images 1.1: one XML with all images, their boxes, polygons, masks, ellipses and tags.

Coordinates are pixels of the upright image from its upper left corner, with fractions, as edges: xtl, ytl, xbr, ybr (docs.cvat.ai, XML annotation
format): xtl = 0, xbr = 1 is the left-most column. A box with `rotation` (degrees clockwise about its centre) becomes the outline of its four
corners, and their bounds. A mask's `rle` is row by row within left, top, width, height, beginning with pixels that are off. Tags are labels of the
whole image. What lies higher (z_order) is drawn later.

An image that is listed without shapes has nothing on it; one that no XML lists is not annotated. The split is the image's `subset`, a word of the
XML's name, or a folder's. Classes stand as the XML's <labels> do. Polylines, points, cuboids and skeletons have no place in a manifest: they are left
out, and counted in the log. CVAT for video is refused.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from components.datasets.objects import Objects, finish_with_mask, with_background
from components.datasets.parsing import check_classes, first_bytes, parse_number, parse_xml, read_annotation
from components.datasets.reading import Entry, Files, is_image, read_images, split_in, split_of
from components.datasets.run_lengths import unpacked
from components.datasets.shapes import box_of_ellipse, region_of_ellipse, rotated_box
from components.errors import DataError
from components.protocols import Quarantined, Reading, Source

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

log = logging.getLogger(__name__)

_SHAPES = {"box", "polygon", "mask", "ellipse"}
_LEFT_OUT = {"polyline", "points", "cuboid", "skeleton"}


@dataclass
class _Record:
    split: str | None
    size_hw: tuple[int, int] | None
    objects: Objects = field(default_factory=Objects)
    tags: list[str] = field(default_factory=list)


@dataclass
class _Found:
    """What the XML files say."""

    records: dict[str, _Record] = field(default_factory=dict)
    bad: dict[str, Quarantined] = field(default_factory=dict)
    lost: list[Quarantined] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def take(self, root: Element, name: str, files: Files) -> None:
        """Add what one XML says."""
        if root.find("track") is not None:
            raise DataError(f"{name}: found tracks, so it is CVAT for video; expected CVAT for images 1.1, which CVAT exports of the same task")
        self.names += [(label.findtext("name") or "").strip() for label in root.iterfind("meta//labels/label")]
        for image in root.iterfind("image"):
            called, file = image.get("name") or "", None
            try:
                split = split_of(image.get("subset") or "") or split_in(name, words=True)
                file = _find(files, called, image.get("subset"), name, split)
                if file in self.records or file in self.bad:
                    raise DataError(f"{name} annotates {file}, which was annotated already")
                self.left_out.update(shape.tag for shape in image if shape.tag in _LEFT_OUT)
                self.records[file] = _record_of(image, split or split_in(file))
            except DataError as error:
                if file and file not in self.records:
                    self.bad[file] = Quarantined(file, f"{name}: {error}")
                else:
                    self.lost.append(Quarantined(called, str(error)))


class Cvat:
    """One XML with all images."""

    name = "cvat"
    tasks = ("detection", "segmentation", "classification")

    def matches(self, source: Source) -> bool:
        """Tell whether the first XML has CVAT's root element."""
        start = first_bytes(source, source.files(), ".xml")
        return start is not None and b"<annotations>" in start and (b"<meta>" in start or b"<image " in start)

    def read(self, source: Source, task: str | None) -> Reading:
        """Read the XML files; the task is detection where there are shapes, else classification.

        Raises:
            DataError: There is none, or one is of a video, or not CVAT's.
        """
        files = Files(name for name in source.files() if is_image(name))
        found = _Found()
        xmls = [name for name in source.files() if name.lower().endswith(".xml")]
        if not xmls:
            raise DataError(f"{source.uri}: found no XML; expected annotations.xml of CVAT for images 1.1")
        for name in xmls:
            found.take(parse_xml(read_annotation(source, name), name, "annotations"), name, files)
        for shape, count in found.left_out.items():
            log.warning("%d shapes <%s> of %s are left out: a manifest has no place for them", count, shape, source.uri)
        records, bad, lost, names = found.records, found.bad, found.lost, found.names
        tagged = any(record.tags for record in records.values())
        task = task or ("detection" if any(record.objects.labels for record in records.values()) or not tagged else "classification")
        used = {label for record in records.values() for label in (record.tags if task == "classification" else record.objects.labels)}
        classes = check_classes([*names, *sorted(used)], source.uri)
        classes = with_background(classes) if task == "segmentation" else classes
        entries = []
        for file in files:
            if file in records:
                try:
                    entries.append(_entry(file, records[file], task, classes))
                except DataError as error:
                    bad[file] = Quarantined(file, str(error))
            elif file not in bad:
                entries.append(Entry(file, {"split": split} if (split := split_in(file)) else {}))
        return Reading(task, classes, read_images(source, entries, bad.values(), lost), len(entries) + len(bad) + len(lost))


def _find(files: Files, called: str, subset: str | None, name: str, split: str | None) -> str:
    """Return the image; CVAT writes an image of a subset to images/SUBSET/NAME."""
    ending = f"images/{subset}/{called}" if subset else f"images/{called}"
    try:
        return files.find(ending, name, split)
    except DataError:
        return files.find(called, name, split)


def _record_of(image: Element, split: str | None) -> _Record:
    height, width = (parse_number(image.get(side) or "0", side) for side in ("height", "width"))
    record = _Record(split, (int(height), int(width)) if height and width else None)
    shapes = [shape for shape in image if shape.tag in _SHAPES]
    for shape in sorted(shapes, key=lambda shape: parse_number(shape.get("z_order") or "0", "z_order")):
        _add(record.objects, shape)
    record.tags = [_label_of(tag) for tag in image.iterfind("tag")]
    return record


def _label_of(shape: Element) -> str:
    label = (shape.get("label") or "").strip()
    if not label:
        raise DataError(f"a <{shape.tag}> without a label")
    return label


def _add(objects: Objects, shape: Element) -> None:
    def number(name: str) -> float:
        return parse_number(shape.get(name), f"{name} of a <{shape.tag}>")

    label = _label_of(shape)
    degrees = parse_number(shape.get("rotation") or "0", "rotation")
    if shape.tag == "polygon":
        points = [point.split(",") for point in (shape.get("points") or "").split(";")]
        if any(len(point) != 2 for point in points):
            raise DataError(f"the points of a polygon '{label}' are {(shape.get('points') or '')[:60]!r}; expected x,y;x,y;…")
        objects.add(label, None, [[parse_number(value, "a point") for point in points for value in point]])
    elif shape.tag == "box":
        x0, y0, x1, y1 = (number(name) for name in ("xtl", "ytl", "xbr", "ybr"))
        if degrees:
            objects.add(label, None, [rotated_box([x0, y0, x1, y1], ((x0 + x1) / 2, (y0 + y1) / 2), degrees)])
        else:
            objects.add(label, [x0, y0, x1, y1])
    elif shape.tag == "ellipse":
        centre, radii = (number("cx"), number("cy")), (number("rx"), number("ry"))
        objects.add(label, box_of_ellipse(centre, radii, degrees), region=partial(region_of_ellipse, centre, radii, degrees))
    else:
        left, top, width, height = (int(number(name)) for name in ("left", "top", "width", "height"))
        counts = [int(parse_number(count, "a run length")) for count in (shape.get("rle") or "").split(",")]
        objects.add(label, [left, top, left + width, top + height], region=partial(_crop, counts, (left, top, width, height)))


def _crop(counts: list[int], place: tuple[int, int, int, int], size_hw: tuple[int, int]) -> npt.NDArray[np.bool_]:
    left, top, width, height = place
    if left < 0 or top < 0 or width < 0 or height < 0 or left + width > size_hw[1] or top + height > size_hw[0]:
        raise DataError(f"a mask of {width}×{height} pixels at {left}, {top} leaves the image of {size_hw[1]}×{size_hw[0]}")
    try:
        lengths = np.asarray(counts, dtype=np.int64)
    except OverflowError:
        raise DataError("a mask's run length is huge") from None
    out = np.zeros(size_hw, dtype=np.bool_)
    out[top : top + height, left : left + width] = unpacked(lengths, width * height).reshape(height, width)
    return out


def _entry(file: str, record: _Record, task: str, classes: list[str]) -> Entry:
    row = {"split": record.split} if record.split else {}
    if task == "classification":
        if len(set(record.tags)) > 1:
            raise DataError(f"it is tagged {' and '.join(dict.fromkeys(record.tags))}; expected one label an image")
        return Entry(file, {**row, **({"label": record.tags[0]} if record.tags else {})}, size_hw=record.size_hw)
    finish = finish_with_mask(record.objects, classes) if task == "segmentation" else None
    return Entry(file, {**row, **record.objects.row()}, size_hw=record.size_hw, finish=finish)


plugin = Cvat()
