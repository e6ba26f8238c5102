"""`darkroom data compact`: shards without the bytes that no row names any more. The one command that moves images which did not change."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from components.datasets.dataset import Dataset
from components.datasets.locks import writing
from components.datasets.manifest import COLUMNS, MANIFEST, SHARDS, write_dataset_info, write_table
from components.datasets.shards import MAX_SHARD_BYTES, ShardWriter
from components.files import replacing
from components.progress import bar


class Compacted(NamedTuple):
    """Bytes of all shards, and how many there are."""

    bytes_before: int
    bytes_after: int
    shards_before: int
    shards_after: int


def compact(folder: Path, max_shard_bytes: int = MAX_SHARD_BYTES) -> Compacted:
    """Write the shards of a dataset anew: images in the manifest's order, then the masks. Versions there are keep theirs.

    Args:
        folder: The dataset; it is replaced when the new one is complete.
        max_shard_bytes: Size of a shard.

    Raises:
        DataError: A shard is missing or damaged; nothing was changed.
        TransientError: Another process writes the dataset.
    """
    before = _sizes(folder)
    with writing(folder), Dataset.of_folder(folder) as dataset, replacing(folder) as out, bar(f"compact {folder.name}", len(dataset)) as progress:
        out.mkdir(parents=True)
        table = dataset.table
        ids = table.column("image_id").to_pylist()
        with ShardWriter(out, max_shard_bytes) as writer:
            for kind in ("", "mask_"):
                old = [table.column(f"{kind}{name}").to_pylist() for name in ("shard", "offset", "length")]
                new: list[tuple[str | None, int | None, int | None]] = []
                for image_id, *place in zip(ids, *old, strict=True):
                    name = f"{image_id}.mask.png" if kind else image_id
                    new.append(writer.add(name, dataset.shards.read(*place)) if place[0] is not None else (None, None, None))
                    progress.update(0 if kind else 1)
                for name, values in zip(("shard", "offset", "length"), zip(*new, strict=True), strict=True):
                    column = f"{kind}{name}"
                    table = table.set_column(table.column_names.index(column), column, pa.array(values, COLUMNS[column]))
        write_table(table, out / MANIFEST)
        write_dataset_info(dataset.info, out)
    after = _sizes(folder)
    return Compacted(sum(before), sum(after), len(before), len(after))


def _sizes(folder: Path) -> list[int]:
    return [path.stat().st_size for path in (folder / SHARDS).iterdir()]
