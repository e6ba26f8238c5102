"""A table, CSV or Parquet, beside its images: a row an image, or a row a box.

Columns, by any of these names in upper or lower case:

image   `image`, `path`, `file`, `filename`, `file_name`, `filepath`, `image_path`: relative to the table or to the source, or the end of the path
label   `label`, `class`, `category`; empty: not labelled
box     `x0 y0 x1 y1`, or `xmin ymin xmax ymax`, `x_min y_min x_max y_max`: pixel edges from the upper left corner, taken as they are, so the
        left half of an image of width 100 is 0 to 50. A row without any of the four says that nothing is on the image
split   train, val or test as folders may be called; `group`; `width` and `height`: an image of another size is quarantined
others  metadata, of the type that all their cells have; in a table of boxes those that differ within an image are left out, and named

CSV (RFC 4180): UTF-8, or UTF-16 with its mark, separated by comma, semicolon, tab or bar, whichever the header has most of; quotes within
quotes are doubled. Every cell is data: what a spreadsheet would run as a formula is kept as text. Columns without a name are left out.
"""

from __future__ import annotations

import codecs
import csv
import io
import logging
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.datasets.manifest import ANNOTATIONS, COLUMNS
from components.datasets.reading import Entry, Files, chained, check_classes, first_bytes, read_annotation, read_images, split_of
from components.datasets.sources.names import MAX_FILES
from components.errors import DataError
from components.progress import bar
from components.protocols import Quarantined, Reading, Source

log = logging.getLogger(__name__)

SUFFIXES = (".csv", ".tsv", ".parquet")
#: A table of more boxes, or one that takes more bytes unpacked, is refused while it is read.
MAX_ROWS = 20_000_000
MAX_TABLE_BYTES = 4 * 2**30
_IMAGE = ("image", "path", "file", "filename", "file_name", "filepath", "image_path")
_LABEL = ("label", "class", "category")
_BOXES = (("x0", "y0", "x1", "y1"), ("xmin", "ymin", "xmax", "ymax"), ("x_min", "y_min", "x_max", "y_max"))
_RESERVED = {*COLUMNS, *ANNOTATIONS} - {"split", "group", "label", "height", "width"}
_CHUNK = 50_000
_LEADING_ZERO = r"^[+-]?0\d"

_Columns = dict[str, pa.ChunkedArray]


@dataclass(frozen=True)
class _Table:
    """A table with its columns' names in lower case; texts that are empty are null."""

    name: str
    columns: _Columns
    lines: Sequence[int] | None
    """Where each row begins in a CSV."""

    def where(self, row: int) -> str:
        return f"{self.name}, row {row + 1}" if self.lines is None else f"{self.name}, line {self.lines[row]}"

    def first_of(self, names: Sequence[str]) -> str | None:
        return next((name for name in names if name in self.columns), None)


class Table:
    """Images and their labels or boxes in a CSV or Parquet table."""

    name = "table"
    tasks = ("classification", "detection")

    def matches(self, source: Source) -> bool:
        """Tell whether there is one table, and a column of it names images."""
        names = _tables(source)
        if len(names) != 1:
            return False
        try:
            if names[0].lower().endswith(".parquet"):
                header = [column.lower() for column in pq.read_schema(pa.BufferReader(source.read(names[0]))).names]
            else:
                header = next(_records(first_bytes(source, names, names[0][-4:].lower()) or b"", names[0]))[1]
        except (DataError, StopIteration, pa.ArrowException, OSError, ValueError):
            return False
        return not set(_IMAGE).isdisjoint(header)

    def read(self, source: Source, task: str | None) -> Reading:
        """Read the table; classes are sorted, images come in the order in which the table names them first.

        Raises:
            DataError: There is no table or more than one, or it is damaged; names the line.
        """
        names = _tables(source)
        if len(names) != 1:
            found = f"found {len(names)}: {', '.join(names[:3])}" if names else "found none"
            raise DataError(f"{source.uri}: {found}; expected one table, .csv or .parquet, with a column 'image'")
        content = read_annotation(source, names[0])
        table = _read_parquet(content, names[0]) if names[0].lower().endswith(".parquet") else _read_csv(content, names[0])
        _check_columns(table, task)
        boxes = None if task == "classification" else next((given for given in _BOXES if set(given) <= set(table.columns)), None)
        entries = _Entries(table, Files(source.files()), boxes)
        label = table.first_of(_LABEL)
        labels = sorted(map(str, pc.unique(table.columns[label]).drop_null().to_pylist())) if label else []
        images = chained(read_images(source, entries), entries.lost())
        return Reading("detection" if boxes else "classification", check_classes(labels, names[0]), images, len(entries) + entries.num_lost)


class _Entries(Sequence[Entry]):
    """The images of a table, each made of its rows when it is asked for: millions of them take the memory of the table alone."""

    def __init__(self, table: _Table, files: Files, boxes: Sequence[str] | None) -> None:
        self._table, self._source_files = table, files
        image = table.first_of(_IMAGE)
        assert image is not None  # noqa: S101 - `_check_columns` has seen it
        encoded = table.columns[image].combine_chunks().dictionary_encode()
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        self._called = encoded.dictionary
        if len(self._called) > MAX_FILES:
            raise DataError(f"{table.name} names {len(self._called):,} images; expected at most {MAX_FILES:,}. Import it in parts")
        self._order = np.argsort(codes, kind="stable")
        self._starts = np.searchsorted(codes[self._order], np.arange(len(self._called) + 1))
        firsts = self._order[self._starts[:-1]]
        if boxes is None and len(firsts) < len(codes):
            again = int(np.flatnonzero(firsts[codes] != np.arange(len(codes)))[0])
            raise DataError(
                f"{table.where(again)}: the image comes twice, first at {table.where(int(firsts[codes[again]]))}; expected one row an image"
            )
        self._label = table.first_of(_LABEL)
        self._coordinates = None if boxes is None else _coordinates(table, boxes, self._label)
        self._sizes = {name: _numbers(table, name) for name in ("height", "width") if name in table.columns}
        used = {image, self._label, *(boxes or ()), "height", "width"}
        self._metadata = _metadata(table, [name for name in table.columns if name not in used], firsts[codes] if boxes else None)
        self._kept, self._files = self._found(firsts)
        self.num_lost = len(self._called) - len(self._kept)

    def __len__(self) -> int:
        return len(self._files)

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Entry]: ...
    def __getitem__(self, index: int | slice) -> Entry | Sequence[Entry]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        code = self._kept[index]
        rows = self._order[self._starts[code] : self._starts[code + 1]]
        first = int(rows[0])
        row: dict[str, Any] = {name: value for name, column in self._metadata.items() if (value := column[first].as_py()) is not None}
        labels = None if self._label is None else self._table.columns[self._label]
        if self._coordinates is not None:
            with_box = [int(place) for place in rows if not np.isnan(self._coordinates[place, 0])]
            row["boxes_xyxy"] = [self._coordinates[place].tolist() for place in with_box]
            row["box_labels"] = [] if labels is None else [str(labels[place].as_py()) for place in with_box]
        elif labels is not None and (label := labels[first].as_py()) is not None:
            row["label"] = str(label)
        size = [self._sizes[name][first] for name in ("height", "width")] if len(self._sizes) == 2 else [np.nan]
        return Entry(self._files[index], row, size_hw=None if np.isnan(size).any() else (int(size[0]), int(size[1])))

    def lost(self) -> Iterator[Quarantined]:
        """Yield the images that the table names and that cannot be found."""
        kept = set(self._kept)
        for code, name in enumerate(self._called):
            if code not in kept:
                try:
                    self._source_files.find(name.as_py(), self._table.name)
                except DataError as error:
                    yield Quarantined(name.as_py(), str(error))

    def _found(self, firsts: npt.NDArray[np.int64]) -> tuple[list[int], list[str]]:
        """Return the images that are there: their codes and files."""
        found: dict[str, int] = {}
        for code, name in enumerate(self._called):
            try:
                file = self._source_files.find(name.as_py(), self._table.name)
            except DataError:
                continue
            if file in found:
                other = self._called[found[file]].as_py()
                raise DataError(f"{self._table.where(int(firsts[code]))}: {name.as_py()!r} and {other!r} are the same image, {file}")
            found[file] = code
        return list(found.values()), list(found)


def _tables(source: Source) -> list[str]:
    return [name for name in source.files() if name.lower().endswith(SUFFIXES)]


def _check_columns(table: _Table, task: str | None) -> None:
    found = " ".join(", ".join(table.columns).split())[:300]
    image = table.first_of(_IMAGE)
    if image is None:
        raise DataError(f"{table.name}: the columns are {found}; expected one called {', '.join(_IMAGE[:-1])} or {_IMAGE[-1]}")
    if reserved := _RESERVED.intersection(table.columns):
        raise DataError(f"{table.name}: the column '{min(reserved)}' is the manifest's own; rename it")
    if not len(table.columns[image]):
        raise DataError(f"{table.name} has no rows; expected one for each image")
    if task == "detection" and not any(set(given) <= set(table.columns) for given in _BOXES):
        raise DataError(f"{table.name}: the columns are {found}; boxes are expected as {', '.join(_BOXES[0])} or {', '.join(_BOXES[1])}")
    if table.columns[image].null_count:
        raise DataError(f"{table.where(_first(pc.is_null(table.columns[image])))}: the image is empty; expected its path")
    if "split" in table.columns:
        for value in pc.unique(table.columns["split"]).drop_null().to_pylist():
            if split_of(str(value)) is None:
                row = _first(pc.equal(table.columns["split"], pa.scalar(value)))
                raise DataError(f"{table.where(row)}: the split is {value!r}; expected train, val or test")


def _coordinates(table: _Table, boxes: Sequence[str], label: str | None) -> npt.NDArray[np.float64]:
    """Return the boxes as float64 (rows, 4), NaN where a row has none."""
    if label is None:
        raise DataError(f"{table.name} has boxes and no column {', '.join(_LABEL)}; expected the class of each box")
    out = np.stack([_numbers(table, name) for name in boxes], axis=1)
    missing = np.isnan(out).sum(axis=1)
    if len(broken := np.flatnonzero(missing % 4)):
        raise DataError(f"{table.where(int(broken[0]))}: the box lacks a coordinate; expected {', '.join(boxes)}, or none of them")
    unlabelled = pc.is_null(table.columns[label]).to_numpy(zero_copy_only=False) != (missing == 4)
    if len(broken := np.flatnonzero(unlabelled)):
        what = "a label without a box" if missing[broken[0]] else "a box without a label"
        raise DataError(f"{table.where(int(broken[0]))}: {what}; expected both, or neither where nothing is on the image")
    return out


def _numbers(table: _Table, name: str) -> npt.NDArray[np.float64]:
    """Return a column as float64, NaN where a cell is empty."""
    column = table.columns[name]
    cells = pc.utf8_trim_whitespace(column) if pa.types.is_string(column.type) else column
    try:
        out = np.array(pc.cast(cells, pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)  # null: NaN
    except pa.ArrowException:
        raise _no_number(table, name, _first_uncastable(cells)) from None
    if len(bad := np.flatnonzero(~np.isfinite(out) & ~pc.is_null(column).to_numpy(zero_copy_only=False))):
        raise _no_number(table, name, int(bad[0]))
    return out


def _no_number(table: _Table, name: str, row: int) -> DataError:
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


def _metadata(table: _Table, names: Sequence[str], firsts: npt.NDArray[np.int64] | None) -> Mapping[str, pa.ChunkedArray]:
    """Return the columns that say something of an image, typed; `firsts` gives for each row the first row of its image."""
    out = {}
    for name in names:
        column = table.columns[name]
        if firsts is not None:
            codes = pc.fill_null(column.combine_chunks().dictionary_encode().indices, -1).to_numpy(zero_copy_only=False)
            if len(differs := np.flatnonzero(codes != codes[firsts])):
                row = int(differs[0])
                if name in ("split", "group"):
                    raise DataError(f"{table.where(row)}: the {name} is another one than at {table.where(int(firsts[row]))}, of the same image")
                log.warning("%s: the column '%s' differs within an image; it is left out", table.name, name)
                continue
        if name == "split":
            out[name] = pa.chunked_array([[value and split_of(str(value)) for value in column.to_pylist()]], pa.string())
        elif name == "group":
            out[name] = column.cast(pa.string())
        else:
            out[name] = _typed(column) if table.lines is not None else column
    return out


def _typed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return texts as numbers where all of them are; 007 is no number."""
    if pc.any(pc.match_substring_regex(column, _LEADING_ZERO)).as_py():
        return column
    for kind in (pa.int64(), pa.float64()):
        try:
            return column.cast(kind)
        except pa.ArrowException:
            continue
    return column


def _read_parquet(content: bytes, name: str) -> _Table:
    columns: dict[str, list[pa.Array]] = {}
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        schema = file.schema_arrow
        _check_names([column.lower() for column in schema.names], name)
        for field in schema:
            if pa.types.is_nested(field.type):
                raise DataError(f"{name}: the column {field.name!r} is {field.type}; expected one value a cell")
        if file.metadata.num_rows > (most := _max_rows([column.lower() for column in schema.names])):
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
        return _Table(name, {column: pa.chunked_array(chunks or [pa.array([], pa.string())]) for column, chunks in columns.items()}, None)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{name} is no Parquet file that can be read: {' '.join(str(error).split())[:200]}") from None


def _texts(values: pa.Array) -> pa.Array:
    values.validate(full=True)  # Parquet promises UTF-8 and nothing checks it
    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        values = values.cast(pa.string())
        return pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)
    return values.cast(kind)


def _read_csv(content: bytes, name: str) -> _Table:
    records = _records(content, name)
    try:
        _, header = next(records)
    except StopIteration:
        raise DataError(f"{name} is empty; expected a header and a row for each image") from None
    _check_names(header, name)
    chunks: list[list[pa.Array]] = [[] for _ in header]
    rows: list[list[str]] = []
    lines = array("q")
    max_rows = _max_rows(header)

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
    return _Table(name, {column: pa.chunked_array(parts, pa.string()) for column, parts in zip(header, chunks, strict=True) if column}, lines)


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


def _max_rows(header: Sequence[str]) -> int:
    return MAX_ROWS if any(set(given) <= set(header) for given in _BOXES) else min(MAX_ROWS, MAX_FILES)


def _first(mask: pa.ChunkedArray) -> int:
    return int(pc.index(mask, True).as_py())


plugin = Table()
