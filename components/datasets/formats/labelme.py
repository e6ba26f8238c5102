"""LabelMe: a JSON beside each image, with rectangles, polygons, circles and masks; and the XML of the older web tool.

Coordinates are pixels of the upright image (LabelMe turns an image as its EXIF says before it is shown) from its upper left corner, with
fractions, as edges: a rectangle is two opposite corners, in any order (github.com/wkentaro/labelme, examples/bbox_detection). For masks a
rectangle is filled, as LabelMe's own labelme2voc does. A circle is its centre and a point on it. A `mask` is a PNG placed with its first corner.
An object called __ignore__ is to be ignored, _background_ is the class background. The web tool's XML (labelme.csail.mit.edu) has polygons of
points, or a box and a PNG in Masks/.

A file without shapes says that nothing is on the image, or, where one of its `flags` is set, that this is the image's label. An image without a
file is not annotated. The image is `imagePath` from the JSON's folder; if it is not there, the `imageData` in the JSON. The split is a folder's.
Classes are sorted. Lines and points are left out, and counted in the log.
"""

from __future__ import annotations

import base64
import binascii
import io
import logging
import posixpath
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Required

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import ConfigDict, TypeAdapter
from typing_extensions import TypedDict

from components.datasets.objects import BACKGROUND, Objects, finish_with_mask, with_background
from components.datasets.parsing import check_classes, first_bytes, parse_json, parse_number, parse_xml, read_annotations
from components.datasets.reading import Entry, Files, is_image, read_images, split_in
from components.datasets.shapes import box_of_ellipse, region_of_box, region_of_ellipse
from components.errors import DataError
from components.protocols import Quarantined, Reading, Source

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

log = logging.getLogger(__name__)


class _Shape(TypedDict, total=False):
    __pydantic_config__ = ConfigDict(allow_inf_nan=False)  # type: ignore[misc]
    label: Required[str]
    points: Required[list[tuple[float, float]]]
    shape_type: str | None
    mask: str | None


class _File(TypedDict, total=False):
    shapes: Required[list[_Shape]]
    imagePath: Required[str]
    imageHeight: int | None
    imageWidth: int | None
    flags: dict[str, Any] | None


class _Embedded(TypedDict):
    imageData: str | None


_SHAPE, _EMBEDDED = TypeAdapter(_File), TypeAdapter(_Embedded)


@dataclass
class _Record:
    annotations: str
    size_hw: tuple[int, int] | None
    objects: Objects = field(default_factory=Objects)
    label: str | None = None
    left_out: Counter[str] = field(default_factory=Counter)


class LabelMe:
    """A JSON, or an XML, an image."""

    name = "labelme"
    tasks = ("detection", "segmentation", "classification")

    def matches(self, source: Source) -> bool:
        """Tell whether the first JSON has shapes and the path of an image, or the first XML is the web tool's."""
        names = source.files()
        start = first_bytes(source, names, ".json")
        if start is not None and b'"shapes"' in start and b'"imagePath"' in start + _end(source, names):
            return True
        xml = first_bytes(source, names, ".xml")
        return xml is not None and b"<annotation>" in xml and b"<imagesize>" in xml

    def read(self, source: Source, task: str | None) -> Reading:
        """Read all files; the task is detection where there are shapes, else classification by flags.

        Raises:
            DataError: There is none.
        """
        names = source.files()
        files = Files(name for name in names if is_image(name) and not _is_of_the_web_tool(name))
        named = [name for name in names if name.lower().endswith((".json", ".xml"))]
        if not named:
            raise DataError(f"{source.uri}: found no JSON or XML; expected LabelMe's NAME.json beside NAME.jpg")
        records: dict[str, _Record] = {}
        embedded: dict[str, str] = {}
        bad: dict[str, Quarantined] = {}
        lost: list[Quarantined] = []
        for name, content in read_annotations(source, named):
            try:
                called, record = _record_of(source, name, content)
            except DataError as error:
                lost.append(Quarantined(name, str(error)))
                continue
            try:
                image = files.find(called, name, split_in(name))
            except DataError as error:
                image = posixpath.normpath(posixpath.join(posixpath.dirname(name), called.replace("\\", "/")))
                if image.startswith(("/", "../")) or image in embedded or not _has_image(content):
                    lost.append(Quarantined(name, str(error)))
                    continue
                embedded[image] = name
            if image in records:
                lost.append(Quarantined(name, f"it annotates {image}, as {records[image].annotations} does"))
            else:
                records[image] = record
        _log_left_out(source.uri, records)
        flagged = any(record.label for record in records.values())
        task = task or ("detection" if any(record.objects.labels for record in records.values()) or not flagged else "classification")
        classes = _classes_of(task, records, source.uri)
        entries = []
        for image in dict.fromkeys([*files, *records]):
            row: dict[str, Any] = {"split": split} if (split := split_in(image)) else {}
            if image not in records:
                entries.append(Entry(image, row))
                continue
            record = records[image]
            row |= ({"label": record.label} if record.label else {}) if task == "classification" else record.objects.row()
            finish = finish_with_mask(record.objects, classes) if task == "segmentation" else None
            inside = {"content": partial(_image_inside, embedded[image])} if image in embedded else {}
            entries.append(Entry(embedded.get(image, image), row, image, record.size_hw, finish, **inside))
        return Reading(task, classes, read_images(source, entries, bad.values(), lost), len(entries) + len(bad) + len(lost))


def _end(source: Source, names: Sequence[str]) -> bytes:
    """Return how the first JSON ends: `imagePath` stands behind the shapes, and before the image."""
    name = next(name for name in names if name.lower().endswith(".json"))
    return source.read(name)[100_000:]


def _is_of_the_web_tool(name: str) -> bool:
    return any(folder in ("Masks", "Scribbles") for folder in name.split("/")[:-1])


def _record_of(source: Source, name: str, content: bytes | DataError) -> tuple[str, _Record]:
    """Return what a file calls its image, and what it says of it."""
    if isinstance(content, DataError):
        raise content
    if name.lower().endswith(".xml"):
        return _of_xml(source, parse_xml(content, name, "annotation"), name)
    found = parse_json(content, name, _SHAPE)
    height, width = found.get("imageHeight") or 0, found.get("imageWidth") or 0
    record = _Record(name, (height, width) if height and width else None)
    for shape in found["shapes"]:
        _add(record, shape)
    flags = [flag for flag, value in (found.get("flags") or {}).items() if value is True]
    if len(flags) > 1:
        raise DataError(f"{name} sets the flags {' and '.join(flags[:5])}; expected one label an image")
    record.label = flags[0] if flags else None
    return found["imagePath"], record


def _add(record: _Record, shape: _Shape) -> None:
    label = BACKGROUND if shape["label"] == "_background_" else shape["label"]
    kind, points = shape.get("shape_type") or "polygon", shape["points"]
    ignore = label == "__ignore__"
    if kind in ("point", "points", "line", "linestrip"):
        record.left_out[kind] += 1
        return
    if kind == "polygon":
        record.objects.add(label, None, [[value for point in points for value in point]], ignore)
        return
    if len(points) != 2:
        raise DataError(f"{record.annotations}: a {kind} '{label}' has {len(points)} points; expected 2")
    (x0, y0), (x1, y1) = points
    if kind == "circle":
        radius = float(np.hypot(x1 - x0, y1 - y0))
        region = partial(region_of_ellipse, (x0, y0), (radius, radius), 0.0)
        record.objects.add(label, box_of_ellipse((x0, y0), (radius, radius)), ignore=ignore, region=region)
        return
    box = [min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)]
    if kind == "rectangle":
        record.objects.add(label, box, ignore=ignore, region=partial(region_of_box, box))
    elif kind == "mask":
        # The corners are those of the first and the last pixel: github.com/wkentaro/labelme, utils/shape.py.
        pixels = [box[0], box[1], box[2] + 1, box[3] + 1]
        record.objects.add(label, pixels, ignore=ignore, region=partial(_png_region, shape.get("mask") or "", (int(box[0]), int(box[1]))))
    else:
        raise DataError(f"{record.annotations}: a shape '{label}' is a {kind[:40]!r}; expected rectangle, polygon, circle, mask, line or point")


def _png_region(text: str, corner: tuple[int, int], size_hw: tuple[int, int]) -> npt.NDArray[np.bool_]:
    pixels = _bits_of_png(_decoded(text, "a mask"))
    out = np.zeros(size_hw, dtype=np.bool_)
    x, y = corner
    if x < 0 or y < 0 or y + pixels.shape[0] > size_hw[0] or x + pixels.shape[1] > size_hw[1]:
        raise DataError(f"a mask of {pixels.shape[1]}×{pixels.shape[0]} pixels at {x}, {y} leaves the image of {size_hw[1]}×{size_hw[0]}")
    out[y : y + pixels.shape[0], x : x + pixels.shape[1]] = pixels
    return out


def _bits_of_png(content: bytes) -> npt.NDArray[np.bool_]:
    try:
        image = Image.open(io.BytesIO(content), formats=("PNG",))
        return np.asarray(image.convert("L")) > 0
    except Exception as error:  # Pillow's readers raise whatever they trip over
        raise DataError(f"a mask is no PNG that can be read: {error}") from None


def _decoded(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"{what} is no base64: {error}") from None


def _has_image(content: bytes | DataError) -> bool:
    try:
        return isinstance(content, bytes) and bool(parse_json(content, "", _EMBEDDED)["imageData"])
    except DataError:
        return False


def _image_inside(name: str, content: bytes) -> bytes:
    return _decoded(parse_json(content, name, _EMBEDDED)["imageData"] or "", f"imageData of {name}")


def _of_xml(source: Source, root: Element, name: str) -> tuple[str, _Record]:
    """Read the web tool's XML: Annotations/FOLDER/x.xml speaks of Images/FOLDER/x.jpg, masks lie in Masks/FOLDER."""

    def number(item: Element, path: str) -> float:
        return parse_number(item.findtext(path), f"{name}: {path}")

    height, width = (parse_number(root.findtext(f"imagesize/{side}") or "0", f"{name}: {side}") for side in ("nrows", "ncols"))
    record = _Record(name, (int(height), int(width)) if height and width else None)
    folder = root.findtext("folder") or ""
    for item in root.iterfind("object"):
        if (item.findtext("deleted") or "0").strip() == "1":
            continue
        label = (item.findtext("name") or "").strip()
        if not label:
            raise DataError(f"{name}: an object without a name")
        if item.find("segm") is not None:
            x0, y0, x1, y1 = (number(item, f"segm/box/{corner}") for corner in ("xmin", "ymin", "xmax", "ymax"))
            mask = posixpath.join("Masks", folder, item.findtext("segm/mask") or "")
            record.objects.add(label, [x0, y0, x1, y1], region=partial(_web_mask, source, mask))
            continue
        ring = [number(point, axis) for point in item.iterfind("polygon/pt") for axis in ("x", "y")]
        if (item.findtext("type") or "") == "bounding_box" and ring:
            box = [min(ring[::2]), min(ring[1::2]), max(ring[::2]), max(ring[1::2])]
            record.objects.add(label, box, region=partial(region_of_box, box))
        else:
            record.objects.add(label, None, [ring])
    return posixpath.join(folder, root.findtext("filename") or posixpath.basename(name)), record


def _web_mask(source: Source, name: str, size_hw: tuple[int, int]) -> npt.NDArray[np.bool_]:
    pixels = _bits_of_png(source.read(Files(source.files()).find(name, "-")))
    if pixels.shape != size_hw:
        raise DataError(f"{name} has {pixels.shape[1]}×{pixels.shape[0]} pixels, the upright image {size_hw[1]}×{size_hw[0]}")
    return pixels


def _classes_of(task: str, records: dict[str, _Record], uri: str) -> list[str]:
    if task == "classification":
        return check_classes(sorted({record.label for record in records.values() if record.label}), uri)
    classes = check_classes(sorted({label for record in records.values() for label in record.objects.labels}), uri)
    return with_background(classes) if task == "segmentation" else classes


def _log_left_out(uri: str, records: dict[str, _Record]) -> None:
    total = sum((record.left_out for record in records.values()), Counter[str]())
    for kind, count in total.items():
        log.warning("%d shapes '%s' of %s are left out: a manifest has no place for them", count, kind, uri)


plugin = LabelMe()
