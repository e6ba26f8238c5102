from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.datasets.importing import import_dataset, write_dataset
from components.datasets.manifest import DatasetInfo, read_dataset, read_manifest
from components.datasets.shards import ShardReader
from components.errors import ConfigError, DataError, InputError
from components.protocols import ImportedImage

INFO = DatasetInfo(name="pets", version="1.0.0", task="classification", classes=["cat", "dog"])


def _png(value: int, size: tuple[int, int] = (6, 4)) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((size[1], size[0]), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for index, label in enumerate(("cat", "dog", "cat")):
        path = tmp_path / "photos" / label / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_png(index * 40))
    return tmp_path / "photos"


def test_images_come_in_byte_for_byte_with_what_their_headers_say(source: Path, tmp_path: Path) -> None:
    summary = import_dataset(str(source), "pets", tmp_path / "data")
    frame = read_manifest(tmp_path / "data" / "pets")
    assert frame["image_id"].tolist() == ["cat/0.png", "cat/2.png", "dog/1.png"]
    assert read_dataset(tmp_path / "data" / "pets").classes == ["cat", "dog"]
    with ShardReader(tmp_path / "data" / "pets") as shards:
        for row in frame.itertuples():
            content = shards.read(row.shard, row.offset, row.length)
            assert content == (source / row.image_id).read_bytes()
            assert row.sha256 == hashlib.sha256(content).hexdigest()
    assert (int(frame["height"][0]), int(frame["width"][0])) == (4, 6)
    assert summary.class_counts == {"cat": 2, "dog": 1}
    assert summary.dataset.num_images == 3


def test_sizes_are_those_after_orientation(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (10, 4)).save(buffer, "JPEG", exif=exif)
    write_dataset([ImportedImage("a.jpg", buffer.getvalue(), {"label": "cat"})], INFO, tmp_path)
    row = read_manifest(tmp_path / "pets").iloc[0]
    assert (row["height"], row["width"], row["orientation"]) == (10, 4, 6)


def test_damaged_files_are_kept_for_validation_to_name(source: Path, tmp_path: Path) -> None:
    (source / "dog" / "broken.png").write_bytes(b"no image")
    summary = import_dataset(str(source), "pets", tmp_path / "data")
    assert summary.num_damaged == 1
    frame = read_manifest(tmp_path / "data" / "pets").set_index("image_id")
    assert frame["height"].isna().to_dict() == {"cat/0.png": False, "cat/2.png": False, "dog/1.png": False, "dog/broken.png": True}


def test_importing_twice_gives_the_same_bytes(source: Path, tmp_path: Path) -> None:
    for root in ("one", "two"):
        import_dataset(str(source), "pets", tmp_path / root)
    for path in (tmp_path / "one").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()


def test_a_taken_name_is_refused_and_kept_unless_replace_is_said(source: Path, tmp_path: Path) -> None:
    import_dataset(str(source), "pets", tmp_path)
    (source / "cat" / "0.png").unlink()
    with pytest.raises(InputError, match="pets exists; say --replace"):
        import_dataset(str(source), "pets", tmp_path)
    assert len(read_manifest(tmp_path / "pets")) == 3
    import_dataset(str(source), "pets", tmp_path, replace=True, version="1.1.0")
    assert len(read_manifest(tmp_path / "pets")) == 2


def test_a_name_that_dvc_tracks_is_taken_even_where_its_data_is_not_pulled(source: Path, tmp_path: Path) -> None:
    (tmp_path / "pets.dvc").touch()
    with pytest.raises(InputError, match="say --replace"):
        import_dataset(str(source), "pets", tmp_path)


def test_an_empty_version_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the version is empty"):
        import_dataset(str(source), "pets", tmp_path, version=" ")


@pytest.mark.parametrize("name", ["training", "Splits", "splits.parquet", "../pets", "", ".pets", "pets and cats"])
def test_reserved_and_impossible_names_are_refused(source: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"reserved|no name"):
        import_dataset(str(source), name, tmp_path)


def test_a_failed_import_leaves_nothing_and_loses_nothing(source: Path, tmp_path: Path) -> None:
    import_dataset(str(source), "pets", tmp_path / "data")
    twice = [ImportedImage("same.png", _png(1), {"label": "cat"})] * 2
    with pytest.raises(DataError, match=r"ids come twice: same\.png"):
        write_dataset(twice, INFO, tmp_path / "data", replace=True)
    with pytest.raises(DataError, match="no images"):
        write_dataset([], INFO, tmp_path / "data", replace=True)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["pets"]
    assert len(read_manifest(tmp_path / "data" / "pets")) == 3


def test_what_is_no_layout_is_explained(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere not found"):
        import_dataset(str(tmp_path / "nowhere"), "pets", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"not recognised; expected CLASS/image\.jpg"):
        import_dataset(str(tmp_path / "empty"), "pets", tmp_path)
    with pytest.raises(ConfigError, match=r"unknown dataset format 'folder'.*image_folder, sklearn"):
        import_dataset(str(tmp_path / "empty"), "pets", tmp_path, format="folder")


def test_a_source_may_not_set_the_manifests_own_columns(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the column 'sha256' is the manifest's own"):
        write_dataset([ImportedImage("a.png", _png(1), {"label": "cat", "sha256": "0"})], INFO, tmp_path)
    mixed = [ImportedImage(str(value), _png(1), {"label": "cat", "age": value}) for value in (1, "old")]
    with pytest.raises(DataError, match="the column 'age' cannot be stored"):
        write_dataset(mixed, INFO, tmp_path)
