"""Images become a dataset, or the next version of one: shards are appended, never rewritten; whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from components.datasets.annotations import IGNORE, MAX_MASK_CLASSES, mask_png
from components.datasets.headers import read_header
from components.datasets.manifest import (
    ANNOTATIONS,
    COLUMNS,
    MANIFEST,
    SHARDS,
    DatasetInfo,
    dataset_ref,
    read_dataset,
    read_manifest,
    write_dataset_info,
    write_manifest,
)
from components.datasets.shards import MAX_SHARD_BYTES, ShardWriter
from components.errors import DataError, InputError
from components.files import replacing
from components.progress import bar
from components.protocols import ImportedImage, Quarantined
from components.records import DatasetRef, Record

Mode = Literal["new", "append", "replace"]
#: What the stages write beside the datasets.
RESERVED_NAMES = {"training", "splits", "splits.parquet"}
_GIVEN_BY_THE_BYTES = [column for column in COLUMNS if column not in ("split", "group")] + ["mask_sha256"]
#: Annotations whose cell is worth comparing; the mask is compared by its digest.
_COMPARED = tuple(ANNOTATIONS)


class WriteSummary(Record):
    """What was written."""

    dataset: DatasetRef
    path: str
    class_counts: dict[str, int]
    num_added: int
    num_relabelled: int = 0
    num_changed: int = 0
    num_unchanged: int = 0
    num_damaged: int = 0
    num_bytes: int
    num_shards: int
    quarantined: list[tuple[str, str]]


def check_name(name: str, root: Path, mode: Mode) -> None:
    """Check that a dataset may be written as `root/name`.

    Raises:
        InputError: It may not.
    """
    if name.lower() in RESERVED_NAMES:
        raise InputError(f"the name '{name}' is reserved: the steps write {root / name}. Choose another")
    if not name or not all(letter.isascii() and (letter.isalnum() or letter in "_.-") for letter in name) or not name[0].isalnum():
        raise InputError(f"'{name}' is no name for a dataset; expected letters, digits and . _ - after a letter or digit")
    taken = (root / name).exists() or (root / f"{name}.dvc").exists()
    if taken and mode == "new":
        raise InputError(f"{root / name} exists; say --append to add to it, --replace to put the new data in its place, or choose another name")
    if mode == "append" and not (root / name).is_dir():
        remedy = f"`dvc pull {root / name}` fetches it" if taken else "leave --append out to make it"
        raise InputError(f"{root / name} not found, so nothing can be added to it; {remedy}")


def write_dataset(
    images: Iterable[ImportedImage | Quarantined],
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
        images: In the order in which they will stand; `row` may give annotations, `split`, `group` and any metadata columns.
        info: What dataset.yaml says. With `append` its classes are added after those there are.
        root: Where datasets stand.
        mode: `new`: the name must be free. `append`: images with a new id are added; of one that is there already a different annotation is
            a relabelling, different bytes are a change. `replace`: the new data takes the place of the old.
        total: How many images there are, where that is known.
        keep_damaged: Keep images whose header cannot be read, for validation to name; else they are quarantined.
        max_bad: Largest share of images that may be quarantined; None: any.
        max_shard_bytes: Size of a shard.

    Raises:
        InputError: The name is taken, an id comes twice, a row gives a column that belongs to the manifest, too much is quarantined, or
            there is no image. What was there before is untouched.
    """
    check_name(info.name, root, mode)
    out = root / info.name
    old = read_manifest(out) if mode == "append" else None
    if mode == "append":
        info = _grown(read_dataset(out), info)
    with replacing(out) as folder:
        folder.mkdir(parents=True)
        start = _link_shards(out, folder) if mode == "append" else 0
        with ShardWriter(folder, max_shard_bytes, start) as shards, bar(f"import {info.name}", total or 0) as progress:
            written = _Rows(info, shards, old, keep_damaged)
            for image in images:
                written.add(image)
                progress.update()
        _check_quarantine(info.name, written, max_bad)
        frame = written.frame()
        write_manifest(frame, folder / MANIFEST)
        write_dataset_info(info, folder)
        num_shards = shards.num_shards
    return WriteSummary(
        dataset=dataset_ref(out, frame),
        path=out.as_posix(),
        class_counts=class_counts(frame, info.classes),
        **written.counts,
        num_damaged=int(frame["height"].isna().sum()),
        num_bytes=int(frame["length"].sum()),
        num_shards=num_shards,
        quarantined=[(item.image_id, item.reason) for item in written.quarantined],
    )


def class_counts(frame: pd.DataFrame, classes: Iterable[str]) -> dict[str, int]:
    """Return how often each class is annotated in a manifest: images where images have labels, else boxes."""
    counts = Counter(label for label in frame["label"] if label is not None)
    for labels in frame["box_labels"].dropna() if not counts else ():
        counts.update(labels)
    return {name: counts[name] for name in classes}


class _Rows:
    """The rows of the manifest as images come in, on top of those that are there."""

    def __init__(self, info: DatasetInfo, shards: ShardWriter, old: pd.DataFrame | None, keep_damaged: bool) -> None:
        self.quarantined: list[Quarantined] = []
        self.counts = {"num_added": 0, "num_relabelled": 0, "num_changed": 0, "num_unchanged": 0}
        self._info, self._shards, self._keep_damaged = info, shards, keep_damaged
        self._old = old
        self._place = {} if old is None else {image_id: index for index, image_id in enumerate(old["image_id"])}
        self._new: dict[str, dict[str, Any]] = {}

    def add(self, image: ImportedImage | Quarantined) -> None:
        """Take an image in, or note why not."""
        if isinstance(image, Quarantined):
            self.quarantined.append(image)
            return
        if not image.image_id.isprintable():  # an undecodable name has surrogates, which are not printable
            self.quarantined.append(Quarantined(repr(image.image_id), "the name is no text in UTF-8, or has unprintable letters; rename the file"))
            return
        if image.image_id in self._new:
            raise DataError(f"dataset {self._info.name}: image ids come twice: {image.image_id}; ids must be unique")
        header = read_header(image.content)
        if header is None and not self._keep_damaged:
            self.quarantined.append(Quarantined(image.image_id, "empty file" if not image.content else "no image that can be read"))
            return
        taken = [column for column in image.row if column in _GIVEN_BY_THE_BYTES]
        if taken:
            raise DataError(f"{image.image_id}: the column '{taken[0]}' is the manifest's own; a source may not give it")
        mask = None if image.mask is None else self._checked_mask(image, (header.height, header.width) if header else None)
        if isinstance(mask, Quarantined):
            self.quarantined.append(mask)
            return
        row = {
            "image_id": image.image_id,
            "sha256": hashlib.sha256(image.content).hexdigest(),
            "height": header.height if header else None,
            "width": header.width if header else None,
            "orientation": header.orientation if header else None,
            **image.row,
            **({} if mask is None else {"mask_sha256": hashlib.sha256(mask).hexdigest()}),
        }
        self._new[image.image_id] = self._stored(row, image.content, mask)

    def frame(self) -> pd.DataFrame:
        """Return the whole manifest: old rows where they were, changed in place, new ones after them."""
        added = [row for image_id, row in self._new.items() if image_id not in self._place]
        changed = {self._place[image_id]: row for image_id, row in self._new.items() if image_id in self._place and row}
        if self._old is None and not added:
            raise DataError(f"dataset {self._info.name}: the source holds no images")
        names = list(dict.fromkeys([*COLUMNS, *ANNOTATIONS, *(name for row in (*added, *changed.values()) for name in row)]))
        new = pd.DataFrame(added, columns=names, dtype=object if not added else None)
        if self._old is None:
            return new
        old = self._old.reindex(columns=[*self._old.columns, *(name for name in names if name not in self._old)])
        if changed:
            old = old.astype(object)
            columns = {name: number for number, name in enumerate(old.columns)}
            for index, row in changed.items():
                for name, value in row.items():
                    old.iat[index, columns[name]] = value
        return pd.concat([old.astype(object), new.astype(object)], ignore_index=True) if added else old

    def _stored(self, row: dict[str, Any], content: bytes, mask: bytes | None) -> dict[str, Any]:
        """Return the row with where its bytes are; an empty one where the manifest says all of it already."""
        old = None if self._old is None or row["image_id"] not in self._place else self._old.iloc[self._place[row["image_id"]]]
        if old is None:
            self.counts["num_added"] += 1
        elif old["sha256"] != row["sha256"]:
            self.counts["num_changed"] += 1
        elif all(_same(old[name], row.get(name)) for name in _COMPARED):
            self.counts["num_unchanged"] += 1
            return {}
        else:
            self.counts["num_relabelled"] += 1
        row = dict.fromkeys(ANNOTATIONS) | row
        if old is None or old["sha256"] != row["sha256"]:
            row["shard"], row["offset"], row["length"] = self._shards.add(row["image_id"], content)
        if mask is None:
            row["mask_shard"] = row["mask_offset"] = row["mask_length"] = None
        elif old is None or old["mask_sha256"] != row["mask_sha256"]:
            row["mask_shard"], row["mask_offset"], row["mask_length"] = self._shards.add(f"{row['image_id']}.mask.png", mask)
        return row

    def _checked_mask(self, image: ImportedImage, size_hw: tuple[int, int] | None) -> bytes | Quarantined:
        mask = np.asarray(image.mask)
        classes = self._info.classes
        if len(classes) > MAX_MASK_CLASSES:
            raise DataError(
                f"dataset {self._info.name} has {len(classes)} classes; a mask can tell {MAX_MASK_CLASSES} apart. Map some of them together"
            )
        if size_hw and mask.shape != size_hw:
            found = "×".join(map(str, mask.shape[::-1]))
            return Quarantined(image.image_id, f"its mask is {found} pixels, the upright image {size_hw[1]}×{size_hw[0]}")
        unknown = sorted(set(np.unique(mask).tolist()) - set(range(len(classes))) - {IGNORE})
        if unknown:
            return Quarantined(
                image.image_id, f"its mask holds {', '.join(map(str, unknown[:5]))}, which are no classes; expected 0 to {len(classes) - 1}, or 255"
            )
        return mask_png(mask.astype(np.uint8))


def _same(one: Any, other: Any) -> bool:
    if one is None or other is None or isinstance(one, str) or isinstance(other, str):
        return bool(one is other or one == other)
    return bool(_plain(one) == _plain(other))


def _plain(cell: Any) -> Any:
    return [_plain(item) for item in cell] if isinstance(cell, (list, tuple, np.ndarray)) else cell


def _grown(old: DatasetInfo, new: DatasetInfo) -> DatasetInfo:
    """Return the info of a dataset that images of another are added to: new classes come after those there are."""
    if old.task != new.task:
        raise InputError(f"{old.name} is for {old.task}, the new images for {new.task}; expected the same task. Import them under another name")
    classes = [*old.classes, *(name for name in new.classes if name not in old.classes)]
    return DatasetInfo(name=old.name, version=new.version or old.version, task=old.task, classes=classes)


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


def _check_quarantine(name: str, written: _Rows, max_bad: float | None) -> None:
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
