"""The rows of a manifest as images come in, on top of those that are there: checked, counted, held as Arrow a chunk at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from components.datasets.annotations import IGNORE, MAX_MASK_CLASSES, mask_png
from components.datasets.headers import Header, header_of
from components.datasets.manifest import ANNOTATIONS, COLUMNS, SHARDS, DatasetInfo
from components.datasets.shards import ShardWriter
from components.datasets.sources.names import leads_outside
from components.errors import DataError
from components.protocols import ImportedImage, Quarantined

_GIVEN_BY_THE_BYTES = {*COLUMNS, "mask_sha256"} - {"split", "group"}
_NO_METADATA = {*_GIVEN_BY_THE_BYTES, *ANNOTATIONS}
#: As many rows are held as Python objects, about 2 KB each.
_CHUNK = 20_000
_NO_MASK = dict.fromkeys(("mask_shard", "mask_offset", "mask_length"))


@dataclass(frozen=True)
class Part:
    """Images that another process has taken in.

    Attributes:
        folder: Where it has written their bytes, in shards; on the file system of the dataset that they become part of.
        table: Their rows; None: all are quarantined.
        quarantined: What it could not take.
    """

    folder: Path
    table: pa.Table | None
    quarantined: list[Quarantined]

    @property
    def num_images(self) -> int:
        """How many images it was given."""
        return len(self.quarantined) + (self.table.num_rows if self.table else 0)


class Rows:
    """Takes images in, one after another, and gives the manifest.

    Args:
        info: What dataset.yaml says.
        shards: Where the bytes go.
        old: The manifest that the images come on top of.
        keep_damaged: Keep images whose header cannot be read; else they are quarantined.
    """

    def __init__(self, info: DatasetInfo, shards: ShardWriter, old: pa.Table | None, keep_damaged: bool) -> None:
        self.quarantined: list[Quarantined] = []
        self.counts = {"num_added": 0, "num_relabelled": 0, "num_changed": 0, "num_described": 0, "num_unchanged": 0}
        self._info, self._shards, self._old, self._keep_damaged = info, shards, old, keep_damaged
        self._place = {} if old is None else dict(zip(old.column("image_id").to_pylist(), range(old.num_rows), strict=True))
        self._seen: set[str] = set()
        self._added: list[dict[str, Any]] = []
        self._tables: list[pa.Table] = []
        self._changed: dict[int, dict[str, Any]] = {}

    def add(self, image: ImportedImage | Quarantined) -> None:
        """Take an image in, or note why not.

        Raises:
            DataError: The id comes twice, or the row gives a column that belongs to the manifest.
        """
        if isinstance(image, Quarantined):
            self.quarantined.append(image)
            return
        try:
            self._check(image)
            header = self._header(image)
            mask = None if image.mask is None else self._mask(image.mask, (header.height, header.width) if header else None)
        except _Refused as refused:
            self.quarantined.append(Quarantined(refused.image_id or image.image_id, refused.reason))
            return
        row = {
            "image_id": image.image_id,
            "sha256": hashlib.sha256(image.content).hexdigest(),
            "height": header.height if header else None,
            "width": header.width if header else None,
            "orientation": header.orientation if header else None,
            **image.row,
        }
        if mask is not None:
            row["mask_sha256"] = hashlib.sha256(mask).hexdigest()
        self._store(row, image.content, mask)

    def take(self, part: Part) -> None:
        """Take in what another process has taken in; its shards are moved, not copied.

        Raises:
            DataError: An id comes twice.
        """
        self.quarantined += part.quarantined
        if part.table is None:
            return
        ids = part.table.column("image_id").to_pylist()
        if twice := next((image_id for image_id in ids if image_id in self._seen), None):
            raise self._comes_twice(twice)
        self._seen.update(ids)
        self._flush()
        table, names = part.table, {path.name: self._shards.adopt(path) for path in sorted((part.folder / SHARDS).iterdir())}
        for column in ("shard", "mask_shard"):
            moved = pa.array(
                [name and names[name] for name in table.column(column).to_pylist()], COLUMNS.get(column) or table.schema.field(column).type
            )
            table = table.set_column(table.schema.get_field_index(column), column, moved)
        self._tables.append(table)
        self.counts["num_added"] += table.num_rows

    def part(self, folder: Path) -> Part:
        """Return what was taken in, for another process to take it in; `folder` is the one with the shards."""
        self._flush()
        return Part(folder, pa.concat_tables(self._tables, promote_options="permissive") if self._tables else None, self.quarantined)

    def table(self) -> pa.Table:
        """Return the whole manifest: old rows where they were, changed in place, new ones after them.

        Raises:
            DataError: There is no image, or a column holds values of several kinds.
        """
        self._flush()
        if self._old is None and not self._tables:
            raise DataError(f"dataset {self._info.name}: the source holds no images")
        tables = ([] if self._old is None else [self._old]) + self._tables
        if self._changed and self._old is not None:
            before = self._old.take(sorted(self._changed)).to_pylist()
            tables.append(_table([row | self._changed[place] for place, row in zip(sorted(self._changed), before, strict=True)]))
        try:
            whole = pa.concat_tables(tables, promote_options="permissive")
        except pa.ArrowException as error:
            raise DataError(f"dataset {self._info.name}: the columns cannot be stored: {error}; expected one kind of value in a column") from None
        if self._changed:
            places = np.arange(whole.num_rows - len(self._changed))
            places[sorted(self._changed)] = np.arange(len(places), whole.num_rows)
            whole = whole.take(places)
        given = [name for name in whole.column_names if name not in COLUMNS and name not in ANNOTATIONS]
        return whole.select([*COLUMNS, *given, *ANNOTATIONS])

    def _check(self, image: ImportedImage) -> None:
        image_id = image.image_id
        if image_id in self._seen:
            raise self._comes_twice(image_id)
        if not image_id.isprintable():  # an undecodable name has surrogates, which are not printable
            raise _Refused("the name is no text in UTF-8, or has unprintable letters; rename the file", repr(image_id))
        if not image_id or leads_outside(image_id):
            raise _Refused("the name leads outside of the dataset", repr(image_id))
        taken = _GIVEN_BY_THE_BYTES.intersection(image.row)
        if taken:
            raise DataError(f"{image_id}: the column '{min(taken)}' is the manifest's own; a source may not give it")
        self._seen.add(image_id)

    def _comes_twice(self, image_id: str) -> DataError:
        return DataError(f"dataset {self._info.name}: image ids come twice: {image_id}; ids must be unique")

    def _header(self, image: ImportedImage) -> Header | None:
        try:
            return header_of(image.content)
        except DataError as error:
            if self._keep_damaged:
                return None
            raise _Refused(str(error)) from None

    def _mask(self, given: Any, size_hw: tuple[int, int] | None) -> bytes:
        mask = np.asarray(given)
        classes = self._info.classes
        if len(classes) > MAX_MASK_CLASSES:
            raise DataError(
                f"dataset {self._info.name} has {len(classes)} classes; a mask can tell {MAX_MASK_CLASSES} apart. Map some of them together"
            )
        if size_hw and mask.shape != size_hw:
            raise _Refused(f"its mask is {'×'.join(map(str, mask.shape[::-1]))} pixels, the upright image {size_hw[1]}×{size_hw[0]}")
        unknown = sorted(set(np.unique(mask).tolist()) - set(range(len(classes))) - {IGNORE})
        if unknown:
            raise _Refused(f"its mask holds {', '.join(map(str, unknown[:5]))}, which are no classes; expected 0 to {len(classes) - 1}, or 255")
        return mask_png(mask.astype(np.uint8))

    def _store(self, row: dict[str, Any], content: bytes, mask: bytes | None) -> None:
        """Write the bytes that are not there yet, and keep the row unless the manifest says all of it already."""
        place = self._place.get(row["image_id"])
        if place is None or self._old is None:
            self.counts["num_added"] += 1
            row["shard"], row["offset"], row["length"] = self._shards.add(row["image_id"], content)
            self._added.append(row | self._stored_mask(row, mask))
            if len(self._added) >= _CHUNK:
                self._flush()
            return
        if self._old.column("sha256")[place].as_py() != row["sha256"]:
            self.counts["num_changed"] += 1
            row["shard"], row["offset"], row["length"] = self._shards.add(row["image_id"], content)
        elif all(_same(self._old.column(name)[place].as_py(), row.get(name)) for name in ANNOTATIONS):
            described = self._described(self._old, place, row)
            self.counts["num_described" if described else "num_unchanged"] += 1
            if described:
                self._changed[place] = described
            return
        else:
            self.counts["num_relabelled"] += 1
        row = dict.fromkeys(ANNOTATIONS) | row
        if mask is None or self._old.column("mask_sha256")[place].as_py() != row["mask_sha256"]:
            row |= self._stored_mask(row, mask)
        self._changed[place] = row

    def _described(self, old: pa.Table, place: int, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the source says of an image beside its annotations, where the manifest says something else; a null says nothing."""
        found = {}
        for name, value in row.items():
            if name not in _NO_METADATA and value is not None and value == value:  # noqa: PLR0124 - NaN is not
                before = old.column(name)[place].as_py() if name in old.column_names else None
                if not _same(before, value):
                    found[name] = value
        return found

    def _stored_mask(self, row: Mapping[str, Any], mask: bytes | None) -> dict[str, Any]:
        return _NO_MASK if mask is None else dict(zip(_NO_MASK, self._shards.add(f"{row['image_id']}.mask.png", mask), strict=True))

    def _flush(self) -> None:
        if self._added:
            self._tables.append(_table(self._added))
            self._added = []


class _Refused(Exception):
    """An image that is quarantined."""

    def __init__(self, reason: str, image_id: str | None = None) -> None:
        self.reason, self.image_id = reason, image_id


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    """Return rows as a table: the manifest's own columns of their types, others of the type that their values have."""
    kinds = {**COLUMNS, **ANNOTATIONS}
    arrays = {}
    for name in dict.fromkeys([*kinds, *(name for row in rows for name in row)]):
        try:
            arrays[name] = pa.array([row.get(name) for row in rows], type=kinds.get(name), from_pandas=True)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            expected = kinds.get(name, "one kind of value")
            raise DataError(f"the column '{name}' cannot be stored: {' '.join(str(error).split())}; expected {expected}") from None
    return pa.table(arrays)


def _same(one: Any, other: Any) -> bool:
    if one is None or other is None or isinstance(one, str) or isinstance(other, str):
        return bool(one is other or one == other)
    return bool(_plain(one) == _plain(other))


def _plain(cell: Any) -> Any:
    return [_plain(item) for item in cell] if isinstance(cell, (list, tuple, np.ndarray)) else cell
