"""Reading tables, CSV or Parquet, in bounded memory: columns of typed cells, and where each row stands in its file.

CSV (RFC 4180): UTF-8, or UTF-16 with its mark, separated by comma, semicolon, tab or bar, whichever the header has most of; quotes within
quotes are doubled. Every cell is data: what a spreadsheet would run as a formula is kept as text. Columns without a name are left out.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.errors import DataError
from components.progress import bar

#: A table that takes more bytes unpacked is refused while it is read.
MAX_TABLE_BYTES = 4 * 2**30
_CHUNK = 50_000
_LEADING_ZERO = r"^[+-]?0\d"

Columns = dict[str, pa.ChunkedArray]
#: The columns' names in lower case → as many rows are read at most.
MostRows = Callable[[Sequence[str]], int]


@dataclass(frozen=True)
class TableFile:
    """A table with its columns' names in lower case; texts that are empty are null."""

    name: str
    columns: Columns
    lines: Sequence[int] | None
    """Where each row begins in a CSV."""

    def where(self, row: int) -> str:
        """Return where a row stands, for a person who looks for it."""
        return f"{self.name}, row {row + 1}" if self.lines is None else f"{self.name}, line {self.lines[row]}"

    def first_of(self, names: Sequence[str]) -> str | None:
        """Return the first of the names that a column has."""
        return next((name for name in names if name in self.columns), None)


def numbers(table: TableFile, name: str) -> npt.NDArray[np.float64]:
    """Return a column as float64 (rows,), NaN where a cell is empty.

    Raises:
        DataError: A cell is no finite number; names its row.
    """
    column = table.columns[name]
    cells = pc.utf8_trim_whitespace(column) if pa.types.is_string(column.type) else column
    try:
        out = np.array(pc.cast(cells, pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)  # null: NaN
    except pa.ArrowException:
        raise _no_number(table, name, _first_uncastable(cells)) from None
    if len(bad := np.flatnonzero(~np.isfinite(out) & ~pc.is_null(column).to_numpy(zero_copy_only=False))):
        raise _no_number(table, name, int(bad[0]))
    return out


def _no_number(table: TableFile, name: str, row: int) -> DataError:
    return DataError(f"{table.where(row)}: {name} is {table.columns[name][row].as_py()!r}; expected a number")


def _first_uncastable(cells: pa.ChunkedArray) -> int:
    """Return the first row that is no float64 to Arrow, of a column that has one: by halves, so that each cell is read about twice."""
    first, end = 0, len(cells)  # every row before `first` is castable, one of those up to `end` is not
    while end - first > 1:
        middle = (first + end) // 2
        try:
            pc.cast(cells.slice(first, middle - first), pa.float64())
            first = middle
        except pa.ArrowException:
            end = middle
    return first


def typed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return texts as numbers where all of them are; 007 is no number."""
    if pc.any(pc.match_substring_regex(column, _LEADING_ZERO)).as_py():
        return column
    for kind in (pa.int64(), pa.float64()):
        try:
            return column.cast(kind)
        except pa.ArrowException:
            continue
    return column


def read_table(content: bytes, name: str, most_rows: MostRows) -> TableFile:
    """Return a table file's columns.

    Args:
        content: The file.
        name: Its name; .parquet is Parquet, everything else CSV.
        most_rows: A longer table is refused while it is read.

    Raises:
        DataError: It is damaged or too large; names the line.
    """
    return (_read_parquet if name.lower().endswith(".parquet") else _read_csv)(content, name, most_rows)


def column_names(begin: bytes, name: str) -> list[str]:
    """Return the columns' names in lower case: of a whole Parquet file, or of how a CSV begins; none where it cannot be read."""
    try:
        if name.lower().endswith(".parquet"):
            return [column.lower() for column in pq.read_schema(pa.BufferReader(begin)).names]
        return next(_records(begin, name))[1]
    except (DataError, StopIteration, pa.ArrowException, OSError, ValueError):
        return []


def _read_parquet(content: bytes, name: str, most_rows: MostRows) -> TableFile:
    columns: dict[str, list[pa.Array]] = {}
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        schema = file.schema_arrow
        _check_names([column.lower() for column in schema.names], name)
        for field in schema:
            if pa.types.is_nested(field.type):
                raise DataError(f"{name}: the column {field.name!r} is {field.type}; expected one value a cell")
        if file.metadata.num_rows > (most := most_rows([column.lower() for column in schema.names])):
            raise DataError(f"{name} has {file.metadata.num_rows:,} rows; expected at most {most:,}. Split it")
        columns, size = {column.lower(): [] for column in schema.names}, 0
        with bar(f"read {name}", file.metadata.num_rows, "rows") as progress:
            for batch in file.iter_batches(4096):
                size += batch.nbytes
                if size > MAX_TABLE_BYTES:
                    raise DataError(f"{name} unpacks to more than {MAX_TABLE_BYTES:,} bytes; split it")
                for column, values in zip(columns, batch.columns, strict=True):
                    columns[column].append(_texts(values))
                progress.update(batch.num_rows)
        return TableFile(name, {column: pa.chunked_array(chunks or [pa.array([], pa.string())]) for column, chunks in columns.items()}, None)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{name} is no Parquet file that can be read: {' '.join(str(error).split())[:200]}") from None


def _texts(values: pa.Array) -> pa.Array:
    values.validate(full=True)  # Parquet promises UTF-8 and nothing checks it
    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        values = values.cast(pa.string())
        return pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)
    return values.cast(kind)


def _read_csv(content: bytes, name: str, most_rows: MostRows) -> TableFile:
    records = _records(content, name)
    try:
        _, header = next(records)
    except StopIteration:
        raise DataError(f"{name} is empty; expected a header and a row for each image") from None
    _check_names(header, name)
    chunks: list[list[pa.Array]] = [[] for _ in header]
    rows: list[list[str]] = []
    lines = array("q")
    max_rows = most_rows(header)

    def flush() -> None:
        for column, cells in zip(chunks, zip(*rows, strict=True), strict=True):
            column.append(pa.array([cell or None for cell in cells], pa.string()))
        rows.clear()

    with bar(f"read {name}", content.count(b"\n"), "rows") as progress:
        for line, row in records:
            if len(row) != len(header):
                raise DataError(
                    f"{name}, line {line}: {len(row)} cells; expected {len(header)}, as in the header. Is a quote or a separator missing?"
                )
            rows.append(row)
            lines.append(line)
            if len(lines) > max_rows:
                raise DataError(f"{name} has more than {max_rows:,} rows; split it")
            if len(rows) == _CHUNK:
                flush()
                progress.update(_CHUNK)
        if rows:
            flush()
    return TableFile(name, {column: pa.chunked_array(parts, pa.string()) for column, parts in zip(header, chunks, strict=True) if column}, lines)


def _records(content: bytes, name: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV with the line each begins at, the header's names first, in lower case; blank lines are left out."""
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    begin = content[:_CHUNK].decode("utf-16" if wide else "utf-8-sig", errors="ignore").partition("\n")[0]
    separator = max(",;\t|", key=begin.count)
    text = io.TextIOWrapper(io.BytesIO(content), "utf-16" if wide else "utf-8-sig", newline="")
    reader = csv.reader(text, delimiter=separator, strict=True)
    line, header = 1, True
    try:
        for row in reader:
            if row:
                if any("\0" in cell for cell in row):
                    raise DataError(f"{name}, line {line}: a NUL byte; expected text. Is it a table?")
                yield line, [cell.strip().lower() for cell in row] if header else row
                header = False
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{name}, line {line}: {error}; is a quote missing? Quotes within quotes are doubled") from None
    except UnicodeError:
        raise DataError(f"{name}, line {_undecodable(content, wide)}: the text is not UTF-8; save the table as UTF-8") from None


def _undecodable(content: bytes, wide: bool) -> int:
    try:
        content.decode("utf-16" if wide else "utf-8")
    except UnicodeDecodeError as error:
        return len(re.findall(rb"\n\0|\0\n" if wide else rb"\n", content[: error.start])) + 1
    return 1


def _check_names(header: Sequence[str], name: str) -> None:
    twice = sorted({column for column in header if column and header.count(column) > 1})
    if twice:
        raise DataError(f"{name}: the column {twice[0]!r} comes twice; expected each once, in upper or lower case")
