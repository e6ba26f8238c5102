"""COCO: one JSON a split with images, categories and annotations; instances, panoptic, or labels alone.

Boxes are [x, y, width, height] in pixels from the image's upper left edge, 0-based, with fractions: the pixel at column 0 alone is x = 0,
width = 1 (cocodataset.org, format-data). Polygons are rings [x0, y0, x1, y1, …] in the same coordinates; their pixels are those that COCO's own
API draws. Run lengths (a list or compressed text) go down the columns. A panoptic PNG holds R + 256·G + 256²·B, the id of the segment; 0 is no
segment: not labelled. `iscrowd` objects are to be ignored, also where masks are drawn; a panoptic crowd is of its class. All refer to the
upright image.

An image that an instances file lists without annotations has nothing on it: COCO counts such images. One that only an image_info file lists, or
that no file lists, is not annotated. The split is a word of the JSON's name (instances_train2017.json), or a folder's. Classes stand in the order
in which the files list the categories; ids may have gaps. Masks for --task segmentation: panoptic ones where there are, else drawn from outlines.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from components.datasets.annotations import IGNORE, Mask
from components.datasets.dataset import Dataset
from components.datasets.formats._coco_json import SHAPE, CocoAnnotation, CocoFile, Id
from components.datasets.formats._coco_writing import write_coco
from components.datasets.objects import Finish, Objects, finish_with_mask, with_background
from components.datasets.parsing import check_classes, first_bytes, parse_json, read_annotation
from components.datasets.reading import Entry, Files, is_image, read_images, split_in
from components.datasets.run_lengths import coco_box, coco_counts, coco_region
from components.errors import DataError
from components.protocols import Quarantined, Reading, Source

log = logging.getLogger(__name__)

#: What the first word of a JSON's name says is in it; `captions` has nothing that is read.
_KINDS = ("instances", "panoptic", "person_keypoints", "labels", "stuff", "image_info", "captions")
_EXPECTED = "expected an object with the lists images, annotations and categories"


@dataclass
class _Record:
    """What the files say of one image."""

    split: str | None = None
    size_hw: tuple[int, int] | None = None
    listed_in: dict[str, str] = field(default_factory=dict)
    objects: Objects | None = None
    labels: list[str] = field(default_factory=list)
    panoptic: tuple[str, dict[int, str]] | None = None
    wrong: str | None = None


class Coco:
    """One JSON a split."""

    name = "coco"
    tasks = ("detection", "segmentation", "classification")

    def matches(self, source: Source) -> bool:
        """Tell whether a JSON bears a name that COCO's files bear, or the only kind of JSON there is begins like one."""
        names = _annotation_files(source)
        if any(name.lower().endswith("_annotations.coco.json") or _kind(name) for name in names):
            return True
        start = first_bytes(source, names, ".json") if len(names) <= 3 else None
        return start is not None and start.lstrip()[:1] == b"{" and b'"images"' in start and b'"shapes"' not in start

    def read(self, source: Source, task: str | None) -> Reading:
        """Read the JSON files; the task is detection where there are boxes, else segmentation, else classification.

        Raises:
            DataError: There is none, one is not COCO's, or they say nothing for the task.
        """
        files = {name: parse_json(read_annotation(source, name), name, SHAPE) for name in _chosen(_annotation_files(source), task)}
        if not files:
            raise DataError(f"{source.uri}: found no COCO JSON; {_EXPECTED}")
        forms = {name: _form(name, content) for name, content in files.items()}
        task = task or next((task for task, form in zip(self.tasks, ("objects", "panoptic", "labels"), strict=True) if form in forms.values()), None)
        used = {"detection": ("objects",), "segmentation": ("panoptic", "objects"), "classification": ("labels",)}.get(task or "", ())
        if task is None or not any(form in used for form in forms.values()):
            found = ", ".join(f"{name}: {form}" for name, form in forms.items())
            raise DataError(f"{source.uri}: nothing is annotated for {task or 'any task'} ({found}); {_EXPECTED}")
        files = {name: content for name, content in files.items() if forms[name] in (*used, "images alone")}
        classes = check_classes((category["name"] for content in files.values() for category in content.get("categories", [])), source.uri)
        images = _images_of(source, forms)
        records: dict[str, _Record] = {}
        lost: list[Quarantined] = []
        for name, content in files.items():
            lost += _gather(name, content, forms[name], images, records)
        if task == "segmentation" and any(record.objects and not record.panoptic for record in records.values()):
            classes = with_background(classes)
        _log_lost_outlines(task, records.values())
        pngs = Files(name for name in source.files() if name.lower().endswith(".png"))
        bad = [Quarantined(file, record.wrong) for file, record in records.items() if record.wrong]
        unlisted = [Entry(file, {"split": split} if (split := split_in(file)) else {}) for file in images if file not in records]
        entries = [_entry(source, pngs, file, record, task, classes) for file, record in records.items() if not record.wrong] + unlisted
        if unlisted:
            log.info("%d images of %s are in no COCO file: taken as not annotated", len(unlisted), source.uri)
        return Reading(task, classes, read_images(source, entries, bad, lost), len(entries) + len(bad) + len(lost))

    def write(self, dataset: Dataset, out: Path) -> None:
        """Write images at their ids, and annotations/KIND_SPLIT.json; a class's category id is its index + 1.

        Raises:
            DataError: A split is none of train, val and test, or an id is no name for a file.
        """
        write_coco(dataset, out)


def _annotation_files(source: Source) -> list[str]:
    return [name for name in source.files() if name.lower().endswith(".json")]


def _kind(name: str) -> str | None:
    own = PurePosixPath(name).stem.lower()
    return next((kind for kind in _KINDS if own == kind or own.startswith((f"{kind}_", f"{kind}-"))), None)


def _chosen(names: list[str], task: str | None) -> list[str]:
    """Return the files to parse: COCO's folder of annotations says the same in several, and captions besides."""
    kinds = {name: _kind(name) or "instances" for name in names}
    given = set(kinds.values())
    objects = next((kind for kind in ("instances", "person_keypoints", "stuff") if kind in given), None)
    labels = "labels" if "labels" in given else "instances"
    by_task: dict[str, set[str | None]] = {"detection": {objects}, "segmentation": {objects, "panoptic"}, "classification": {labels}}
    best = next((kind for kind in (objects, "panoptic", "labels") if kind in given), None)
    wanted = by_task[task] if task else {best}
    return [name for name, kind in kinds.items() if kind in wanted or kind == "image_info"]


def _form(name: str, content: CocoFile) -> str:
    annotations = content.get("annotations", [])
    if any("segments_info" in annotation for annotation in annotations):
        return "panoptic"
    if any(annotation.get("bbox") is not None or annotation.get("segmentation") is not None for annotation in annotations):
        return "objects"
    if annotations:
        return "labels"
    return {"image_info": "images alone", "panoptic": "panoptic", "labels": "labels"}.get(_kind(name) or "", "objects")


def _images_of(source: Source, forms: Mapping[str, str]) -> Files:
    """Return the images of the source without the PNGs that hold panoptic segments."""
    stems = {PurePosixPath(name).stem for name, form in forms.items() if form == "panoptic"}
    stems |= {PurePosixPath(name).stem for name in _annotation_files(source) if _kind(name) == "panoptic"}
    return Files(name for name in source.files() if is_image(name) and not stems.intersection(name.split("/")[:-1]))


def _gather(name: str, content: CocoFile, form: str, images: Files, records: dict[str, _Record]) -> Iterator[Quarantined]:
    """Add what a file says to the records by image; yield what has no image."""
    split = split_in(name, words=True)
    categories: dict[int, str] = {category["id"]: category["name"] for category in content.get("categories", [])}
    by_id: dict[Id, _Record | None] = {}
    for listed in content["images"]:
        if listed["id"] in by_id:
            raise DataError(f"{name}: the image id {_said(listed['id'])} comes twice; expected one for each image")
        by_id[listed["id"]] = None
        try:
            file = images.find(listed["file_name"], name, split)
        except DataError as error:
            yield Quarantined(listed["file_name"], str(error))
            continue
        record = records.setdefault(file, _Record(split or split_in(file)))
        if form in record.listed_in:
            raise DataError(f"{file} is listed in {record.listed_in[form]} and again in {name}; expected each image once")
        record.listed_in[form] = name
        record.size_hw = (listed.get("height") or 0, listed.get("width") or 0)
        if form == "objects":
            record.objects = Objects()
        by_id[listed["id"]] = record
    homeless: dict[Id, int] = {}
    for annotation in content.get("annotations", []):
        if annotation["image_id"] not in by_id:
            homeless[annotation["image_id"]] = homeless.get(annotation["image_id"], 0) + 1
        elif (found := by_id[annotation["image_id"]]) and not found.wrong:
            try:
                _add(found, annotation, form, categories)
            except DataError as error:
                found.wrong = f"{name}: {error}"
    for image_id, count in homeless.items():
        yield Quarantined(f"{name}#{_said(image_id)}", f"{count} annotations of an image id that {name} does not list")


def _add(record: _Record, annotation: CocoAnnotation, form: str, categories: Mapping[int, str]) -> None:
    def label_of(category: int | None) -> str:
        if category is None or category not in categories:
            raise DataError(f"category {_said(category)} is not among the categories")
        return categories[category]

    if form == "panoptic":
        segments = {part["id"]: label_of(part["category_id"]) for part in annotation.get("segments_info", [])}
        record.panoptic = (annotation.get("file_name", ""), segments)
    elif form == "labels":
        record.labels.append(label_of(annotation.get("category_id")))
    elif record.objects is not None:
        bbox, outline = annotation.get("bbox"), annotation.get("segmentation")
        box = None
        if bbox:
            if len(bbox) != 4:
                raise DataError(f"a bbox has {len(bbox)} numbers; expected x, y, width, height")
            box = [bbox[0], bbox[1], bbox[0] + bbox[2], bbox[1] + bbox[3]]
        region = None
        if isinstance(outline, dict):
            counts = coco_counts(outline["counts"])
            box = box or coco_box(counts, outline["size"])
            region = partial(coco_region, counts)
        rings = outline if isinstance(outline, list) else ()
        record.objects.add(label_of(annotation.get("category_id")), box, rings, bool(annotation.get("iscrowd")), region)


def _entry(source: Source, pngs: Files, file: str, record: _Record, task: str, classes: list[str]) -> Entry:
    row: dict[str, Any] = {"split": record.split} if record.split else {}
    finish: Finish | None = None
    if record.objects is not None:
        row |= record.objects.row()
    if task == "classification" and record.labels:
        row["label"] = record.labels[0]
        if len(set(record.labels)) > 1:
            names = " and ".join(dict.fromkeys(record.labels))
            return Entry(file, row, finish=partial(_refuse, f"it is labelled {names}; expected one label an image"))
    if task == "segmentation" and record.panoptic:
        png, segments = record.panoptic
        places = {segment: classes.index(label) for segment, label in segments.items()}
        finish = partial(_panoptic_mask, source, pngs, png, record.listed_in["panoptic"], places)
    elif task == "segmentation" and record.objects is not None:
        finish = finish_with_mask(record.objects, classes)
    size = record.size_hw if record.size_hw and all(record.size_hw) else None
    return Entry(file, row, size_hw=size, finish=finish)


def _refuse(reason: str, _size_hw: tuple[int, int]) -> tuple[Mapping[str, Any], None]:
    raise DataError(reason)


def _panoptic_mask(
    source: Source, pngs: Files, png: str, annotations: str, places: Mapping[int, int], size_hw: tuple[int, int]
) -> tuple[Mapping[str, Any], Mask | None]:
    file = pngs.find(png, annotations.removesuffix(".json") + "/-")
    try:
        image = Image.open(io.BytesIO(source.read(file)), formats=("PNG",))
        if image.size != size_hw[::-1]:
            raise DataError(f"{file} has {image.size[0]}×{image.size[1]} pixels, the upright image {size_hw[1]}×{size_hw[0]}")
        pixels = np.asarray(image.convert("RGB"), dtype=np.int64)
    except DataError:
        raise
    except Exception as error:  # Pillow's readers raise whatever they trip over
        raise DataError(f"{file} is damaged: {error}") from error
    found, inverse = np.unique(pixels @ np.array([1, 256, 256**2]), return_inverse=True)
    unknown = [segment for segment in found.tolist() if segment and segment not in places]
    if unknown:
        raise DataError(f"{file} has a segment {unknown[0]} that {annotations} does not list")
    table = np.array([places.get(segment, IGNORE) for segment in found.tolist()], dtype=np.uint8)
    return {}, table[inverse].reshape(size_hw)


def _log_lost_outlines(task: str, records: Iterable[_Record]) -> None:
    lost = sum(region is not None for record in records if record.objects for region in record.objects.regions)
    if lost and task == "detection":
        log.warning("%d outlines are run lengths: their boxes are taken; --task segmentation takes their pixels", lost)


def _said(identity: Any) -> str:
    return "that is huge" if isinstance(identity, int) and abs(identity) > 10**20 else str(identity)


plugin = Coco()
