"""`darkroom data relabel`: corrected labels in. The manifest changes, no image byte moves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from components.datasets.locks import writing
from components.datasets.manifest import MANIFEST, read_dataset, read_table, write_table
from components.errors import DataError, InputError
from components.files import replacing

_SHOWN = 5


@dataclass(frozen=True)
class Relabelled:
    """What became of the corrections.

    Attributes:
        num_given: Rows of the table.
        num_changed: Images that have another label now.
        changes: from, to, images; the most frequent first.
    """

    num_given: int
    num_changed: int
    changes: list[tuple[str | None, str, int]]


def relabel(folder: Path, table: Path) -> Relabelled:
    """Put corrected labels into a dataset.

    Args:
        folder: The dataset.
        table: A CSV or Parquet file with the columns image_id and label; others are left alone.

    Raises:
        DataError: The table cannot be read, lacks a column, names an image or a class that is not there, or an image twice with different
            labels. Nothing was changed.
        InputError: The dataset holds no labels: boxes and masks are corrected where they were drawn, and imported with --append.
        TransientError: Another process writes the dataset.
    """
    info = read_dataset(folder)
    if info.task != "classification":
        raise InputError(
            f"{info.name} is for {info.task}; relabel corrects the labels of classification. Correct boxes and masks where they were drawn, "
            "then: darkroom data import SOURCE --append"
        )
    given = _read(table)
    with writing(folder):
        manifest = read_table(folder)
        old, ids = manifest.column("label").combine_chunks(), manifest.column("image_id").combine_chunks()
        _refuse_unknown(table, "images", given.column("image_id"), ids, f"{info.name} has no such image_id")
        _refuse_unknown(table, "classes", given.column("label"), pa.array(info.classes), f"{info.name} has {', '.join(info.classes[:20])}")
        place = pc.index_in(ids, value_set=given.column("image_id").combine_chunks())
        wanted = given.column("label").combine_chunks().take(place)
        new = pc.coalesce(wanted, old)
        changed = pc.invert(pc.fill_null(pc.equal(new, old), False)) if old.null_count < len(old) else wanted.is_valid()
        changed = pc.and_(changed, wanted.is_valid())
        pairs = pa.table({"from": old.filter(changed), "to": new.filter(changed)}).group_by(["from", "to"]).aggregate([([], "count_all")])
        counted = sorted(((row["from"], row["to"], row["count_all"]) for row in pairs.to_pylist()), key=lambda row: (-row[2], str(row[0]), row[1]))
        num_changed = int(pc.sum(changed).as_py() or 0)
        if num_changed:
            with replacing(folder / MANIFEST) as partial:
                write_table(manifest.set_column(manifest.column_names.index("label"), "label", new), partial)
    return Relabelled(given.num_rows, num_changed, counted)


def _read(path: Path) -> pa.Table:
    """Return image_id and label of a table, each image once."""
    names = {"image_id": pa.string(), "label": pa.string()}
    try:
        if path.suffix.lower() == ".parquet":
            table = pq.read_table(path)
        else:
            table = pyarrow.csv.read_csv(path, convert_options=pyarrow.csv.ConvertOptions(column_types=names, strings_can_be_null=False))
    except FileNotFoundError:
        raise DataError(f"{path} not found; expected a CSV or Parquet file with the columns image_id and label") from None
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise DataError(f"{path} is no table that can be read: {' '.join(str(error).split())}") from None
    if missing := [name for name in names if name not in table.column_names]:
        raise DataError(f"{path}: no column '{missing[0]}'; found {', '.join(table.column_names)}; expected image_id and label")
    try:
        table = table.select(list(names)).cast(pa.schema(list(names.items())))
    except (pa.ArrowException, ValueError) as error:
        raise DataError(f"{path}: image_id and label have to be texts: {error}") from None
    if any(table.column(name).null_count for name in names):
        raise DataError(f"{path}: a row has no image_id or no label; expected both in every row")
    table = table.group_by(["image_id", "label"]).aggregate([])
    counts = pc.value_counts(table.column("image_id").combine_chunks())
    twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    if len(twice):
        raise DataError(f"{path} gives {len(twice)} images two different labels: {_names(twice)}. Expected one label an image")
    return table


def _refuse_unknown(path: Path, what: str, found: pa.ChunkedArray, known: pa.Array, there: str) -> None:
    unknown = pc.unique(found.combine_chunks().filter(pc.invert(pc.is_in(found.combine_chunks(), value_set=known))))
    if len(unknown):
        raise DataError(f"{path} names {len(unknown)} unknown {what}: {_names(unknown)}; {there}. Nothing was changed")


def _names(values: pa.Array) -> str:
    names = sorted(values.to_pylist())
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
