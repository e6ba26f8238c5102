"""A dataset on disk: dataset.yaml, manifest.parquet (one row an image) and shards/*.tar."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, ValidationError, field_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from components.datasets.annotations import MASK_PNG
from components.datasets.digest import digest_of
from components.errors import DataError
from components.records import DatasetRef, Record

SCHEMA_VERSION = 2
#: Older versions that are read as they are: what they lack is null.
UPGRADED_VERSIONS = {1}
DATASET = "dataset.yaml"
MANIFEST = "manifest.parquet"
SHARDS = "shards"

#: The manifest's own columns. `height` and `width` are those after orientation; they and `orientation` are null where the image is damaged.
COLUMNS: dict[str, pa.DataType] = {
    "image_id": pa.string(),
    "sha256": pa.string(),
    "shard": pa.string(),
    "offset": pa.int64(),
    "length": pa.int64(),
    "mask_shard": pa.string(),
    "mask_offset": pa.int64(),
    "mask_length": pa.int64(),
    "height": pa.int32(),
    "width": pa.int32(),
    "orientation": pa.int8(),
    "split": pa.string(),
    "group": pa.string(),
}
#: The columns that say what is in the image; they stand last. `datasets.annotations` says what each means.
ANNOTATIONS: dict[str, pa.DataType] = {
    "label": pa.string(),
    "boxes_xyxy": pa.list_(pa.list_(pa.float64(), 4)),
    "box_labels": pa.list_(pa.string()),
    "box_ignore": pa.list_(pa.bool_()),
    "polygons": pa.list_(pa.list_(pa.list_(pa.float64()))),
    "mask_sha256": pa.string(),
}
NULLABLE_INTEGERS = {"height": "Int32", "width": "Int32", "orientation": "Int8", "mask_offset": "Int64", "mask_length": "Int64"}
_SINCE_VERSION_2 = {"mask_shard", "mask_offset", "mask_length", "boxes_xyxy", "box_labels", "box_ignore", "polygons", "mask_sha256"}
#: What `manifest_digest` is taken over.
DIGESTED = ("image_id", "sha256", *ANNOTATIONS)


#: Another value in each row: a dictionary of the values would only cost time and space.
_UNIQUE = {"image_id", "sha256", "mask_sha256", "offset", "mask_offset"}


class DatasetInfo(Record):
    """dataset.yaml."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    version: str = Field(min_length=1)
    task: str
    classes: list[str] = Field(description="in order: a class's index is its place here")

    @field_validator("classes")
    @classmethod
    def _are_distinct(cls, classes: list[str]) -> list[str]:
        repeated = sorted({name for name in classes if classes.count(name) > 1})
        if repeated:
            raise ValueError(f"classes named twice: {', '.join(repeated)}")
        return classes


def read_dataset(folder: Path) -> DatasetInfo:
    """Read dataset.yaml.

    Raises:
        DataError: The dataset is not there, or the file is not what it has to be.
    """
    path = folder / DATASET
    if not folder.is_dir():
        tracked = folder.with_name(folder.name + ".dvc").exists()
        remedy = f"`dvc pull {folder}` fetches it" if tracked else f"`darkroom data import SOURCE --name {folder.name}` makes it"
        raise DataError(f"dataset {folder} not found; {remedy}")
    try:
        return parse_dataset(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        raise DataError(f"{folder} is no dataset: {DATASET} is missing; a dataset has {DATASET}, {MANIFEST} and {SHARDS}/") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not valid YAML: {error}") from None


def parse_dataset(text: str, source: str) -> DatasetInfo:
    """Read the text of a dataset.yaml; `source` names it in errors.

    Raises:
        DataError: It is not what it has to be.
    """
    try:
        content = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise DataError(f"{source} is not valid YAML: {' '.join(str(error).split())}") from None
    try:
        return DatasetInfo.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{source}: {where}: found {first['input']!r}; expected: {first['msg']}") from None


def write_dataset_info(info: DatasetInfo, folder: Path) -> None:
    """Write dataset.yaml; equal infos give equal bytes."""
    yaml = YAML()
    with (folder / DATASET).open("w", encoding="utf-8") as file:
        yaml.dump(info.model_dump(), file)


def metadata_columns(frame: pd.DataFrame) -> list[str]:
    """Return the columns beyond the manifest's own and the annotations: slices are cut along them."""
    return [column for column in frame.columns if column not in COLUMNS and column not in ANNOTATIONS and column != MASK_PNG]


def given_annotations(frame: pd.DataFrame) -> list[str]:
    """Return the annotation columns that say something of at least one image."""
    return [column for column in ANNOTATIONS if column in frame and frame[column].notna().any()]


def write_table(table: pa.Table, path: Path) -> None:
    """Write a manifest that is an Arrow table of the right columns and types; equal tables give equal bytes."""
    repeated = [_leaf(field.name, field.type) for field in table.schema if field.name not in _UNIQUE]
    pq.write_table(table.replace_schema_metadata({"schema_version": str(SCHEMA_VERSION)}), path, compression="zstd", use_dictionary=repeated)


def read_table(folder: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read the manifest of a dataset as an Arrow table, rows in the order of import: what a million rows are worked on as.

    Args:
        folder: The dataset.
        columns: Read only these; None: all.

    Raises:
        DataError: It is missing, damaged, of another schema version, or lacks a column.
    """
    path = folder / MANIFEST
    if not path.is_file():
        read_dataset(folder)
        raise DataError(f"{path} not found; `dvc checkout` brings it back, or import the dataset again with --replace")
    return parse_manifest(path, columns)


def parse_manifest(source: Path | pa.BufferReader, columns: Sequence[str] | None = None, name: str | None = None) -> pa.Table:
    """Read a manifest from a file, or from bytes (then `name` is what errors call it); an older schema version is upgraded.

    Raises:
        DataError: It is damaged, of another schema version, or lacks a column.
    """
    path = name or str(source)
    try:
        file = pq.ParquetFile(source)
        schema = file.schema_arrow
        found = (schema.metadata or {}).get(b"schema_version", b"none").decode()
        _check_version(path, found)
        missing = set() if found == str(SCHEMA_VERSION) else {column for column in _SINCE_VERSION_2 if column not in schema.names}
        for column, kind in {**COLUMNS, **ANNOTATIONS}.items():
            if column in missing:
                continue
            if column not in schema.names:
                raise DataError(f"{path}: column '{column}' is missing; found {', '.join(schema.names)}")
            if not _is_of(schema.field(column).type, kind):
                raise DataError(f"{path}: column '{column}' is {schema.field(column).type}, expected {kind}")
        wanted = list(dict.fromkeys(columns or [*COLUMNS, *(name for name in schema.names if name not in ANNOTATIONS), *ANNOTATIONS]))
        table = file.read(columns=[column for column in wanted if column not in missing])
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is no Parquet file that can be read: {error}") from None
    if not table.num_rows:
        raise DataError(f"{path} holds no images")
    kinds = {**COLUMNS, **ANNOTATIONS}
    for column in missing.intersection(wanted):
        table = table.append_column(column, pa.nulls(table.num_rows, kinds[column]))
    table = table.select(wanted).cast(pa.schema([pa.field(column, kinds.get(column, table.schema.field(column).type)) for column in wanted]))
    for column in {"shard", "offset", "length"}.intersection(wanted):
        if table.column(column).null_count:
            raise DataError(f"{path}: column '{column}' has rows without a value: those images could not be read; import the dataset again")
    return table


def read_manifest(folder: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read the manifest of a dataset as a frame, rows in the order of import; texts are str or None.

    Args:
        folder: The dataset.
        columns: Read only these; None: all.

    Raises:
        DataError: It is missing, damaged, of another schema version, or lacks a column.
    """
    return frame_of(read_table(folder, columns))


def frame_of(table: pa.Table) -> pd.DataFrame:
    """Return a manifest's table as a frame; texts are str or None."""
    frame = text_columns_as_objects(table)
    return frame.astype({column: kind for column, kind in NULLABLE_INTEGERS.items() if column in frame})


def text_columns_as_objects(table: pa.Table) -> pd.DataFrame:
    """Return a table as a frame in which texts are str or None, never NaN; equal texts of a column are one object."""
    return pd.DataFrame({name: _as_pandas(table.column(name)) for name in table.column_names})


def dataset_ref(folder: Path, frame: pd.DataFrame | None = None) -> DatasetRef:
    """Return which bytes these are.

    Args:
        folder: The dataset.
        frame: Its manifest, where it has been read already.
    """
    info = read_dataset(folder)
    table = read_table(folder, DIGESTED) if frame is None else _table_of(frame)
    return DatasetRef(name=info.name, version=info.version, manifest_digest=manifest_digest(table), num_images=table.num_rows)


def manifest_digest(table: pa.Table) -> str:
    """Return the SHA-256 over the (image_id, sha256, annotations) of all rows, sorted: what the data says, not how it is stored."""
    return digest_of(table.select(DIGESTED).sort_by([("image_id", "ascending"), ("sha256", "ascending")]))


def _table_of(frame: pd.DataFrame) -> pa.Table:
    kinds = {**COLUMNS, **ANNOTATIONS}
    return pa.table({column: pa.array(frame[column], type=kinds[column], from_pandas=True) for column in DIGESTED})


def _as_pandas(values: pa.ChunkedArray) -> pd.Series[Any]:
    if pa.types.is_null(values.type):
        return pd.Series([None] * len(values), dtype=object)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        encoded = values.combine_chunks().dictionary_encode()
        texts = np.array([*encoded.dictionary.to_pylist(), None], dtype=object)
        return pd.Series(texts[encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)], dtype=object)
    if pa.types.is_list(values.type):
        return pd.Series([None] * len(values) if values.null_count == len(values) else values.to_pylist(), dtype=object)
    series: pd.Series[Any] = values.to_pandas()
    return series


def _leaf(path: str, kind: pa.DataType) -> str:
    """Return the path in a Parquet file of the values of a column, which may be lists."""
    while pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        path, kind = f"{path}.list.element", kind.value_type
    return path


def _is_of(found: pa.DataType, expected: pa.DataType) -> bool:
    """Tell whether a column's type is the one expected; the names of a list's items do not matter, a column of nulls is of any type."""
    return bool(found == expected or pa.types.is_null(found) or (pa.types.is_list(found) and str(found).replace("element", "item") == str(expected)))


def _check_version(path: str, found: str) -> None:
    if found == str(SCHEMA_VERSION) or (found.isdigit() and int(found) in UPGRADED_VERSIONS):
        return
    newer = found.isdigit() and int(found) > SCHEMA_VERSION
    remedy = "a newer Darkroom wrote it: update Darkroom" if newer else "import the dataset again"
    raise DataError(f"{path}: schema_version {found}, expected {SCHEMA_VERSION}; {remedy}")
