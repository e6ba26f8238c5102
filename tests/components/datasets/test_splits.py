from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from components.datasets.splits import read_splits, write_splits
from components.errors import DataError


def test_sides_come_back_in_order_with_none_where_an_image_is_left_out(tmp_path: Path) -> None:
    write_splits(pd.Series(["b", "a", "c"]), pd.Series(["train", None, "test"], dtype=object), tmp_path / "splits.parquet")
    sides = read_splits(tmp_path / "splits.parquet")
    assert list(sides.items()) == [("b", "train"), ("a", None), ("c", "test")]


def test_a_missing_or_foreign_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not found; run split first"):
        read_splits(tmp_path / "splits.parquet")
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "splits.parquet")
    with pytest.raises(DataError, match="not what split writes"):
        read_splits(tmp_path / "splits.parquet")
