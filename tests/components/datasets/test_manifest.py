from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.datasets.manifest import DatasetInfo, dataset_ref, metadata_columns, read_dataset, read_manifest, write_dataset_info
from components.errors import DataError
from tests.components.datasets.conftest import write_manifest


def _frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image_id": ["a", "b"],
            "sha256": ["1" * 64, "2" * 64],
            "shard": ["000000.tar"] * 2,
            "offset": [512, 2048],
            "length": [10, 20],
            "height": [8, None],
            "width": [9, None],
            "orientation": [1, None],
            "site": ["north", None],
            "label": ["cat", "dog"],
        }
    )


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "pets"
    folder.mkdir()
    write_manifest(_frame(), folder / "manifest.parquet")
    write_dataset_info(DatasetInfo(name="pets", version="1.0.0", task="classification", classes=["cat", "dog"]), folder)
    return folder


def test_manifest_comes_back_as_it_was(dataset: Path) -> None:
    frame = read_manifest(dataset)
    assert list(frame.columns) == [
        "image_id",
        "sha256",
        "shard",
        "offset",
        "length",
        "mask_shard",
        "mask_offset",
        "mask_length",
        "height",
        "width",
        "orientation",
        "split",
        "group",
        "site",
        "label",
        "boxes_xyxy",
        "box_labels",
        "box_ignore",
        "polygons",
        "mask_sha256",
    ]
    assert metadata_columns(frame) == ["site"]
    assert frame["site"].tolist() == ["north", None]
    assert frame["split"].tolist() == [None, None]
    assert frame["height"].isna().tolist() == [False, True]
    assert int(frame["width"][0]) == 9


def test_equal_frames_give_equal_bytes_with_zstd_and_a_schema_version(dataset: Path, tmp_path: Path) -> None:
    write_manifest(_frame(), tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == (dataset / "manifest.parquet").read_bytes()
    metadata = pq.read_metadata(dataset / "manifest.parquet")
    assert metadata.metadata[b"schema_version"] == b"2"
    assert metadata.row_group(0).column(0).compression == "ZSTD"


@pytest.mark.parametrize(("version", "remedy"), [("3", "update Darkroom"), ("0", "import the dataset again")])
def test_another_schema_version_is_refused(dataset: Path, version: str, remedy: str) -> None:
    table = pq.read_table(dataset / "manifest.parquet").replace_schema_metadata({"schema_version": version})
    pq.write_table(table, dataset / "manifest.parquet")
    with pytest.raises(DataError, match=f"schema_version {version}, expected 2; .*{remedy}"):
        read_manifest(dataset)


def test_a_manifest_of_the_first_schema_is_upgraded(dataset: Path) -> None:
    before = dataset_ref(dataset)
    table = pq.read_table(dataset / "manifest.parquet")
    old = [name for name in table.column_names if not name.startswith(("mask_", "box", "polygons"))]
    pq.write_table(table.select(old).replace_schema_metadata({"schema_version": "1"}), dataset / "manifest.parquet")
    assert read_manifest(dataset)["boxes_xyxy"].tolist() == [None, None]
    assert dataset_ref(dataset) == before


@pytest.mark.parametrize("column", ["sha256", "label"])
def test_a_missing_column_is_named(dataset: Path, column: str) -> None:
    table = pq.read_table(dataset / "manifest.parquet")
    pq.write_table(table.drop_columns([column]), dataset / "manifest.parquet")
    with pytest.raises(DataError, match=f"column '{column}' is missing"):
        read_manifest(dataset)


def test_a_column_of_another_type_is_named(dataset: Path) -> None:
    table = pq.read_table(dataset / "manifest.parquet")
    table = table.set_column(table.column_names.index("label"), "label", pa.array([3, 5], pa.int64()))
    pq.write_table(table, dataset / "manifest.parquet")
    with pytest.raises(DataError, match="column 'label' is int64, expected string"):
        read_manifest(dataset)


def test_a_file_that_is_no_parquet_is_refused(dataset: Path) -> None:
    (dataset / "manifest.parquet").write_text("not parquet")
    with pytest.raises(DataError, match="no Parquet file"):
        read_manifest(dataset)


def test_a_missing_dataset_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cats not found; `darkroom data import SOURCE --name cats`"):
        read_manifest(tmp_path / "cats")
    (tmp_path / "cats.dvc").touch()
    with pytest.raises(DataError, match="`dvc pull"):
        read_dataset(tmp_path / "cats")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("name: pets\nversion: 1.0\ntask: classification\nclasses: [a]\n", "version: found 1.0", id="a version that is no text"),
        pytest.param("name: pets\nversion: v1\ntask: classification\nclasses: [a, a]\n", "classes named twice: a", id="a class twice"),
        pytest.param("name: [pets\n", "not valid YAML", id="no YAML"),
        pytest.param("name: pets\n", "version", id="a missing key"),
    ],
)
def test_a_wrong_dataset_yaml_is_explained(dataset: Path, text: str, message: str) -> None:
    (dataset / "dataset.yaml").write_text(text)
    with pytest.raises(DataError, match=message):
        read_dataset(dataset)


def test_the_digest_is_about_what_the_data_says_not_how_it_is_stored(dataset: Path) -> None:
    before = dataset_ref(dataset)
    moved = _frame().iloc[::-1].assign(shard="000001.tar", offset=[0, 99])
    write_manifest(moved, dataset / "manifest.parquet")
    assert dataset_ref(dataset).manifest_digest == before.manifest_digest
    write_manifest(_frame().assign(label=["cat", "cat"]), dataset / "manifest.parquet")
    assert dataset_ref(dataset).manifest_digest != before.manifest_digest


def test_boxes_and_polygons_come_back_and_count_in_the_digest(dataset: Path) -> None:
    boxes = [[[0.5, 1.0, 3.0, 4.0], [1.0, 1.0, 2.0, 2.0]], []]
    polygons = [[[[0.5, 1.0, 3.0, 1.0, 3.0, 4.0]], []], None]
    frame = _frame().assign(boxes_xyxy=boxes, box_labels=[["cat", "dog"], []], box_ignore=[[False, True], []], polygons=polygons)
    write_manifest(frame, dataset / "manifest.parquet")
    found = read_manifest(dataset)
    assert found["boxes_xyxy"].tolist() == boxes
    assert found["polygons"].tolist() == polygons
    digest = dataset_ref(dataset).manifest_digest
    assert dataset_ref(dataset, found).manifest_digest == digest
    frame["boxes_xyxy"] = [boxes[0], None]
    frame["box_labels"] = [["cat", "dog"], None]
    write_manifest(frame, dataset / "manifest.parquet")
    assert dataset_ref(dataset).manifest_digest != digest, "not annotated is not the same as nothing there"
