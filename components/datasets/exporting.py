"""`darkroom data export`: a dataset in a foreign layout, whole or not at all, and read again before it is called done."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa

from components.datasets.dataset import Dataset
from components.datasets.importing import FORMATS
from components.datasets.manifest import ANNOTATIONS, COLUMNS
from components.datasets.sources.folder import FolderSource
from components.errors import ConfigError, DataError, InputError
from components.files import replacing
from components.progress import bar
from components.protocols import DatasetFormat, DatasetWriter, ImportedImage, Quarantined, plugin, plugin_names
from components.records import Record

log = logging.getLogger(__name__)

Part = Literal["boxes", "ignore", "polygons", "masks", "labels", "splits"]
_COLUMNS_OF: dict[str, tuple[str, ...]] = {
    "boxes": ("boxes_xyxy", "box_labels", "box_ignore", "polygons"),
    "ignore": ("box_ignore",),
    "polygons": ("polygons",),
    "masks": ("mask_shard", "mask_offset", "mask_length", "mask_sha256"),
    "labels": ("label",),
    "splits": ("split",),
}
#: How far a coordinate may move by being written and read, in pixels.
TOLERANCE_PX = 1e-6


class ExportSummary(Record):
    """What was written."""

    path: str
    format: str
    num_images: int
    num_bytes: int
    left_out: list[str]


def export_dataset(dataset: Dataset, format: str, out: Path, without: Sequence[str] = ()) -> ExportSummary:  # noqa: A002 - the command's own word
    """Write a dataset in a foreign layout.

    Images keep their bytes. What was written is read again and compared before `out` appears: the same images, classes in order, splits,
    labels, boxes (to 1e-6 px), outlines, flags, and masks (to the pixel).

    Args:
        dataset: What to write.
        format: A file of components/datasets/formats that has `write`.
        out: A folder that does not exist yet.
        without: What to leave out: boxes (and all that belongs to them), ignore, polygons, masks, labels, splits.

    Returns:
        What was written, and what of the manifest has no place in any layout (metadata columns, groups).

    Raises:
        InputError: `out` exists, the format is unknown or cannot be written, or cannot say what the dataset says. Nothing was written.
    """
    writer = plugin(FORMATS, "dataset format", format)
    if not isinstance(writer, DatasetWriter):
        names = [name for name in plugin_names(FORMATS) if isinstance(plugin(FORMATS, "dataset format", name), DatasetWriter)]
        raise ConfigError(f"--format {format} can be read, not written; expected one of {', '.join(names)}")
    if out.exists():
        raise InputError(f"{out} exists; expected a folder that does not exist yet")
    if dataset.info.task not in writer.tasks:
        raise DataError(f"{dataset.info.name} is for {dataset.info.task}; {format} can say {', '.join(writer.tasks)}")
    dataset = _without(dataset, without)
    if not any(dataset.table.column(column).null_count < len(dataset) for column in ("label", "boxes_xyxy", "mask_sha256")):
        raise DataError(f"{dataset.info.name}: no image is annotated, so there is nothing to say of them in any layout")
    with replacing(out) as partial:
        try:
            writer.write(dataset, partial)
            _check_again(dataset, partial, format)
        except DataError as error:
            raise DataError(f"{dataset.info.name} cannot be exported as {format}: {error}") from None
    left_out = [name for name in dataset.table.column_names if name == "group" or (name not in COLUMNS and name not in ANNOTATIONS)]
    left_out = [name for name in left_out if dataset.table.column(name).null_count < len(dataset)]
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    log.info("%s: %d images as %s in %s", dataset.info.name, len(dataset), format, out)
    return ExportSummary(path=out.as_posix(), format=format, num_images=len(dataset), num_bytes=size, left_out=left_out)


def _without(dataset: Dataset, parts: Sequence[str]) -> Dataset:
    unknown = sorted(set(parts) - set(get_args(Part)))
    if unknown:
        raise ConfigError(f"--without {unknown[0]}: expected one of {', '.join(get_args(Part))}")
    table = dataset.table
    for column in {column for part in parts for column in _COLUMNS_OF[part]}:
        place = table.column_names.index(column)
        table = table.set_column(place, table.field(place), pa.nulls(table.num_rows, table.field(place).type))
    return Dataset(dataset.info, table, dataset.shards)


def _check_again(dataset: Dataset, folder: Path, name: str) -> None:
    """Read what was written, and compare.

    Raises:
        DataError: It says something else.
    """
    reader: DatasetFormat = plugin(FORMATS, "dataset format", name)
    reading = reader.read(FolderSource(str(folder)), dataset.info.task)
    if reading.classes != dataset.info.classes:
        raise DataError(f"the classes would be read again as {_short(reading.classes)}; they are {_short(dataset.info.classes)}")
    ids = {image_id: index for index, image_id in enumerate(dataset.table.column("image_id").to_pylist())}
    with bar(f"check {name}", len(dataset)) as progress:
        for image in reading.images:
            if isinstance(image, Quarantined):
                raise DataError(f"{image.image_id} could not be read again: {image.reason}")
            index = next((ids.pop(ending) for ending in _endings(image.image_id) if ending in ids), None)
            if index is None:
                raise DataError(f"{image.image_id} would be read as an image that the dataset does not have")
            wrong = _difference(dataset, index, image)
            if wrong:
                raise DataError(f"{dataset.table.column('image_id')[index].as_py()}: {wrong}; {name} has no place for it")
            progress.update()
    if ids:
        raise DataError(f"{next(iter(ids))} would not be found again")


def _endings(image_id: str) -> Iterator[str]:
    """Yield a path, and what is left of it without its first folders: a layout may have put some before."""
    parts = image_id.split("/")
    return ("/".join(parts[start:]) for start in range(len(parts)))


def _difference(dataset: Dataset, index: int, image: ImportedImage) -> str | None:
    """Return what of a row would be read otherwise, None if nothing."""
    row = dataset.table.slice(index, 1).to_pylist()[0]
    if image.content != dataset.image(index):
        return "its bytes would be others"
    for column in ("split", "label", "box_labels"):
        if (row[column] or None) != (image.row.get(column) or None):
            return f"its {column} {_short(row[column])} would be read as {_short(image.row.get(column))}"
    boxes, read = row["boxes_xyxy"], image.row.get("boxes_xyxy")
    if (boxes is None) != (read is None):
        return f"it {'is not annotated' if boxes is None else 'has nothing on it'}, which would be read as the other"
    count = len(boxes or [])
    for what, given, found in (
        ("box", boxes or [], read or []),
        ("flag to ignore", row["box_ignore"] or [False] * count, image.row.get("box_ignore") or [False] * count),
        ("outline", row["polygons"] or [[]] * count, image.row.get("polygons") or [[]] * count),
    ):
        other = next((number for number, pair in enumerate(zip(given, found, strict=False)) if not _alike(*pair)), None)
        if other is not None or len(given) != len(found):
            return f"the {what} of its object {other} would be read otherwise"
    mask = dataset.mask(index)
    if (mask is None) != (image.mask is None) or (mask is not None and not np.array_equal(mask, np.asarray(image.mask))):
        return "its mask would be read otherwise"
    return None


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    return bool(abs(one - other) <= TOLERANCE_PX * max(1.0, abs(one) * 1e-6))


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:60] + " …"
