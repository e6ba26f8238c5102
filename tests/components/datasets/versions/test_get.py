from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from components import datasets
from components.datasets.dataset import Dataset
from components.datasets.versions.get import get, pull
from components.errors import DataError, InputError, TransientError
from tests.components.datasets.versions.conftest import labelled, picture, write

Commit = Callable[..., str]


@pytest.fixture
def two_versions(pets: Path, commit: Commit) -> Path:
    commit(pets)
    write(pets, [labelled("00.png", "dog"), labelled("new.png", "dog")], "append")
    commit(pets)
    return pets


def drop_cache(project: Path) -> None:
    shutil.rmtree(project / ".dvc" / "cache")


def test_a_version_is_read_from_cache_and_from_the_remote(two_versions: Path) -> None:
    for _ in range(2):
        with datasets.open("pets@v1.0.0") as old, datasets.open("pets@v1.1.0") as new, datasets.open("pets") as working:
            assert (len(old), len(new), len(working)) == (12, 13, 13)
            assert (old.manifest["label"][0], new.manifest["label"][0]) == ("cat", "dog")
            assert [new.image(index) for index in (0, 12)] == [picture("00.png"), picture("new.png")]
        shutil.rmtree(two_versions / ".dvc" / "cache", ignore_errors=True)


def test_as_torch_sees_it(two_versions: Path) -> None:
    with datasets.open("pets@v1.1.0") as pets:
        pixels, target = pets.torch()[12]
        assert (tuple(pixels.shape), pixels.dtype.is_floating_point, target) == ((3, 8, 8), False, 1)
        assert tuple(pets.torch(size=(4, 6))[0][0].shape) == (3, 4, 6)
        assert len(list(pets.torch(size=4))) == 13


def test_a_plain_folder(two_versions: Path, tmp_path: Path) -> None:
    drop_cache(two_versions)
    assert get(two_versions, "pets@v1.0.0", tmp_path / "old").num_images == 12
    with Dataset.of_folder(tmp_path / "old") as dataset:
        assert dataset.image(11) == picture("11.png")
    with tarfile.open(tmp_path / "old" / "shards" / "000000.tar") as tar:
        assert len(tar.getnames()) == 12
    with pytest.raises(InputError, match="exists; name a folder that does not"):
        get(two_versions, "pets@v1.0.0", tmp_path / "old")


def test_damaged_or_missing_bytes_leave_nothing_behind(two_versions: Path, tmp_path: Path) -> None:
    drop_cache(two_versions)
    shards = [path for path in (tmp_path / "remote").rglob("*") if path.is_file() and path.stat().st_size > 8_000]
    for path in shards:
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(TransientError, match="damaged"):
        get(two_versions, "pets@v1.0.0", tmp_path / "old")
    for path in shards:
        path.unlink()
    with pytest.raises(DataError, match="neither DVC's cache nor the remote"):
        get(two_versions, "pets@v1.0.0", tmp_path / "old")
    assert not (tmp_path / "old").exists()


def test_the_working_copy_goes_to_a_version_and_back_but_changes_are_kept(two_versions: Path) -> None:
    assert pull(two_versions, "pets@v1.0.0") == "pets@v1.0.0"
    with datasets.open("pets") as working:
        assert (len(working), working.info.version) == (12, "1.0.0")
    write(two_versions, [labelled("unsaved.png", "cat")], "append")
    with pytest.raises(InputError, match="holds changes that no version has"):
        pull(two_versions, "pets@v1.1.0")
    with pytest.raises(InputError, match="holds changes that no version has"):
        pull(two_versions, "pets")
    pull(two_versions, "pets@v1.1.0", force=True)
    with datasets.open("pets") as working:
        assert len(working) == 13
    shutil.rmtree(two_versions / "data" / "pets")
    drop_cache(two_versions)
    assert pull(two_versions, "pets") == "data/pets.dvc"
    assert (two_versions / "data" / "pets" / "manifest.parquet").exists()


def test_a_remote_that_only_dvc_knows_is_no_hindrance_while_the_cache_has_it(two_versions: Path, tmp_path: Path) -> None:
    config = two_versions / ".dvc" / "config"
    config.write_text(config.read_text().replace(str(tmp_path / "remote"), "gs://bucket/data"))
    with datasets.open("pets@v1.0.0") as old:
        assert old.image(0) == picture("00.png")
    drop_cache(two_versions)
    with pytest.raises(InputError, match="gs://…; versions are read from a folder or s3://"):
        datasets.open("pets@v1.0.0")
