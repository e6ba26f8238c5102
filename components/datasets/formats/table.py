"""A table, CSV or Parquet, beside its images: a row an image, or a row a box.

Columns, by any of these names in upper or lower case:

image   `image`, `path`, `file`, `filename`, `file_name`, `filepath`, `image_path`: relative to the table or to the source, or the end of the path
label   `label`, `class`, `category`; empty: not labelled
box     `x0 y0 x1 y1`, or `xmin ymin xmax ymax`, `x_min y_min x_max y_max`: pixel edges from the upper left corner, taken as they are, so the
        left half of an image of width 100 is 0 to 50. A row without any of the four says that nothing is on the image
split   train, val or test as folders may be called; `group`; `width` and `height`: an image of another size is quarantined
others  metadata, of the type that all their cells have; in a table of boxes those that differ within an image are left out, and named
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from components.datasets.manifest import ANNOTATIONS, COLUMNS
from components.datasets.parsing import check_classes, first_bytes, read_annotation
from components.datasets.reading import Entry, Files, read_images, split_of
from components.datasets.sources.names import MAX_FILES
from components.datasets.tables import TableFile, column_names, numbers, read_table, typed
from components.errors import DataError
from components.protocols import Quarantined, Reading, Source

log = logging.getLogger(__name__)

SUFFIXES = (".csv", ".tsv", ".parquet")
#: A table of more boxes is refused while it is read.
MAX_ROWS = 20_000_000
_IMAGE = ("image", "path", "file", "filename", "file_name", "filepath", "image_path")
_LABEL = ("label", "class", "category")
_BOXES = (("x0", "y0", "x1", "y1"), ("xmin", "ymin", "xmax", "ymax"), ("x_min", "y_min", "x_max", "y_max"))
_RESERVED = {*COLUMNS, *ANNOTATIONS} - {"split", "group", "label", "height", "width"}


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
            begin = source.read(names[0]) if names[0].lower().endswith(".parquet") else first_bytes(source, names, names[0][-4:].lower()) or b""
        except DataError:
            return False
        return not set(_IMAGE).isdisjoint(column_names(begin, names[0]))

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
        table = read_table(content, names[0], _most_rows)
        _check_columns(table, task)
        boxes = None if task == "classification" else next((given for given in _BOXES if set(given) <= set(table.columns)), None)
        entries = _Entries(table, Files(source.files()), boxes)
        label = table.first_of(_LABEL)
        labels = sorted(map(str, pc.unique(table.columns[label]).drop_null().to_pylist())) if label else []
        images = read_images(source, entries, entries.lost())
        return Reading("detection" if boxes else "classification", check_classes(labels, names[0]), images, len(entries) + entries.num_lost)


class _Entries(Sequence[Entry]):
    """The images of a table, each made of its rows when it is asked for: millions of them take the memory of the table alone."""

    def __init__(self, table: TableFile, files: Files, boxes: Sequence[str] | None) -> None:
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
        self._sizes = {name: numbers(table, name) for name in ("height", "width") if name in table.columns}
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


def _check_columns(table: TableFile, task: str | None) -> None:
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


def _coordinates(table: TableFile, boxes: Sequence[str], label: str | None) -> npt.NDArray[np.float64]:
    """Return the boxes as float64 (rows, 4), NaN where a row has none."""
    if label is None:
        raise DataError(f"{table.name} has boxes and no column {', '.join(_LABEL)}; expected the class of each box")
    out = np.stack([numbers(table, name) for name in boxes], axis=1)
    missing = np.isnan(out).sum(axis=1)
    if len(broken := np.flatnonzero(missing % 4)):
        raise DataError(f"{table.where(int(broken[0]))}: the box lacks a coordinate; expected {', '.join(boxes)}, or none of them")
    unlabelled = pc.is_null(table.columns[label]).to_numpy(zero_copy_only=False) != (missing == 4)
    if len(broken := np.flatnonzero(unlabelled)):
        what = "a label without a box" if missing[broken[0]] else "a box without a label"
        raise DataError(f"{table.where(int(broken[0]))}: {what}; expected both, or neither where nothing is on the image")
    return out


def _metadata(table: TableFile, names: Sequence[str], firsts: npt.NDArray[np.int64] | None) -> Mapping[str, pa.ChunkedArray]:
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
            out[name] = typed(column) if table.lines is not None else column
    return out


def _most_rows(names: Sequence[str]) -> int:
    return MAX_ROWS if any(set(given) <= set(names) for given in _BOXES) else min(MAX_ROWS, MAX_FILES)


def _first(mask: pa.ChunkedArray) -> int:
    return int(pc.index(mask, True).as_py())


plugin = Table()
