"""YOLO: a text file an image, a line an object: CLASS X Y WIDTH HEIGHT, or CLASS and the points of an outline.

All numbers are shares of the upright image's width and height, as edges: the box's centre and size, or x0 y0 x1 y1 … of an outline of three or
more points (docs.ultralytics.com/datasets: "box coordinates must be in normalized xywh format, from 0 to 1"). A box is x0 = (X - WIDTH / 2) · w
and so on, so on an image of 640 pixels X = 0.5, WIDTH = 0.25 is 240 to 400. The box of an outline is its bounds. A rotated box (OBB: CLASS and
its four corners) is such an outline; CLASS X Y WIDTH HEIGHT and an angle, or a confidence, is refused: the sixth number does not say what it is.

An image a.jpg has its lines in a.txt beside it, or in the folder `labels` (or `annotations`) where the image is in `images`. One without a file,
or with an empty one, has nothing on it (the same documents: "if no objects in an image, no *.txt file is required"); where the YAML says
skip_if_label_file_missing, one without a file is not annotated. Class names and their order come from a YAML with `names`, or from classes.txt,
obj.names and the like, a name a line; without any the classes are called by their numbers. The split is what the YAML (or obj.data) says of train,
val and test; lists of files say all there is to say, else a folder's name may tell.
"""

from __future__ import annotations

import io
import logging
import math
import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from components.datasets.annotations import Mask
from components.datasets.class_table import parse_yaml
from components.datasets.dataset import Dataset
from components.datasets.export_rows import SPLITS, Place, Row, check_splits, row_cells, write_images
from components.datasets.objects import Objects, with_background
from components.datasets.parsing import check_classes, read_annotation, read_annotations
from components.datasets.reading import Entry, Files, is_image, key_of, read_images, split_in, split_of
from components.errors import DataError
from components.protocols import Quarantined, Reading, Source

log = logging.getLogger(__name__)

_FOLDERS = {"images", "labels", "annotations"}
_NAMES = {"classes.txt", "classes.names", "obj.names", "coco.names", "labels.names", "predefined_classes.txt"}
_NO_LABELS = {"readme.txt", "notes.txt", "license.txt", "requirements.txt", "train.txt", "val.txt", "valid.txt", "test.txt", "autosplit.txt"} | _NAMES
#: A line is an object: the class and shares of the image's size.
Line = tuple[int, tuple[float, ...]]


class Yolo:
    """A text file an image."""

    name = "yolo"
    tasks = ("detection", "segmentation")

    def matches(self, source: Source) -> bool:
        """Tell whether images have text files of their own, the first of which holds YOLO's lines."""
        names = source.files()
        keys = {key_of(name, _FOLDERS) for name in names if is_image(name)}
        texts = [name for name in names if _is_label(name) and key_of(name, _FOLDERS) in keys]
        try:
            return any(_is_line(source.read(name)) for name in texts[:3])
        except DataError:
            return False

    def read(self, source: Source, task: str | None) -> Reading:
        """Read the names, the lists of the splits, and all text files.

        Raises:
            DataError: There is no text file of an image, or the names are not what they have to be.
        """
        files = Files(name for name in source.files() if is_image(name))
        texts = [name for name in source.files() if _is_label(name)]
        keys = {key_of(name, _FOLDERS): name for name in files}
        said = _configuration(source, files)
        lines: dict[str, list[Line]] = {}
        bad: dict[str, Quarantined] = {}
        lost: list[Quarantined] = []
        for name, content in read_annotations(source, texts):
            key = key_of(name, _FOLDERS)
            if key not in keys:
                if {folder.lower() for folder in name.split("/")[:-1]} & {"labels", "annotations"}:
                    lost.append(Quarantined(name, "labels without an image"))
                continue
            try:
                lines[key] = _parse(content, name)
                _check_numbers(lines[key], said.names, name)
            except DataError as error:
                bad[key] = Quarantined(keys[key], str(error))
        if not lines and not bad:
            raise DataError(f"{source.uri}: found no text file of an image; expected labels/NAME.txt for images/NAME.jpg, or NAME.txt beside it")
        names = said.names or {index: str(index) for index in range(1 + max((number for found in lines.values() for number, _ in found), default=0))}
        task = task or "detection"
        classes = check_classes((names[index] for index in sorted(names)), source.uri)
        classes = with_background(classes) if task == "segmentation" else classes
        entries = []
        for file in files:
            key = key_of(file, _FOLDERS)
            if key not in bad:
                split = split_in(file) if said.splits is None else said.splits.get(file)
                known = key in lines or not said.missing_is_unknown
                finish = partial(_finish, lines.get(key, []), names, classes if task == "segmentation" else None) if known else None
                entries.append(Entry(file, {"split": split} if split else {}, finish=finish))
        empty = sum(key_of(file, _FOLDERS) not in lines and key_of(file, _FOLDERS) not in bad for file in files)
        if empty:
            taken = "not annotated" if said.missing_is_unknown else "images with nothing on them"
            log.info("%d images of %s have no text file: taken as %s", empty, source.uri, taken)
        return Reading(task, classes, read_images(source, entries, bad.values(), lost), len(entries) + len(bad) + len(lost))

    def write(self, dataset: Dataset, out: Path) -> None:
        """Write images/ID, labels/ID.txt, data.yaml, and a list of the images of each split.

        Raises:
            DataError: Something is said that this layout has no place for: flags to ignore, masks or several rings of an object, outlines of
                some objects alone, images that nobody has annotated.
        """
        _write(dataset, out)


def _is_label(name: str) -> bool:
    return name.lower().endswith(".txt") and posixpath.basename(name).lower() not in _NO_LABELS


def _is_line(content: bytes) -> bool:
    """Tell whether a text begins with a line of YOLO's, be it a wrong one: a class's number, and four numbers or more."""
    words = content.decode("utf-8-sig", "replace").strip().partition("\n")[0].split()
    try:
        return len(words) > 4 and float(words[0]).is_integer() and all(map(math.isfinite, map(float, words)))
    except (ValueError, OverflowError):
        return False


def _parse(content: bytes | DataError, name: str) -> list[Line]:
    if isinstance(content, DataError):
        raise content
    lines: list[Line] = []
    for number, line in enumerate(content.decode("utf-8-sig", "replace").splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            label, values = float(words[0]), tuple(map(float, words[1:]))
        except ValueError:
            raise DataError(f"{name}: line {number} is {line[:60]!r}; expected numbers") from None
        if not label.is_integer() or not 0 <= label < 2**31 or not all(map(math.isfinite, values)):
            raise DataError(f"{name}: line {number} is {line[:60]!r}; expected a class's number first, and numbers that are finite")
        if len(values) != 4 and (len(values) < 6 or len(values) % 2):
            raise DataError(
                f"{name}: line {number} has {len(words)} numbers; expected 5 (class, x, y, width, height), or a class and an outline. "
                "Of a rotated box give the class and its four corners; leave a confidence out"
            )
        lines.append((int(label), values))
    return lines


def _check_numbers(lines: Sequence[Line], names: Mapping[int, str] | None, name: str) -> None:
    highest = 100_000  # without names the classes are numbers; a larger one is no class
    wrong = next((number for number, _ in lines if (number not in names if names else number > highest)), None)
    if wrong is not None:
        raise DataError(f"{name}: class {wrong} has no name")


def _finish(
    lines: Sequence[Line], names: Mapping[int, str], classes: Sequence[str] | None, size_hw: tuple[int, int]
) -> tuple[Mapping[str, Any], Mask | None]:
    height, width = size_hw
    objects = Objects()
    for number, values in lines:
        if len(values) == 4:
            x, y, w, h = values
            objects.add(names[number], [(x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height])
        else:
            objects.add(names[number], None, [[value * (height if place % 2 else width) for place, value in enumerate(values)]])
    return objects.row(), objects.mask(classes, size_hw) if classes else None


@dataclass
class _Configuration:
    """What a YAML, obj.data and files of names say.

    Attributes:
        names: By number; None: none are given.
        splits: By image; None: nothing is said of splits.
        missing_is_unknown: Whether an image without a text file is not annotated.
    """

    names: dict[int, str] | None = None
    splits: dict[str, str] | None = None
    missing_is_unknown: bool = False


def _configuration(source: Source, files: Files) -> _Configuration:
    out = _Configuration()
    said: list[tuple[str, str]] = []
    for name in sorted(source.files(), key=lambda name: (name.count("/"), name)):
        own, folder = posixpath.basename(name).lower(), posixpath.dirname(name)
        if own.endswith((".yaml", ".yml")):
            found = parse_yaml(read_annotation(source, name), name)
            if isinstance(found, dict) and "names" in found and out.names is None:
                out.names = _names(found["names"], name)
                out.missing_is_unknown = found.get("skip_if_label_file_missing") is True
                root = posixpath.join(folder, str(found.get("path") or "").lstrip("/"))
                said += [(split, posixpath.join(root, where)) for key in SPLITS for split, where in _wheres(key, found.get(key))]
        elif own == "obj.data":
            lines = read_annotation(source, name).decode("utf-8", "replace").splitlines()
            pairs = [(key.strip(), value.strip()) for key, _, value in (line.partition("=") for line in lines)]
            said += [(split, posixpath.join(folder, where)) for key, value in pairs for split, where in _wheres(key, value)]
    for name in source.files():
        if out.names is None and posixpath.basename(name).lower() in _NAMES:
            lines = read_annotation(source, name).decode("utf-8-sig", "replace").rstrip().splitlines()
            out.names = _names([line.strip() for line in lines], name)
    out.splits = _splits(source, said, files)
    return out


def _wheres(key: str, value: Any) -> Iterator[tuple[str, str]]:
    split = split_of(key)
    for where in value if isinstance(value, list) else [value]:
        if split and isinstance(where, str) and where:
            yield split, where


def _splits(source: Source, said: Sequence[tuple[str, str]], files: Files) -> dict[str, str] | None:
    """Return the split of images by what is said of folders and lists, None where nothing is said."""
    texts = Files(name for name in source.files() if name.lower().endswith(".txt"))
    lists = [(split, text) for split, where in said if (text := _ending(where, texts))]
    out: dict[str, str] = {}
    for split, text in lists:
        for line in read_annotation(source, text).decode("utf-8", "replace").splitlines():
            if line.strip() and (image := _ending(line.strip(), files)):
                out.setdefault(image, split)
    for side, where in () if lists else said:
        parts = posixpath.normpath(where).split("/")
        prefixes = ["/".join(parts[start:]) + "/" for start in range(len(parts))]
        prefix = next((prefix for prefix in prefixes if any(file.startswith(prefix) for file in files)), None)
        for file in files if prefix else ():
            if prefix and file.startswith(prefix):
                out.setdefault(file, side)
    if out and not lists:
        out = {file: found for file in files if (found := out.get(file) or split_in(file))}
    return out if lists or out else None


def _ending(path: str, files: Files) -> str | None:
    """Return the file that a path means; it was written on another machine, so its beginning may be another."""
    parts = posixpath.normpath(path.replace("\\", "/")).split("/")
    return next((name for start in range(len(parts)) if (name := "/".join(parts[start:])) in files), None)


def _names(found: Any, name: str) -> dict[int, str]:
    try:
        names = {int(key): str(label) for key, label in (found.items() if isinstance(found, dict) else enumerate(found))}
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{name}: names is {str(found)[:60]!r}; expected a list of class names, or their numbers and names") from None
    if not names or isinstance(found, str) or min(names) < 0 or len(set(names.values())) < len(names):
        raise DataError(f"{name}: names is empty, or names a class twice; expected a name for each class")
    return names


def _write(dataset: Dataset, out: Path) -> None:
    rows = list(row_cells(dataset))
    check_splits(rows)
    places = [Place(row.image_id, row.image_id if _in_images(row.image_id) else f"images/{row.image_id}") for row in rows]
    texts = [_text_of(place.path) for place in places]
    twice = next((text for text, count in Counter(texts).items() if count > 1), None)
    if twice:
        raise DataError(f"two images would have their lines in {twice}; rename one of them")
    outlined = {bool(rings) for row in rows for rings in row.polygons}
    if len(outlined) > 1:
        raise DataError("some objects have outlines and others a box alone; YOLO can say one or the other. --without polygons leaves boxes alone")
    segmentation = dataset.info.task == "segmentation"
    classes = [name for name in dataset.info.classes if not (segmentation and name == "background")]
    write_images(dataset, places, out)
    for index, (row, text) in enumerate(zip(rows, texts, strict=True)):
        _check_row(row, segmentation, dataset.mask(index) if row.has_mask else None, dataset.info.classes)
        path = out / text
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(_lines_of(row, classes)), encoding="utf-8")
    configuration: dict[str, Any] = {"path": "."}
    for split in dict.fromkeys(["train", "val", *(row.split for row in rows)]):
        if split is not None:
            listed = "".join(f"./{place.path}\n" for row, place in zip(rows, places, strict=True) if row.split == split)
            (out / f"{split}.txt").write_text(listed, encoding="utf-8")
            configuration[split] = f"{split}.txt"
    buffer = io.StringIO()
    YAML().dump({**configuration, "names": dict(enumerate(classes))}, buffer)
    (out / "data.yaml").write_text(buffer.getvalue(), encoding="utf-8")


def _in_images(image_id: str) -> bool:
    return "images" in image_id.split("/")[:-1]


def _text_of(path: str) -> str:
    """Return the text file of an image: the last folder `images` becomes `labels`."""
    *folders, own = path.split("/")
    last = max(place for place, folder in enumerate(folders) if folder == "images")
    return "/".join([*folders[:last], "labels", *folders[last + 1 :], own.rpartition(".")[0] + ".txt"])


def _check_row(row: Row, segmentation: bool, mask: Mask | None, classes: list[str]) -> None:
    if row.boxes is None:
        raise DataError(f"{row.image_id} is not annotated; YOLO can say of an image alone what is on it, or that nothing is")
    if any(row.ignore):
        raise DataError(f"{row.image_id} has objects to be ignored; YOLO has no place for that. --without ignore makes them objects like others")
    if any(len(rings) > 1 for rings in row.polygons):
        raise DataError(f"{row.image_id} has an object of several rings; YOLO has a place for one. --without polygons leaves boxes alone")
    if mask is not None or segmentation:
        drawn = Objects()
        for box, label, rings in zip(row.boxes, row.labels, row.polygons, strict=True):
            drawn.add(label, box, rings)
        if not segmentation or mask is None or not np.array_equal(mask, drawn.mask(with_background(classes), (row.height, row.width))):
            raise DataError(f"{row.image_id} has a mask that is not what its outlines give; YOLO has outlines alone. --format masks writes masks")


def _lines_of(row: Row, classes: list[str]) -> Iterator[str]:
    numbers = {name: number for number, name in enumerate(classes)}
    for (x0, y0, x1, y1), label, rings in zip(row.boxes or [], row.labels, row.polygons, strict=True):
        if rings:
            values = [value / (row.height if place % 2 else row.width) for place, value in enumerate(rings[0])]
        else:
            values = [(x0 + x1) / 2 / row.width, (y0 + y1) / 2 / row.height, (x1 - x0) / row.width, (y1 - y0) / row.height]
        yield " ".join([str(numbers[label]), *map(repr, values)]) + "\n"


plugin = Yolo()
