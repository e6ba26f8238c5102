"""What `tables` promises to `table`, on the edges that no dataset shows (the rest is tested with the format)."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.datasets.tables import column_names, numbers, read_table, typed
from components.errors import DataError


def test_columns_are_told_from_how_a_file_begins() -> None:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"Image": ["a"], "x0": [1.5]}), buffer)
    assert column_names(buffer.getvalue(), "t.parquet") == ["image", "x0"]
    assert column_names(b"\xef\xbb\xbfImage;Label\na.png;cat\nb.p", "t.csv") == ["image", "label"]
    assert column_names(b"", "t.csv") == column_names(b"PAR1", "t.parquet") == []


def test_a_cell_without_a_number_is_nan_and_spaces_do_not_matter() -> None:
    table = read_table(b"image,x\na, 1.5 \nb,\nc,2e1\n", "t.csv", lambda _: 10)
    np.testing.assert_array_equal(numbers(table, "x"), [1.5, np.nan, 20])


def test_more_rows_than_allowed_are_refused_while_they_are_read() -> None:
    with pytest.raises(DataError, match="more than 2 rows; split it"):
        read_table(b"image\na\nb\nc\n", "t.csv", lambda names: 2 if names == ["image"] else 0)


def test_a_number_that_begins_with_zero_stays_a_text() -> None:
    assert typed(pa.chunked_array([["007", "8"]])).to_pylist() == ["007", "8"]
    assert typed(pa.chunked_array([["7", "8"]])).to_pylist() == [7, 8]
