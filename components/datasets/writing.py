"""Images become a dataset, or the next version of one: shards are appended, never rewritten; whole or not at all."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.datasets.annotations import IGNORE
from components.datasets.locks import writing
from components.datasets.manifest import (
    MANIFEST,
    SHARDS,
    DatasetInfo,
    read_dataset,
    read_table,
    write_dataset_info,
    write_table,
)
from components.datasets.rows import Part, Rows
from components.datasets.shards import MAX_SHARD_BYTES, ShardWriter
from components.errors import DataError, InputError
from components.files import replacing
from components.progress import bar
from components.protocols import ImportedImage, Quarantined
from components.records import Record

Mode = Literal["new", "append", "replace"]
#: What the stages write beside the datasets.
RESERVED_NAMES = {"training", "splits", "splits.parquet"}


class WriteSummary(Record):
    """What was written."""

    name: str
    version: str
    num_images: int
    path: str
    class_counts: dict[str, int]
    num_masks: int = 0
    num_added: int
    num_relabelled: int = 0
    num_changed: int = 0
    num_described: int = 0
    num_unchanged: int = 0
    num_damaged: int = 0
    num_bytes: int
    num_shards: int
    quarantined: list[tuple[str, str]]


def check_letters(name: str, root: Path) -> None:
    """Check that a dataset may have a name.

    Raises:
        InputError: It may not.
    """
    if name.lower() in RESERVED_NAMES:
        raise InputError(f"the name '{name}' is reserved: the steps write {root / name}. Choose another")
    if not name or not all(letter.isascii() and (letter.isalnum() or letter in "_.-") for letter in name) or not name[0].isalnum():
        raise InputError(f"'{name}' is no name for a dataset; expected letters, digits and . _ - after a letter or digit")


def check_name(name: str, root: Path, mode: Mode) -> None:
    """Check that a dataset may be written as `root/name`.

    Raises:
        InputError: It may not.
    """
    check_letters(name, root)
    taken = (root / name).exists() or (root / f"{name}.dvc").exists()
    if taken and mode == "new":
        raise InputError(f"{root / name} exists; say --append to add to it, --replace to put the new data in its place, or choose another name")
    if mode == "append" and not (root / name).is_dir():
        remedy = f"`dvc pull {root / name}` fetches it" if taken else "leave --append out to make it"
        raise InputError(f"{root / name} not found, so nothing can be added to it; {remedy}")


def write_dataset(
    images: Iterable[ImportedImage | Quarantined | Part],
    info: DatasetInfo,
    root: Path,
    mode: Mode = "new",
    total: int | None = None,
    keep_damaged: bool = False,
    max_bad: float | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> WriteSummary:
    """Write images as the dataset `root/NAME`, or add them to it.

    Args:
        images: In the order in which they will stand; `row` may give annotations, `split`, `group` and any metadata columns. With `new` and
            `replace` also whole parts that other processes have written.
        info: What dataset.yaml says. With `append` its classes are added after those there are.
        root: Where datasets stand.
        mode: `new`: the name must be free. `append`: images with a new id are added; of one that is there already a different annotation is
            a relabelling, different bytes are a change, and a different split, group or metadata column is taken. `replace`: the new data
            takes the place of the old.
        total: How many images there are, where that is known.
        keep_damaged: Keep images whose header cannot be read, for validation to name; else they are quarantined.
        max_bad: Largest share of images that may be quarantined; None: any.
        max_shard_bytes: Size of a shard.

    Raises:
        InputError: The name is taken, an id comes twice, a row gives a column that belongs to the manifest, too much is quarantined, or
            there is no image. What was there before is untouched.
        TransientError: Another process writes it.
    """
    out = root / info.name
    root.mkdir(parents=True, exist_ok=True)
    with writing(out):
        clear_remains(out)
        check_name(info.name, root, mode)
        old = read_table(out) if mode == "append" else None
        if mode == "append":
            info = _grown(read_dataset(out), info)
        with replacing(out) as folder:
            folder.mkdir(parents=True)
            with _held(folder):
                start = _link_shards(out, folder) if mode == "append" else 0
                with ShardWriter(folder, max_shard_bytes, start) as shards, bar(f"import {info.name}", total or 0) as progress:
                    rows = Rows(info, shards, old, keep_damaged)
                    for image in images:
                        if isinstance(image, Part):
                            rows.take(image)
                            progress.update(image.num_images)
                        else:
                            rows.add(image)
                            progress.update()
                _check_quarantine(info.name, rows, max_bad)
                table = rows.table()
                write_table(table, folder / MANIFEST)
                write_dataset_info(info, folder)
                num_shards = shards.num_shards
    return WriteSummary(
        name=info.name,
        version=info.version,
        num_images=table.num_rows,
        path=out.as_posix(),
        class_counts=class_counts(table, info.classes),
        num_masks=table.num_rows - table.column("mask_sha256").null_count,
        **rows.counts,
        num_damaged=table.column("height").null_count,
        num_bytes=pc.sum(table.column("length")).as_py(),
        num_shards=num_shards,
        quarantined=[(item.image_id, item.reason) for item in rows.quarantined],
    )


def class_counts(table: pa.Table, classes: Iterable[str]) -> dict[str, int]:
    """Return how often each class is annotated in a manifest: images where images have labels, else boxes."""
    labels = table.column("label")
    if labels.null_count == len(labels):
        labels = pc.list_flatten(table.column("box_labels"))
    counts = {found["values"]: found["counts"] for found in labels.value_counts().to_pylist()}
    return {name: counts.get(name, 0) for name in classes}


def _grown(old: DatasetInfo, new: DatasetInfo) -> DatasetInfo:
    """Return the info of a dataset that images of another are added to: new classes come after those there are."""
    if old.task != new.task:
        raise InputError(f"{old.name} is for {old.task}, the new images for {new.task}; expected the same task. Import them under another name")
    classes = [*old.classes, *(name for name in new.classes if name not in old.classes)]
    return DatasetInfo(name=old.name, version=new.version or old.version, task=old.task, classes=classes)


def clear_remains(out: Path) -> None:
    """Clear away what a process that was killed while it wrote `out` left beside it; a version that it had just put aside comes back."""
    mark = re.compile(rf"\.{re.escape(out.name)}\.[0-9a-f]{{8}}\.(partial|replaced)")
    for path in out.parent.iterdir() if out.parent.is_dir() else ():
        found = mark.fullmatch(path.name)
        if found and found[1] == "replaced" and not out.exists():
            path.rename(out)
        elif found and path.is_dir():
            with _held(path) as dead:
                if dead:
                    shutil.rmtree(path, ignore_errors=True)


@contextmanager
def parts_folder(out: Path) -> Iterator[Path]:
    """Give a folder beside `out` for other processes to write in; it is gone after the block, or when `out` is next written."""
    folder = (out.parent / f".{out.name}.{secrets.token_hex(4)}.partial").absolute()
    folder.mkdir(parents=True)
    with _held(folder):
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _held(folder: Path) -> Iterator[bool]:
    """Mark a folder as being written while the block runs, or as long as this process lives; False where another process does."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except BlockingIOError:
            free = False
        yield free
    finally:
        os.close(descriptor)


def _link_shards(old: Path, new: Path) -> int:
    """Put the shards of a dataset into its next version without copying their bytes, and return the next free number."""
    (new / SHARDS).mkdir()
    numbers = [-1]
    for path in sorted((old / SHARDS).iterdir()):
        target = new / SHARDS / path.name
        try:
            os.link(path, target)
        except OSError:  # another file system, or one that knows no links
            shutil.copy2(path, target)
        numbers += [int(path.stem)] if path.stem.isdigit() else []
    return max(numbers) + 1


def _check_quarantine(name: str, written: Rows, max_bad: float | None) -> None:
    bad, good = len(written.quarantined), sum(written.counts.values())
    if max_bad is not None and bad > max_bad * (bad + good):
        first = written.quarantined[0]
        raise TooMuchQuarantined(
            f"dataset {name}: {bad} of {bad + good} images cannot be taken, more than import.max_bad = {max_bad:.4g} allows; nothing was changed. "
            f"The first: {first.image_id}: {first.reason}",
            written.quarantined,
        )


class TooMuchQuarantined(DataError):
    """More of a source cannot be taken than `import.max_bad` allows."""

    def __init__(self, message: str, quarantined: list[Quarantined]) -> None:
        super().__init__(message)
        self.quarantined = quarantined


def remapped_masks(images: Iterable[ImportedImage | Quarantined], from_: list[str], to: list[str]) -> Iterator[ImportedImage | Quarantined]:
    """Yield images whose masks hold the classes of `to`, in place of those of `from_`; every class of `from_` is in `to`."""
    table = np.full(256, IGNORE, dtype=np.uint8)
    table[: len(from_)] = [to.index(name) for name in from_]
    for image in images:
        if isinstance(image, ImportedImage) and image.mask is not None:
            yield ImportedImage(image.image_id, image.content, image.row, table[image.mask])
        else:
            yield image
