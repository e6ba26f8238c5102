"""data/splits.parquet: which side each image is on. `split` writes it, `augment` reads it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from components.errors import DataError


def write_splits(image_ids: pd.Series, sides: pd.Series, path: Path) -> None:
    """Write image_id and split (train, val, test; null: left out), in the order given."""
    table = pa.table({"image_id": pa.array(image_ids, pa.string()), "split": pa.array(sides, pa.string())})
    pq.write_table(table, path, compression="zstd")


def read_splits(path: Path) -> pd.Series:
    """Return each image's side by image_id, None where it is left out.

    Raises:
        DataError: The file is missing or is not split's.
    """
    try:
        table = pq.read_table(path, columns=["image_id", "split"])
    except FileNotFoundError:
        raise DataError(f"{path} not found; run split first") from None
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is not what split writes: {error}; run split again") from None
    return pd.Series(table.column("split").to_pylist(), index=table.column("image_id").to_pylist(), dtype=object)
