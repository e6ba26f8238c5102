"""`darkroom data merge`: two datasets become a third. Classes are mapped by name as they are told to be; image bytes stay as they are."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from components.datasets.annotations import IGNORE, MAX_MASK_CLASSES, mask_png, read_mask
from components.datasets.dataset import Dataset
from components.datasets.locks import writing
from components.datasets.manifest import (
    ANNOTATIONS,
    COLUMNS,
    MANIFEST,
    SHARDS,
    DatasetInfo,
    read_dataset,
    write_dataset_info,
    write_table,
)
from components.datasets.shards import ShardWriter
from components.datasets.versions.counts import annotation_counts, in_order
from components.datasets.versions.diff import rows_equal
from components.datasets.writing import check_name
from components.errors import DataError, InputError
from components.files import replacing
from components.progress import bar


@dataclass(frozen=True)
class Merged:
    """What became of two datasets.

    Attributes:
        num_images: Of the merged dataset.
        num_shared: Images that both had, id, bytes and annotations alike; they stand in it once.
        num_renamed: Images whose id both had for different bytes; the dataset's name stands before it now.
        class_counts: How often each class is annotated.
    """

    num_images: int
    num_shared: int
    num_renamed: int
    class_counts: dict[str, int]


@dataclass
class _Part:
    folder: Path
    dataset: Dataset
    table: pa.Table
    mapping: Mapping[str, str]
    shards: dict[str, str] = field(default_factory=dict)


def merge(root: Path, names: tuple[str, str], name: str, mapping: Mapping[str, str] | None = None, keep: bool = False) -> Merged:
    """Make `root/name` of two datasets.

    Args:
        root: Where datasets stand.
        names: The two, in the order in which their images and classes will stand.
        name: The new one.
        mapping: New class by old class, for either dataset; a class that both have by one name needs none.
        keep: Keep the classes that one dataset alone has and `mapping` does not name.

    Raises:
        InputError: The tasks differ, a class was left unmapped, the mapping names no class there is, or the name is taken.
        DataError: Both have an image by one id and with the same bytes, annotated differently.
    """
    check_name(name, root, "new")
    infos = [read_dataset(root / one) for one in names]
    if infos[0].task != infos[1].task:
        raise InputError(f"{names[0]} is for {infos[0].task}, {names[1]} for {infos[1].task}; expected one task")
    mappings = _mappings(infos, dict(mapping or {}), keep)
    classes = list(dict.fromkeys(new for one in mappings for new in one.values()))
    with Dataset.of_folder(root / names[0]) as one, Dataset.of_folder(root / names[1]) as other:
        parts = [
            _Part(root / data.info.name, data, _relabelled(data.table, given), given) for data, given in zip((one, other), mappings, strict=True)
        ]
        num_shared = _drop_shared(parts)
        num_renamed = _rename_clashing(parts)
        with writing(root / name), replacing(root / name) as folder:
            (folder / SHARDS).mkdir(parents=True)
            _link_shards(parts, folder)
            parts = [_with_masks(part, classes, folder) for part in parts]
            table = pa.concat_tables([part.table for part in parts], promote_options="permissive")
            extra = [column for column in table.column_names if column not in COLUMNS and column not in ANNOTATIONS]
            write_table(table.select([*COLUMNS, *extra, *ANNOTATIONS]).combine_chunks(), folder / MANIFEST)
            write_dataset_info(DatasetInfo(name=name, version="1.0.0", task=infos[0].task, classes=classes), folder)
    return Merged(table.num_rows, num_shared, num_renamed, in_order(annotation_counts(table), classes))


def _mappings(infos: list[DatasetInfo], mapping: dict[str, str], keep: bool) -> list[dict[str, str]]:
    there = {name for info in infos for name in info.classes}
    if unknown := sorted(set(mapping) - there):
        raise InputError(
            f"--map {unknown[0]}={mapping[unknown[0]]}: neither dataset has the class '{unknown[0]}'; there are: {', '.join(sorted(there))}"
        )
    both = set(infos[0].classes) & set(infos[1].classes)
    targets = {*both, *mapping.values()}
    alone = {info.name: [name for name in info.classes if name not in targets and name not in mapping] for info in infos}
    if not keep and any(alone.values()):
        said = "; ".join(f"{name} alone has {', '.join(classes)}" for name, classes in alone.items() if classes)
        first = next(classes[0] for classes in alone.values() if classes)
        raise InputError(f"{said}. Say what becomes of each: --map {first}=CLASS, or --map {first}={first} to keep it; --keep keeps them all")
    return [{name: mapping.get(name, name) for name in info.classes} for info in infos]


def _relabelled(table: pa.Table, mapping: Mapping[str, str]) -> pa.Table:
    if all(old == new for old, new in mapping.items()):
        return table
    old, new = pa.array(list(mapping), pa.string()), pa.array(list(mapping.values()), pa.string())
    label = table.column("label").combine_chunks()
    table = table.set_column(table.column_names.index("label"), "label", new.take(pc.index_in(label, value_set=old)))
    lists = table.column("box_labels").combine_chunks()
    flat = new.take(pc.index_in(pc.list_flatten(lists), value_set=old))
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    renamed = pa.ListArray.from_arrays(offsets, flat, mask=lists.is_null())
    return table.set_column(table.column_names.index("box_labels"), "box_labels", renamed.cast(ANNOTATIONS["box_labels"]))


def _drop_shared(parts: list[_Part]) -> int:
    """Take the images out of the second dataset that the first has, too: same id, same bytes.

    Raises:
        DataError: They are annotated differently.
    """
    one, other = (part.table for part in parts)
    place = _places(other, one)
    both = np.flatnonzero(place >= 0)
    same = both[rows_equal(_plain(other, "sha256").take(pa.array(both)), _plain(one, "sha256").take(pa.array(place[both])))]
    masks_differ = list(parts[0].mapping.items()) != list(parts[1].mapping.items())  # equal masks may differ in numbers then
    for column in ANNOTATIONS:
        if column == "mask_sha256" and masks_differ:
            continue
        equal = rows_equal(_plain(other, column).take(pa.array(same)), _plain(one, column).take(pa.array(place[same])))
        if not equal.all():
            ids = _plain(other, "image_id").take(pa.array(same[~equal])).to_pylist()
            raise DataError(
                f"{len(ids)} images are in both, annotated differently ({column}): {', '.join(ids[:5])}. Put that right first, for example with "
                "darkroom data relabel, or take them out of one"
            )
    kept = np.ones(other.num_rows, dtype=np.bool_)
    kept[same] = False
    parts[1].table = other.filter(pa.array(kept))
    return len(same)


def _rename_clashing(parts: list[_Part]) -> int:
    """Put the dataset's name before ids that mean different images in the two."""
    tables = [part.table for part in parts]
    for index, part in enumerate(parts):
        clash = _places(tables[index], tables[1 - index]) >= 0
        ids = _plain(tables[index], "image_id")
        named = pc.binary_join_element_wise(pa.scalar(part.dataset.info.name), ids, "/")
        part.table = tables[index].set_column(tables[index].column_names.index("image_id"), "image_id", pc.if_else(pa.array(clash), named, ids))
    count = int((_places(tables[1], tables[0]) >= 0).sum())
    ids = pa.concat_arrays([_plain(part.table, "image_id") for part in parts])
    if len(pc.unique(ids)) < len(ids):
        raise DataError(f"the ids of {parts[0].dataset.info.name} and {parts[1].dataset.info.name} clash even with the datasets' names before them")
    return count


def _link_shards(parts: list[_Part], folder: Path) -> None:
    """Put the shards of both into the new dataset, numbered anew, without copying their bytes where links are possible."""
    number = 0
    for part in parts:
        columns = [part.table.column(name).combine_chunks() for name in ("shard", "mask_shard")]
        for shard in sorted({name for column in columns for name in pc.unique(column).to_pylist() if name is not None}):
            part.shards[shard] = f"{number:06d}.tar"
            source = part.folder / SHARDS / shard
            try:
                os.link(source, folder / SHARDS / part.shards[shard])
            except FileNotFoundError:
                raise DataError(f"{source} not found, though the manifest names it; `dvc checkout` brings it back") from None
            except OSError:  # another file system, or one that knows no links
                shutil.copy2(source, folder / SHARDS / part.shards[shard])
            number += 1
        old, new = pa.array(list(part.shards), pa.string()), pa.array(list(part.shards.values()), pa.string())
        for name, column in zip(("shard", "mask_shard"), columns, strict=True):
            part.table = part.table.set_column(part.table.column_names.index(name), name, new.take(pc.index_in(column, value_set=old)))


def _with_masks(part: _Part, classes: list[str], folder: Path) -> _Part:
    """Write the masks anew whose numbers mean other classes now, into a shard of their own."""
    rows = np.flatnonzero(part.table.column("mask_shard").combine_chunks().is_valid().to_numpy(zero_copy_only=False))
    numbers = [classes.index(part.mapping[name]) for name in part.dataset.info.classes]
    if not len(rows) or numbers == list(range(len(numbers))):
        return part
    if len(classes) > MAX_MASK_CLASSES:
        raise DataError(f"the merged dataset has {len(classes)} classes; a mask can tell {MAX_MASK_CLASSES} apart. Map some of them together")
    table = np.full(256, IGNORE, dtype=np.uint8)
    table[: len(numbers)] = numbers
    columns = {name: part.table.column(name).to_pylist() for name in ("image_id", "mask_shard", "mask_offset", "mask_length", "mask_sha256")}
    back = {new: old for old, new in part.shards.items()}
    start = len(list((folder / SHARDS).iterdir()))
    with ShardWriter(folder, start=start) as writer, bar(f"masks of {part.dataset.info.name}", len(rows)) as progress:
        for row in rows:
            place = back[columns["mask_shard"][row]], columns["mask_offset"][row], columns["mask_length"][row]
            content = mask_png(table[read_mask(part.dataset.shards.read(*place))])
            shard, offset, length = writer.add(f"{columns['image_id'][row]}.mask.png", content)
            columns["mask_shard"][row], columns["mask_offset"][row], columns["mask_length"][row] = shard, offset, length
            columns["mask_sha256"][row] = hashlib.sha256(content).hexdigest()
            progress.update()
    for name in ("mask_shard", "mask_offset", "mask_length", "mask_sha256"):
        kind = {**COLUMNS, **ANNOTATIONS}[name]
        part.table = part.table.set_column(part.table.column_names.index(name), name, pa.array(columns[name], kind))
    return part


def _places(table: pa.Table, other: pa.Table) -> npt.NDArray[np.int64]:
    """Return for each row of `table` the row of `other` with its image_id, -1 if there is none."""
    found = pc.fill_null(pc.index_in(_plain(table, "image_id"), value_set=_plain(other, "image_id")), -1)
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.int64)


def _plain(table: pa.Table, column: str) -> pa.Array:
    return table.column(column).combine_chunks()
