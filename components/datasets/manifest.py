"""A dataset on disk: dataset.yaml, manifest.parquet (one row an image) and shards/*.tar."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, ValidationError, field_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from components.errors import DataError
from components.records import DatasetRef, Record

SCHEMA_VERSION = 1
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
    "height": pa.int32(),
    "width": pa.int32(),
    "orientation": pa.int8(),
    "split": pa.string(),
    "group": pa.string(),
}
#: The columns that say what is in the image; they stand last.
ANNOTATIONS: dict[str, pa.DataType] = {"label": pa.string()}
NULLABLE_INTEGERS = {"height": "Int32", "width": "Int32", "orientation": "Int8"}


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
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{folder} is no dataset: {DATASET} is missing; a dataset has {DATASET}, {MANIFEST} and {SHARDS}/") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    try:
        return DatasetInfo.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path}: {where}: found {first['input']!r}; expected: {first['msg']}") from None


def write_dataset_info(info: DatasetInfo, folder: Path) -> None:
    """Write dataset.yaml; equal infos give equal bytes."""
    yaml = YAML()
    with (folder / DATASET).open("w", encoding="utf-8") as file:
        yaml.dump(info.model_dump(), file)


def metadata_columns(frame: pd.DataFrame) -> list[str]:
    """Return the columns beyond the manifest's own and the annotations: slices are cut along them."""
    return [column for column in frame.columns if column not in COLUMNS and column not in ANNOTATIONS]


def write_manifest(frame: pd.DataFrame, path: Path) -> None:
    """Write a manifest: Parquet with zstd and `schema_version` in its metadata; equal frames give equal bytes.

    Args:
        frame: The manifest's own columns, the annotations, and metadata columns of any Parquet type; missing own columns are null.
        path: The file to write.
    """
    extra = metadata_columns(frame)
    arrays: dict[str, pa.Array] = {}
    for column, kind in [*COLUMNS.items(), *((name, None) for name in extra), *ANNOTATIONS.items()]:
        values = frame[column] if column in frame else pd.Series([None] * len(frame), dtype=object)
        try:
            arrays[column] = pa.array(values.astype(object) if pd.api.types.is_string_dtype(values) else values, type=kind, from_pandas=True)
        except (pa.ArrowException, TypeError) as error:
            expected = kind or "one kind of value"
            raise DataError(f"the column '{column}' cannot be stored: {error}; expected {expected}") from None
    table = pa.table(arrays).replace_schema_metadata({"schema_version": str(SCHEMA_VERSION)})
    pq.write_table(table, path, compression="zstd")


def read_manifest(folder: Path) -> pd.DataFrame:
    """Read the manifest of a dataset, rows in the order of import; texts are str or None.

    Raises:
        DataError: It is missing, damaged, of another schema version, or lacks a column.
    """
    path = folder / MANIFEST
    if not path.is_file():
        read_dataset(folder)
        raise DataError(f"{path} not found; `dvc checkout` brings it back, or import the dataset again with --replace")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is no Parquet file that can be read: {error}") from None
    found = (table.schema.metadata or {}).get(b"schema_version", b"none").decode()
    if found != str(SCHEMA_VERSION):
        newer = found.isdigit() and int(found) > SCHEMA_VERSION
        remedy = "a newer Darkroom wrote it: update Darkroom" if newer else "import the dataset again"
        raise DataError(f"{path}: schema_version {found}, expected {SCHEMA_VERSION}; {remedy}")
    for column, kind in {**COLUMNS, **ANNOTATIONS}.items():
        if column not in table.column_names:
            raise DataError(f"{path}: column '{column}' is missing; found {', '.join(table.column_names)}")
        if table.schema.field(column).type not in (kind, pa.null()):
            raise DataError(f"{path}: column '{column}' is {table.schema.field(column).type}, expected {kind}")
    for column in ("shard", "offset", "length"):
        if table.column(column).null_count:
            raise DataError(f"{path}: column '{column}' has rows without a value: those images could not be read; import the dataset again")
    if not table.num_rows:
        raise DataError(f"{path} holds no images")
    return text_columns_as_objects(table).astype(NULLABLE_INTEGERS)


def text_columns_as_objects(table: pa.Table) -> pd.DataFrame:
    """Return a table as a frame in which texts are str or None, never NaN."""
    are_texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_null)
    texts = {field.name for field in table.schema if any(are_text(field.type) for are_text in are_texts)}
    columns = {name: table.column(name) for name in table.column_names}
    return pd.DataFrame(
        {name: pd.Series(values.to_pylist(), dtype=object) if name in texts else values.to_pandas() for name, values in columns.items()}
    )


def manifest_digest(frame: pd.DataFrame) -> str:
    """Return the SHA-256 over the sorted (image_id, sha256, annotation) of all rows: what the data says, not how it is stored."""
    rows = sorted(zip(*(frame[column] for column in ("image_id", "sha256", *ANNOTATIONS)), strict=True), key=lambda row: (row[0] or "", row[1] or ""))
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(list(row)).encode() + b"\n")
    return digest.hexdigest()


def dataset_ref(folder: Path, frame: pd.DataFrame | None = None) -> DatasetRef:
    """Return which bytes these are.

    Args:
        folder: The dataset.
        frame: Its manifest, where it has been read already.
    """
    info = read_dataset(folder)
    frame = read_manifest(folder) if frame is None else frame
    return DatasetRef(name=info.name, version=info.version, manifest_digest=manifest_digest(frame), num_images=len(frame))
