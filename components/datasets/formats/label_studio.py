"""Label Studio's JSON export: a list of tasks with rectangles, polygons, ellipses, brushes and choices.

x, y, width and height are percent of the upright image's size, as edges; x, y is the upper left corner before `rotation`, which turns clockwise
about that corner, in degrees (labelstud.io/tags/rectanglelabels): on an image of 200 pixels x = 10, width = 25 is 20 to 70. A rotated rectangle
becomes the outline of its corners, and their bounds. Ellipses are their centre and radii in percent; a brush is a packed RGBA picture whose alpha
says which pixels. Choices are the label of the whole image.

Of several annotations of a task the ground truth is taken, else the one changed last; cancelled ones and predictions are not. A task without an
annotation is not annotated; one whose annotation has no result has nothing on it. The image is the file that the data's path or address ends
with, with or without the eight letters that Label Studio puts before an upload's name. The split is a folder's. Classes are sorted. Key points and
others are left out, and counted in the log. The export JSON-MIN, which leaves out what is a label and which annotation counts, is refused.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Required
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from components.datasets.annotations import Mask
from components.datasets.objects import Objects, with_background
from components.datasets.parsing import check_classes, first_bytes, parse_json, read_annotation
from components.datasets.reading import Entry, Files, is_image, read_images, split_in
from components.datasets.run_lengths import rle_pack_pixels
from components.datasets.shapes import box_of_ellipse, region_of_ellipse, rotated_box
from components.errors import DataError
from components.protocols import Quarantined, Reading, Source

log = logging.getLogger(__name__)

_FINITE = ConfigDict(allow_inf_nan=False)


class _Value(TypedDict, total=False):
    __pydantic_config__ = _FINITE  # type: ignore[misc]
    x: float
    y: float
    width: float
    height: float
    rotation: float | None
    points: list[tuple[float, float]]
    radiusX: float
    radiusY: float
    rle: list[int]
    choices: list[str]
    labels: list[str]
    rectanglelabels: list[str]
    polygonlabels: list[str]
    ellipselabels: list[str]
    brushlabels: list[str]


class _Result(TypedDict, total=False):
    type: Required[str]
    value: dict[str, Any]
    original_width: int | None
    original_height: int | None


class _Annotation(TypedDict, total=False):
    result: list[_Result] | None
    was_cancelled: bool | None
    ground_truth: bool | None
    updated_at: str | None


class _Task(TypedDict, total=False):
    data: Required[dict[str, Any]]
    annotations: list[_Annotation]
    completions: list[_Annotation]
    file_upload: str | None


_SHAPE: TypeAdapter[list[_Task]] = TypeAdapter(list[_Task])
_VALUE = TypeAdapter(_Value)
_OBJECTS = ("rectanglelabels", "polygonlabels", "ellipselabels", "brushlabels")
_BEGINNING = 100_000
_ATTRIBUTES = {"textarea", "rating", "taxonomy", "number", "pairwise", "datetime"}


@dataclass
class _Record:
    split: str | None
    size_hw: tuple[int, int] | None = None
    annotated: bool = False
    objects: list[tuple[str, str, _Value]] = field(default_factory=list)
    choices: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


class LabelStudio:
    """A list of tasks."""

    name = "label_studio"
    tasks = ("detection", "segmentation", "classification")

    def matches(self, source: Source) -> bool:
        """Tell whether the first JSON is a list of tasks with data and annotations, or of what JSON-MIN makes of them."""
        start = first_bytes(source, source.files(), ".json")
        if start is None or start.lstrip()[:1] != b"[":
            return False
        return _is_min(start) or ((b'"annotations"' in start or b'"completions"' in start) and b'"result"' in start)

    def read(self, source: Source, task: str | None) -> Reading:
        """Read the JSON files; the task is detection where there are objects, else classification by choices.

        Raises:
            DataError: There is none, or one is no list of tasks.
        """
        files = Files(name for name in source.files() if is_image(name))
        records: dict[str, _Record] = {}
        bad: dict[str, Quarantined] = {}
        lost: list[Quarantined] = []
        named = [name for name in source.files() if name.lower().endswith(".json")]
        for name in named:
            content = read_annotation(source, name)
            if _is_min(content[:_BEGINNING]):
                raise DataError(f"{name} is Label Studio's export JSON-MIN, which does not say what is a label; expected its export JSON")
            tasks: list[_Task] = parse_json(content, name, _SHAPE)
            for number, item in enumerate(tasks):
                file = None
                try:
                    file = _find(files, item, name)
                    if file in records or file in bad:
                        raise DataError(f"{name}: the task at {number} is of {file}, which has a task already")
                    records[file] = _record_of(item, split_in(file))
                except DataError as error:
                    if file and file not in records:
                        bad[file] = Quarantined(file, f"{name}: {error}")
                    else:
                        lost.append(Quarantined(f"{name}#{number}", str(error)))
        if not named:
            raise DataError(f"{source.uri}: found no JSON; expected the JSON export of Label Studio, a list of tasks")
        total = sum((record.left_out for record in records.values()), Counter[str]())
        for kind, count in total.items():
            log.warning("%d results '%s' of %s are left out: a manifest has no place for them", count, kind, source.uri)
        chosen = any(record.choices for record in records.values())
        task = task or ("detection" if any(record.objects for record in records.values()) or not chosen else "classification")
        by_choice = task == "classification"
        used = {label for record in records.values() for label in (record.choices if by_choice else [label for _, label, _ in record.objects])}
        classes = check_classes(sorted(used), source.uri)
        classes = with_background(classes) if task == "segmentation" else classes
        entries = []
        for file in files:
            if file not in bad:
                entries.append(_entry(file, records.get(file) or _Record(split_in(file)), task, classes))
        return Reading(task, classes, read_images(source, entries, bad.values(), lost), len(entries) + len(bad) + len(lost))


def _is_min(start: bytes) -> bool:
    return b'"annotation_id"' in start and b'"annotator"' in start and b'"annotations"' not in start


def _find(files: Files, item: _Task, name: str) -> str:
    """Return the image of a task, by any text of its data that ends with an image's name."""
    texts = [value for value in item["data"].values() if isinstance(value, str)]
    error: DataError | None = None
    for text in [*texts, item.get("file_upload") or ""]:
        try:
            parts = urlsplit(text)
            path = unquote(parse_qs(parts.query).get("d", [parts.path])[0]).lstrip("/")
        except ValueError:
            continue
        for called in (path, path.rpartition("/")[2], re.sub(r"^[0-9a-f]{8}-", "", path.rpartition("/")[2])):
            try:
                if called:
                    return files.find(called, name)
            except DataError as found:
                error = error or found
    raise error or DataError(f"{name}: a task whose data names no image")


def _record_of(item: _Task, split: str | None) -> _Record:
    record = _Record(split)
    given = [found for found in item.get("annotations", item.get("completions", [])) if not found.get("was_cancelled")]
    if not given:
        return record
    record.annotated = True
    chosen = max(given, key=lambda found: (bool(found.get("ground_truth")), found.get("updated_at") or ""))
    for result in chosen.get("result") or []:
        kind = result["type"]
        if kind == "choices":
            record.choices += _value(result).get("choices", [])
        elif kind in _OBJECTS:
            value = _value(result)
            labels: list[str] = dict[str, Any](value).get(kind) or value.get("labels") or []
            if len(labels) != 1:
                raise DataError(f"an object with {len(labels)} labels; expected one")
            record.objects.append((kind, labels[0], value))
            height, width = result.get("original_height"), result.get("original_width")
            record.size_hw = (height, width) if height and width else record.size_hw
        elif kind not in _ATTRIBUTES:
            record.left_out[kind] += 1
    return record


def _value(result: _Result) -> _Value:
    try:
        return _VALUE.validate_python(result.get("value", {}))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise DataError(f"a result of type {result['type'][:40]}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _entry(file: str, record: _Record, task: str, classes: list[str]) -> Entry:
    row: dict[str, Any] = {"split": record.split} if record.split else {}
    if task == "classification":
        labels = list(dict.fromkeys(record.choices))
        return Entry(file, row | ({"label": labels[0]} if labels else {}), finish=partial(_refuse, labels) if len(labels) > 1 else None)
    finish = partial(_finish, record.objects, classes if task == "segmentation" else None) if record.annotated else None
    return Entry(file, row, size_hw=record.size_hw, finish=finish)


def _refuse(labels: list[str], _size_hw: tuple[int, int]) -> tuple[Mapping[str, Any], None]:
    raise DataError(f"it is called {' and '.join(labels)}; expected one label an image")


def _finish(given: list[tuple[str, str, _Value]], classes: list[str] | None, size_hw: tuple[int, int]) -> tuple[Mapping[str, Any], Mask | None]:
    objects = Objects()
    for kind, label, value in given:
        try:
            _add(objects, kind, label, value, size_hw)
        except KeyError as error:
            raise DataError(f"a {kind} '{label}' lacks {error}") from None
    return objects.row(), objects.mask(classes, size_hw) if classes else None


def _add(objects: Objects, kind: str, label: str, value: _Value, size_hw: tuple[int, int]) -> None:
    height, width = size_hw
    degrees = value.get("rotation") or 0.0
    if kind == "polygonlabels":
        objects.add(label, None, [[part / 100 * side for point in value["points"] for part, side in zip(point, (width, height), strict=True)]])
    elif kind == "brushlabels":
        alpha = rle_pack_pixels(value["rle"], 4 * height * width).reshape(height, width, 4)[..., 3] > 0
        ys, xs = np.nonzero(alpha)
        box = [float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1)] if len(xs) else [0.0, 0.0, 0.0, 0.0]
        objects.add(label, box, region=lambda _size_hw: alpha)
    elif kind == "ellipselabels":
        x, y, rx, ry = (value[name] / 100 * side for name, side in _sides(("x", "y", "radiusX", "radiusY"), size_hw))  # type: ignore[literal-required]
        objects.add(label, box_of_ellipse((x, y), (rx, ry), degrees), region=partial(region_of_ellipse, (x, y), (rx, ry), degrees))
    else:
        x, y, w, h = (value[name] / 100 * side for name, side in _sides(("x", "y", "width", "height"), size_hw))  # type: ignore[literal-required]
        if degrees:
            objects.add(label, None, [rotated_box([x, y, x + w, y + h], (x, y), degrees)])
        else:
            objects.add(label, [x, y, x + w, y + h])


def _sides(names: tuple[str, ...], size_hw: tuple[int, int]) -> list[tuple[str, int]]:
    return [(name, size_hw[1 - place % 2]) for place, name in enumerate(names)]


plugin = LabelStudio()
