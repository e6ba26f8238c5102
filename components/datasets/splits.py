"""What passes by `split`: the near duplicates that `validate` found, and data/splits.parquet, the side each image is on, which `augment` reads."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from components.errors import DataError

_PAIRS = pa.schema([("first", pa.string()), ("second", pa.string()), ("distance", pa.uint8()), ("correlation", pa.float64()), ("how", pa.string())])


def write_splits(image_ids: pd.Series, sides: pd.Series, path: Path) -> None:
    """Write image_id and split (train, val, test; null: left out), in the order given."""
    table = pa.table({"image_id": pa.array(image_ids, pa.string()), "split": pa.array(sides, pa.string())})
    pq.write_table(table, path, compression="zstd")


def read_splits(path: Path) -> pd.Series:
    """Return each image's side by image_id, None where it is left out.

    Raises:
        DataError: The file is missing or is not split's.
    """
    table = _read(path, ["image_id", "split"], "split")
    return pd.Series(table.column("split").to_pylist(), index=table.column("image_id").to_pylist(), dtype=object)


def write_near_duplicates(pairs: pd.DataFrame, path: Path) -> None:
    """Write pairs of images, in the order given: what `datasets.checks.duplicates` finds (first, second, distance, correlation, how)."""
    pq.write_table(pa.Table.from_pandas(pairs, schema=_PAIRS, preserve_index=False), path, compression="zstd")


def read_near_duplicates(path: Path) -> pd.DataFrame:
    """Return the pairs of image ids, columns first and second.

    Raises:
        DataError: The file is missing or is not validate's.
    """
    table = _read(path, ["first", "second"], "validate")
    return pd.DataFrame({name: table.column(name).to_pylist() for name in table.column_names}, dtype=object)


def _read(path: Path, columns: list[str], step: str) -> pa.Table:
    """Return columns of what a step writes."""
    try:
        return pq.read_table(path, columns=columns)
    except FileNotFoundError:
        raise DataError(f"{path} not found; run {step} first") from None
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is not what {step} writes: {error}; run {step} again") from None
