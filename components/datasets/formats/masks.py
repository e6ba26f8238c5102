"""Masks: an image a.jpg in a folder `images`, its mask a.png in a folder `masks`, and a table of the classes.

A mask has the upright image's size; a pixel is judged as a whole, so there is no question of edges or centres. It is indexed (a number a pixel;
255: not judged, unless the table names it) or coloured. The table is classes.csv, classes.json, dataset_meta.json (Datumaro's), labelmap.txt
(CVAT's), or a YAML with `classes`; `parse_table` says what each may hold. COCO's category ids with their gaps are such indices. Without a table
masks have to be binary, 0 and one of 1 and 255: `background` and `foreground`.

The folders may be called images, image, imgs, img and masks, mask, labels, label, annotations, segmentation, gt, with folders of splits above or
below them. An image without a mask is not annotated.
"""

from __future__ import annotations

import csv
import posixpath
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from components.datasets.annotations import Mask, mask_png
from components.datasets.class_table import ClassTable, indexed_mask, open_mask, parse_table, pixels_of
from components.datasets.dataset import Dataset
from components.datasets.export_rows import Place, check_splits, row_cells, write_images
from components.datasets.parsing import read_annotation
from components.datasets.reading import Entry, is_image, key_of, read_images, split_in
from components.errors import DataError
from components.protocols import Quarantined, Reading, Source

_IMAGES = {"images", "image", "imgs", "img"}
_MASKS = {"masks", "mask", "labels", "label", "annotations", "annotation", "segmentation", "segmentations", "gt"}
_FOLDERS = _IMAGES | _MASKS
_TABLES = ("classes.csv", "classes.json", "dataset_meta.json", "labelmap.txt", "classes.yaml", "classes.yml", "config.yaml")
_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".gif")
BINARY = ["background", "foreground"]


class Masks:
    """An image and a mask of the same name."""

    name = "masks"
    tasks = ("segmentation",)

    def matches(self, source: Source) -> bool:
        """Tell whether images have masks of the same name, and no other layout's annotations are there."""
        names = source.files()
        foreign = (".xml", ".json", ".txt", ".csv", ".parquet", ".yaml", ".yml")
        if any(name.lower().endswith(foreign) and posixpath.basename(name).lower() not in (*_TABLES, "readme.txt") for name in names):
            return False
        masks = {key_of(name, _FOLDERS) for name in names if _is_mask(name)}
        return any(key_of(name, _FOLDERS) in masks for name in names if is_image(name) and not _is_mask(name))

    def read(self, source: Source, task: str | None) -> Reading:  # noqa: ARG002 - masks serve one task
        """Read the table of classes and pair images with masks.

        Raises:
            DataError: There are no masks, or the table is not what it has to be.
        """
        masks = {key_of(name, _FOLDERS): name for name in source.files() if _is_mask(name)}
        images = [name for name in source.files() if is_image(name) and not _is_mask(name)]
        if not masks:
            raise DataError(f"{source.uri}: found no masks; expected masks/NAME.png for images/NAME.jpg, and a table of classes, classes.csv")
        table = _table_of(source)
        classes = table.classes if table else list(BINARY)
        entries = []
        for image in images:
            mask = masks.pop(key_of(image, _FOLDERS), None)
            split = split_in(image)
            finish = partial(_finish, source, mask, table) if mask else None
            entries.append(Entry(image, {"split": split} if split else {}, finish=finish))
        lost = [Quarantined(mask, "a mask without an image") for mask in masks.values()]
        return Reading("segmentation", classes, read_images(source, entries, lost), len(entries) + len(lost))

    def write(self, dataset: Dataset, out: Path) -> None:
        """Write images/[SPLIT/]ID, masks/[SPLIT/]ID.png (indexed, with colours to look at) and classes.csv.

        Raises:
            DataError: There are boxes, which masks have no place for, or two images differ by suffix alone.
        """
        _write(dataset, out)


def _is_mask(name: str) -> bool:
    return name.lower().endswith(_SUFFIXES) and any(folder.lower() in _MASKS for folder in name.split("/")[:-1])


def _table_of(source: Source) -> ClassTable | None:
    for name in sorted(source.files(), key=lambda name: name.count("/")):
        own = posixpath.basename(name).lower()
        if own in _TABLES and not any(folder.lower() in _FOLDERS for folder in name.split("/")[:-1]):
            return parse_table(read_annotation(source, name), name)
    return None


def _finish(source: Source, mask: str, table: ClassTable | None, size_hw: tuple[int, int]) -> tuple[Mapping[str, Any], Mask]:
    content = source.read(mask)
    if table:
        return {}, indexed_mask(content, mask, table, table.classes, size_hw)
    pixels = pixels_of(open_mask(content, mask, size_hw), mask)
    pixels = pixels if pixels.ndim == 2 else pixels.max(axis=2)
    values = np.unique(pixels).tolist()
    if len(set(values) | {0}) > 2 or max(values) not in (0, 1, 255):
        shown = ", ".join(map(str, values[:5])) + (" …" if len(values) > 5 else "")
        raise DataError(f"the mask {mask} holds {shown}; without a table of classes (classes.csv: name, index) expected 0 and 255")
    return {}, (pixels > 0).astype(np.uint8)


def _write(dataset: Dataset, out: Path) -> None:
    rows = list(row_cells(dataset))
    check_splits(rows)
    if any(row.boxes is not None for row in rows):
        raise DataError("there are boxes, and masks have no place for them; --without boxes leaves them (and their outlines) out")
    places = [Place(row.image_id, _path_of(row.image_id, row.split)) for row in rows]
    keys = [key_of(place.path, _FOLDERS) for place in places]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise DataError(f"two images would have the mask masks/{twice}.png; rename one of them")
    write_images(dataset, places, out)
    for index, (row, key) in enumerate(zip(rows, keys, strict=True)):
        if (mask := dataset.mask(index) if row.has_mask else None) is not None:
            path = out / "masks" / f"{key}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(mask_png(mask))
    with (out / "classes.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["name", "index"])
        writer.writerows((name, index) for index, name in enumerate(dataset.info.classes))


def _path_of(image_id: str, split: str | None) -> str:
    """Return an image's path: its own where it says the split and begins with `images`, else below images/SPLIT."""
    below = image_id.startswith("images/") and not _is_mask(image_id)
    if below and split_in(image_id) == split:
        return image_id
    return "/".join(["images", *([split] if split else []), image_id])


plugin = Masks()
