from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.datasets.manifest import read_manifest
from components.datasets.versions.relabel import relabel
from components.errors import DataError, InputError
from components.files import sha256_of
from tests.components.datasets.versions.conftest import labelled, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, [labelled(f"{number:02d}.png", ["cat", "dog"][number % 2]) for number in range(4)])
    return tmp_path / "data" / "pets"


def test_labels_change_and_no_shard_does(folder: Path) -> None:
    before = sha256_of(folder / "shards" / "000000.tar")
    table = folder.parent / "labels.csv"
    table.write_text("note,image_id,label\nx,00.png,dog\n,01.png,dog\n,03.png,cat\n,03.png,cat\n")
    done = relabel(folder, table)
    assert (done.num_given, done.num_changed, done.changes) == (3, 2, [("cat", "dog", 1), ("dog", "cat", 1)])
    assert read_manifest(folder)["label"].tolist() == ["dog", "dog", "cat", "cat"]
    assert sha256_of(folder / "shards" / "000000.tar") == before
    assert relabel(folder, table).num_changed == 0


def test_a_parquet_table_and_images_without_a_label(folder: Path) -> None:
    write(folder.parents[1], [labelled("04.png", "cat"), labelled("05.png", None)], "append")  # type: ignore[arg-type]
    pq.write_table(pa.table({"image_id": ["05.png"], "label": ["dog"]}), folder.parent / "labels.parquet")
    done = relabel(folder, folder.parent / "labels.parquet")
    assert done.changes == [(None, "dog", 1)]
    assert read_manifest(folder)["label"].tolist() == ["cat", "dog", "cat", "dog", "cat", "dog"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("image_id,label\n00.png,dog\nnope.png,cat\n", r"1 unknown images: nope\.png", id="image"),
        pytest.param("image_id,label\n00.png,bird\n", "1 unknown classes: bird; pets has cat, dog", id="class"),
        pytest.param("image_id,label\n00.png,dog\n00.png,cat\n", r"1 images two different labels: 00\.png", id="twice"),
        pytest.param("file,label\n00.png,dog\n", "no column 'image_id'; found file, label", id="column"),
        pytest.param('image_id,label\n"00.png,dog\n', "no table that can be read|no label", id="quoting"),
        pytest.param("", "no table that can be read", id="empty"),
        pytest.param("image_id,label\n00.png,\n", "unknown classes|no label", id="no label"),
    ],
)
def test_a_table_that_does_not_fit_changes_nothing(folder: Path, text: str, said: str) -> None:
    before = (folder / "manifest.parquet").read_bytes()
    (folder.parent / "labels.csv").write_text(text)
    with pytest.raises(DataError, match=said):
        relabel(folder, folder.parent / "labels.csv")
    assert (folder / "manifest.parquet").read_bytes() == before


def test_a_missing_table_and_another_task_are_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not found; expected a CSV or Parquet"):
        relabel(folder, folder / "nowhere.csv")
    from components.protocols import ImportedImage
    from tests.components.datasets.versions.conftest import picture

    write(tmp_path, [ImportedImage("a.png", picture("a"), {"boxes_xyxy": [[0, 0, 1, 1]], "box_labels": ["cat"]})], name="boxes")
    with pytest.raises(InputError, match="relabel corrects the labels of classification"):
        relabel(tmp_path / "data" / "boxes", folder / "nowhere.csv")
