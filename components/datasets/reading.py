"""What the readers of foreign layouts share: which files are images, parsing that bears anything, the objects of an image, images in order."""

from __future__ import annotations

import math
import posixpath
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from components.datasets.annotations import IGNORE, MAX_MASK_CLASSES, Mask, region_of_polygon
from components.datasets.headers import read_header
from components.datasets.shapes import region_of_box
from components.errors import DataError
from components.progress import bar
from components.protocols import ImportedImage, Quarantined, Source

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

T = TypeVar("T")
Region = Callable[[tuple[int, int]], npt.NDArray[np.bool_]]
Finish = Callable[[tuple[int, int]], tuple[Mapping[str, Any], Mask | None]]

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"}
#: Folder names that say which split the images below them belong to; a year may follow (COCO: train2017).
SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test", "testing": "test"}
#: Larger annotation files are refused before they are parsed. The largest of the public sets, Objects365's, is just below.
MAX_ANNOTATION_BYTES = 2 * 2**30
#: The class of the pixels that no outline covers, where masks are drawn from outlines.
BACKGROUND = "background"


@dataclass(frozen=True)
class Entry:
    """An image that annotations speak of.

    Attributes:
        file: Its name at the source.
        row: The manifest's columns that the annotations give.
        image_id: Its name in the manifest; None: `file`.
        size_hw: Height and width that the annotations say the image has; an image of another size is quarantined.
        finish: Called with the upright image's height and width when it is read; returns more of the row, and the mask, uint8 (H, W).
            May raise DataError.
        content: Called with the file's bytes where the image is inside of another file; returns the image's. May raise DataError.
    """

    file: str
    row: Mapping[str, Any]
    image_id: str | None = None
    size_hw: tuple[int, int] | None = None
    finish: Finish | None = None
    content: Callable[[bytes], bytes] | None = None


def is_image(name: str) -> bool:
    """Tell by its suffix whether a file is an image that is read."""
    return posixpath.splitext(name)[1].lower() in SUFFIXES


def split_of(folder: str) -> str | None:
    """Return the split that a folder's name stands for, None if it stands for none."""
    return SPLITS.get(re.sub(r"(?<=[a-z])\d{4}$", "", folder.lower()))


def split_in(name: str, words: bool = False) -> str | None:
    """Return the split that the first telling folder of a path stands for, None if none does.

    Args:
        name: A file's name at the source.
        words: Look at the words of the file's own name first, as in instances_train2017.json.
    """
    *folders, own = name.split("/")
    parts = [*re.split(r"[^A-Za-z0-9]+", own.rpartition(".")[0]), *folders] if words else folders
    return next((split for part in parts if (split := split_of(part))), None)


def key_of(name: str, left_out: Collection[str]) -> str:
    """Return a file's name without its suffix and without the folders called as in `left_out`: what an image and its annotation share."""
    *folders, own = name.split("/")
    return "/".join([*(folder for folder in folders if folder.lower() not in left_out), own.rpartition(".")[0] or own])


class Files:
    """The files of a source, to be found by what annotations call them.

    Args:
        names: All that may be found.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = dict.fromkeys(names)
        self._by_own_name: dict[str, list[str]] = defaultdict(list)
        for name in self._names:
            self._by_own_name[name.rpartition("/")[2]].append(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def find(self, called: str, annotations: str, split: str | None = None) -> str:
        """Return the file that an annotation means.

        Args:
            called: What the annotation calls it: relative to the annotation's file, to the source, or the end of the path.
            annotations: The annotation's file.
            split: Of several files of that name, the one below this split's folder is meant.

        Raises:
            DataError: There is none, several could be meant, or the name leads outside of the source.
        """
        plain = called.replace("\\", "/")
        beside = posixpath.normpath(posixpath.join(posixpath.dirname(annotations), plain))
        if "\0" in plain or not plain.strip("/.") or beside.startswith(("/", "../")) or re.match(r"[A-Za-z]:/", plain):
            raise DataError(f"{annotations} names the image {called!r}, which leads outside of the source")
        at_root = posixpath.normpath(plain)
        for name in (beside, at_root):
            if name in self._names:
                return name
        own = at_root.rpartition("/")[2]
        ending = at_root.lstrip("./")
        found = [name for name in self._by_own_name.get(own, ()) if name.endswith(f"/{ending}")]
        if len(found) > 1:
            found = [name for name in found if split and split_in(name) == split] or found
        if len(found) != 1:
            many = f"it could be {found[0]} or {found[1]}" if found else "there is no such image"
            raise DataError(f"{annotations} annotates {called}: {many}")
        return found[0]


def read_annotations(source: Source, names: Sequence[str]) -> Iterator[tuple[str, bytes | DataError]]:
    """Yield annotation files with their names, in order; an error in the place of one that is too large or cannot be read."""
    with bar("read annotations", len(names), "files") as progress:
        for name, content in zip(names, source.read_many(names), strict=True):
            progress.update()
            if isinstance(content, bytes) and len(content) > MAX_ANNOTATION_BYTES:
                yield name, DataError(f"{name} has {len(content):,} bytes; expected at most {MAX_ANNOTATION_BYTES:,}. Split it")
            else:
                yield name, content


def read_annotation(source: Source, name: str) -> bytes:
    """Return one annotation file.

    Raises:
        DataError: It is too large or cannot be read.
    """
    [(_, content)] = read_annotations(source, [name])
    if isinstance(content, DataError):
        raise content
    return content


def first_bytes(source: Source, names: Sequence[str], suffix: str) -> bytes | None:
    """Return how the first file of a suffix begins, to tell layouts apart; None where there is none, or it cannot be read."""
    name = next((name for name in names if name.lower().endswith(suffix)), None)
    try:
        return None if name is None else source.read(name)[:100_000]
    except DataError:
        return None


def parse_json(content: bytes, name: str, shape: TypeAdapter[T]) -> T:
    """Parse JSON of a given shape; nesting is bounded.

    Raises:
        DataError: It is no JSON, or of another shape; names the place, what was found and what was expected.
    """
    try:
        return shape.validate_json(content.removeprefix(b"\xef\xbb\xbf"))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        if first["type"] == "json_invalid":
            raise DataError(f"{name} is no JSON that can be read: {first['msg'].removeprefix('Invalid JSON: ')}") from None
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{name}: {where or 'the whole'}: found {_short(first['input'])}; expected: {first['msg']}") from None
    except (ValueError, OverflowError, RecursionError) as error:  # numbers beyond what a float or an int of the parser holds
        raise DataError(f"{name} is no JSON that can be read: {error}") from None


def parse_xml(content: bytes, name: str, root: str) -> Element:
    """Parse XML; entities, DTDs and external references are refused.

    Raises:
        DataError: It is no XML, uses what is refused, or its root is not called `root`.
    """
    from xml.etree.ElementTree import ParseError

    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        found: Element = fromstring(content, forbid_dtd=True)
    except DefusedXmlException as error:
        raise DataError(f"{name} is refused: it declares a DTD or entities ({type(error).__name__}); expected plain XML") from None
    except (ParseError, ValueError, LookupError) as error:
        raise DataError(f"{name} is no XML that can be read: {error}") from None
    if found.tag != root:
        raise DataError(f"{name}: the root element is <{found.tag[:40]}>; expected <{root}>")
    return found


def parse_number(text: str | None, what: str) -> float:
    """Return a number of an annotation.

    Raises:
        DataError: It is none, or not finite.
    """
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{what} is {text!r}; expected a number")
    return value


def check_classes(names: Iterable[str], name: str) -> list[str]:
    """Return class names in order, each once.

    Raises:
        DataError: One is empty.
    """
    classes = list(dict.fromkeys(names))
    if any(not given.strip() for given in classes):
        raise DataError(f"{name}: a class without a name; expected one for each")
    return classes


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


def read_images(source: Source, entries: Sequence[Entry]) -> Iterator[ImportedImage | Quarantined]:
    """Yield the images of `entries` in order; what cannot be read is quarantined with the reason."""
    for entry, content in zip(entries, source.read_many(entry.file for entry in entries), strict=True):
        try:
            image = _image_of(entry, content)
        except DataError as error:
            yield Quarantined(entry.image_id or entry.file, str(error))
            continue
        yield image


def chained(*parts: Iterable[ImportedImage | Quarantined]) -> Iterator[ImportedImage | Quarantined]:
    """Yield the parts one after another: the images, then for example annotations that have none."""
    for part in parts:
        yield from part


def _image_of(entry: Entry, content: bytes | DataError) -> ImportedImage:
    if isinstance(content, DataError):
        raise content
    if entry.content:
        content = entry.content(content)
    row, mask = entry.row, None
    header = read_header(content) if entry.size_hw or entry.finish else None
    if header:
        size = (header.height, header.width)
        if entry.size_hw and entry.size_hw != size:
            raise DataError(f"it was annotated at {entry.size_hw[1]}×{entry.size_hw[0]} pixels, but the upright image has {size[1]}×{size[0]}")
        if entry.finish:
            more, mask = entry.finish(size)
            row = {**row, **more}
    return ImportedImage(entry.image_id or entry.file, content, row, mask)


def _short(found: Any) -> str:
    if isinstance(found, (dict, list)):
        return f"{'an object' if isinstance(found, dict) else 'a list'} of {len(found)}"
    if isinstance(found, int) and abs(found) > 10**20:
        return "a huge number"
    text = repr(found)
    return text if len(text) <= 60 else text[:60] + " …"
