from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from components.datasets.splits import read_near_duplicates, read_splits, write_near_duplicates, write_splits
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


def test_near_duplicates_come_back_as_they_were_and_another_file_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "near_duplicates.parquet"
    pairs = pd.DataFrame({"first": ["a"], "second": ["b"], "distance": [3], "correlation": [0.99], "how": ["flipped"]})
    for frame in (pairs, pairs.iloc[:0]):
        write_near_duplicates(frame, path)
        assert read_near_duplicates(path).to_dict("records") == frame[["first", "second"]].to_dict("records")
    path.write_bytes(b"no Parquet")
    with pytest.raises(DataError, match="not what validate writes"):
        read_near_duplicates(path)
