"""Pascal VOC: one XML an image with boxes, SegmentationClass/*.png with masks, ImageSets/*/*.txt with the splits.

In the development kit's own convention a box is made of 1-based pixel numbers, both ends inclusive ("the top-left pixel in the image has
coordinates (1,1)", VOC2007 development kit): xmin = xmax = 1 is the left-most column of pixels, here x0 = 0, x1 = 1. Most others who write this
XML (labelImg, CVAT, Roboflow) write the box's edges, from 0: xmin = xmax is a box without area. The XML tells them apart: the kit's files say
<source><annotation>PASCAL VOC…, or a <database> that begins with "The VOC", and are read in its convention; all others as edges. The kit's is what
is written. All refer to the upright image.

Masks are indexed PNGs: the index of the class, 255: not judged. labelmap.txt (name:r,g,b:parts:actions, as CVAT and Datumaro write it) names the
classes and their colours; without it they are VOC's twenty. `difficult` objects are to be ignored. An XML without objects says that nothing is on
the image; an image without XML is not annotated, as in the kit's test sets. The split is that of the list in ImageSets (Main for boxes,
Segmentation for masks), or a folder's where there are no lists. Classes stand as in labelmap.txt, else sorted.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from components.datasets.annotations import IGNORE, VOC_COLOURS, Mask, mask_png
from components.datasets.class_table import ClassTable, indexed_mask, parse_labelmap
from components.datasets.dataset import Dataset
from components.datasets.export_rows import Place, Row, check_splits, row_cells, write_images
from components.datasets.objects import Finish, Objects
from components.datasets.parsing import check_classes, first_bytes, parse_number, parse_xml, read_annotations
from components.datasets.reading import Entry, Files, is_image, key_of, read_images, split_in, split_of
from components.errors import DataError
from components.protocols import Quarantined, Reading, Source

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

#: The twenty classes of VOC and the background, by index (host.robots.ox.ac.uk/pascal/VOC/voc2012/segexamples).
VOC_CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
#: Folders that an image's and its annotation's paths differ by.
_FOLDERS = {"jpegimages", "images", "annotations", "segmentationclass", "segmentationobject"}
_MASKS = "segmentationclass"
_IGNORED = (224, 224, 192)


class Voc:
    """One XML an image."""

    name = "voc"
    tasks = ("detection", "segmentation")

    def matches(self, source: Source) -> bool:
        """Tell whether there is a folder SegmentationClass, or the first XML speaks of one image in VOC's way."""
        names = source.files()
        folders = {folder.lower() for name in names for folder in name.split("/")[:-1]}
        if _MASKS in folders and "jpegimages" in folders:
            return True
        start = first_bytes(source, names, ".xml")
        return start is not None and b"<annotation>" in start and b"<imagesize>" not in start and (b"<bndbox>" in start or b"<size>" in start)

    def read(self, source: Source, task: str | None) -> Reading:
        """Read the XML files, or find the masks; the task is detection where there is an XML.

        Raises:
            DataError: There is neither, or labelmap.txt is not what it has to be.
        """
        names = source.files()
        files = Files(name for name in names if is_image(name) and not _is_of(name, _MASKS, "segmentationobject"))
        xmls = [name for name in names if name.lower().endswith(".xml")]
        masks = {key_of(name, _FOLDERS): name for name in names if _is_of(name, _MASKS) and is_image(name)}
        task = task or ("detection" if xmls or not masks else "segmentation")
        if not (masks if task == "segmentation" else xmls):
            missing = "SegmentationClass/*.png" if task == "segmentation" else "Annotations/*.xml"
            raise DataError(f"{source.uri}: found no {missing}; expected Pascal VOC's layout")
        by_key = {key_of(name, _FOLDERS): name for name in files}
        table = _labelmap(source)
        objects: dict[str, tuple[Objects, tuple[int, int] | None]] = {}
        lost: list[Quarantined] = []
        bad: dict[str, Quarantined] = {}
        for name, content in read_annotations(source, xmls):
            image = by_key.get(key_of(name, _FOLDERS))
            try:
                if isinstance(content, DataError):
                    raise content
                root = parse_xml(content, name, "annotation")
                image = image or files.find(root.findtext("filename") or posixpath.basename(name), name)
                if image in objects or image in bad:
                    raise DataError(f"{name} annotates {image}, which another file annotates already")
                objects[image] = (_objects_of(root, name), _size_of(root, name))
            except DataError as error:
                if image and image not in objects:
                    bad[image] = Quarantined(image, str(error))
                else:
                    lost.append(Quarantined(name, str(error)))
        labels = {label for found, _ in objects.values() for label in found.labels}
        classes = _classes_of(table, labels, task, source.uri)
        splits = _splits(source, "Segmentation" if task == "segmentation" else "Main", by_key)
        entries = []
        for image in files:
            if image in bad:
                continue
            found, size = objects.get(image, (None, None))
            split = splits.get(image) if splits else split_in(image)
            row = ({"split": split} if split else {}) | (found.row() if found else {})
            finish: Finish | None = None
            if task == "segmentation" and (mask := masks.pop(key_of(image, _FOLDERS), None)):
                finish = partial(_mask_of, source, mask, table or _voc_table(), tuple(classes))
            entries.append(Entry(image, row, size_hw=size, finish=finish))
        if task == "segmentation":
            lost += [Quarantined(mask, "a mask without an image") for mask in masks.values()]
        listed = [Quarantined(name, "listed in ImageSets, but there is no such image") for name in splits if name not in files]
        total = len(entries) + len(bad) + len(lost) + len(listed)
        return Reading(task, classes, read_images(source, entries, bad.values(), lost, listed), total)

    def write(self, dataset: Dataset, out: Path) -> None:
        """Write JPEGImages/ID, Annotations/ID.xml, SegmentationClass/ID.png, ImageSets and labelmap.txt; an ID's own JPEGImages stays where it is.

        Raises:
            DataError: There are outlines, which this XML has no place for; a class has a colon in its name; two images differ by suffix alone.
        """
        _write(dataset, out)


def _is_of(name: str, *folders: str) -> bool:
    return any(folder.lower() in folders for folder in name.split("/")[:-1])


def _objects_of(root: Element, name: str) -> Objects:
    """Return the objects of an XML; parts of objects (VOC's heads and hands) are no objects of their own."""
    first = 1.0 if (root.findtext("source/annotation") or "").startswith("PASCAL VOC") else 0.0
    first = first or (1.0 if (root.findtext("source/database") or "").startswith("The VOC") else 0.0)
    objects = Objects()
    for item in root.iterfind("object"):
        label = (item.findtext("name") or "").strip()
        if not label:
            raise DataError(f"{name}: an object without a name")
        box = item.find("bndbox")
        if box is None:
            raise DataError(f"{name}: an object '{label}' without <bndbox>")
        x0, y0, x1, y1 = (parse_number(box.findtext(corner), f"{name}: {corner}") for corner in ("xmin", "ymin", "xmax", "ymax"))
        objects.add(label, [x0 - first, y0 - first, x1, y1], ignore=(item.findtext("difficult") or "").strip() == "1")
    return objects


def _size_of(root: Element, name: str) -> tuple[int, int] | None:
    height, width = (parse_number(root.findtext(f"size/{side}") or "0", f"{name}: {side}") for side in ("height", "width"))
    return (int(height), int(width)) if height and width else None


def _labelmap(source: Source) -> ClassTable | None:
    found = [name for name in source.files() if posixpath.basename(name).lower() == "labelmap.txt"]
    return parse_labelmap(source.read(found[0]), found[0]) if found else None


def _voc_table() -> ClassTable:
    colours = {(red, green, blue): name for name, (red, green, blue) in zip(VOC_CLASSES, VOC_COLOURS, strict=False)}
    return ClassTable(list(VOC_CLASSES), {index: index for index in range(len(VOC_CLASSES))}, colours | {_IGNORED: ""})


def _classes_of(table: ClassTable | None, labels: set[str], task: str, uri: str) -> list[str]:
    if task == "segmentation":
        return check_classes([*(table or _voc_table()).classes, *sorted(labels)], uri)
    # What labelmap.txt says of masks alone, the background and the border, is no class of objects.
    named = [name for name in (table.classes if table else ()) if not (name == "background" and table and table.colours.get((0, 0, 0)) == name)]
    return check_classes([*named, *sorted(labels)], uri)


def _splits(source: Source, folder: str, by_key: Mapping[str, str]) -> dict[str, str]:
    """Return the split of each image that a list of ImageSets/FOLDER names; train and val before what unites them."""
    found: dict[str, str] = {}
    ends = {key.rpartition("/")[2]: image for key, image in by_key.items()}
    for name in source.files():
        parts = name.lower().split("/")
        split = split_of(parts[-1].removesuffix(".txt"))
        if not name.lower().endswith(".txt") or parts[-3:-1] != ["imagesets", folder.lower()] or split is None:
            continue
        for line in source.read(name).decode("utf-8", "replace").splitlines():
            called = line.split(" ")[0].strip() if folder == "Main" and line.rstrip().endswith((" 1", " -1", " 0")) else line.strip()
            if called and not called.startswith("#"):
                found.setdefault(by_key.get(key_of(f"{called}.", _FOLDERS)) or ends.get(called) or called, split)
    return found


def _mask_of(source: Source, name: str, table: ClassTable, classes: Sequence[str], size_hw: tuple[int, int]) -> tuple[Mapping[str, Any], Mask]:
    return {}, indexed_mask(source.read(name), name, table, classes, size_hw)


def _write(dataset: Dataset, out: Path) -> None:
    classes = dataset.info.classes
    rows = list(row_cells(dataset))
    check_splits(rows)
    wrong = next((name for name in classes if ":" in name or "\n" in name or name != name.strip() or name.startswith("#")), None)
    if wrong is not None:
        raise DataError(f"the class {wrong!r} cannot stand in labelmap.txt; expected a name without a colon, a line break or spaces around it")
    if any(any(row.polygons) for row in rows):
        raise DataError("there are outlines (polygons), and Pascal VOC's XML has a place for boxes alone; --without polygons leaves them out")
    base = _base_of([row.image_id for row in rows])
    home = f"{base}JPEGImages/"
    places = [Place(row.image_id, row.image_id if row.image_id.startswith(home) else home + row.image_id) for row in rows]
    stems = [place.path.removeprefix(home).rpartition(".")[0] for place in places]
    twice = next((key for key, count in Counter(key_of(place.path, _FOLDERS) for place in places).items() if count > 1), None)
    if twice:
        raise DataError(f"two images would have the annotations {twice}.xml; rename one of them")
    write_images(dataset, places, out)
    segmentation, out = dataset.info.task == "segmentation", out / base
    _write_labelmap(classes, segmentation, out / "labelmap.txt")
    sets: dict[str, list[str]] = {}
    for index, (row, stem) in enumerate(zip(rows, stems, strict=True)):
        if row.split:
            sets.setdefault(row.split, []).append(stem)
        if row.boxes is not None:
            path = out / "Annotations" / f"{stem}.xml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(_xml_of(row, places[index].path, dataset.info.name)), encoding="utf-8")
        if (mask := dataset.mask(index) if row.has_mask else None) is not None:
            path = out / "SegmentationClass" / f"{stem}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(mask_png(mask))
    for split, names in sets.items():
        path = out / "ImageSets" / ("Segmentation" if segmentation else "Main") / f"{split}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def _base_of(image_ids: Sequence[str]) -> str:
    """Return the folders before JPEGImages where all ids have the same, such as VOCdevkit/VOC2012/."""
    before = {image_id.partition("JPEGImages/")[0] if f"/{image_id}".find("/JPEGImages/") >= 0 else None for image_id in image_ids}
    only = before.pop() if len(before) == 1 else None
    return only or ""


def _write_labelmap(classes: Sequence[str], segmentation: bool, path: Path) -> None:
    """Write the classes in order with VOC's colours; masks need theirs from index 0 on, boxes leave 0 to the background."""
    names = list(classes) if segmentation else ["background", *classes]
    lines = [f"{name}:{','.join(map(str, VOC_COLOURS[index % IGNORE]))}::" for index, name in enumerate(names)]
    path.write_text("\n".join(["# label:color_rgb:parts:actions", *lines, f"ignored:{','.join(map(str, _IGNORED))}::"]) + "\n", encoding="utf-8")


def _xml_of(row: Row, path: str, database: str) -> Iterator[str]:
    folder, _, own = path.rpartition("/")
    yield "<annotation>"
    yield f"  <folder>{escape(folder)}</folder>"
    yield f"  <filename>{escape(own)}</filename>"
    yield f"  <source><database>{escape(database)}</database><annotation>PASCAL VOC</annotation></source>"
    yield f"  <size><width>{row.width}</width><height>{row.height}</height></size>"
    yield f"  <segmented>{int(row.has_mask)}</segmented>"
    for (x0, y0, x1, y1), label, ignore in zip(row.boxes or [], row.labels, row.ignore, strict=True):
        corners = {"xmin": x0 + 1, "ymin": y0 + 1, "xmax": x1, "ymax": y1}
        box = "".join(f"<{name}>{_plain(value)}</{name}>" for name, value in corners.items())
        yield f"  <object><name>{escape(label)}</name><difficult>{int(ignore)}</difficult><bndbox>{box}</bndbox></object>"
    yield "</annotation>\n"


def _plain(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


plugin = Voc()
