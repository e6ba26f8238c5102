from __future__ import annotations

import hashlib
import io
import json
import shutil
import sys
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from components import datasets
from components.datasets.manifest import read_table, write_table
from components.datasets.versions import forget as forgetting
from components.datasets.versions.approval import approve
from components.datasets.versions.commit import commit
from components.datasets.versions.forget import forget, plan
from components.datasets.versions.get import pull
from components.datasets.versions.merge import merge
from components.datasets.versions.tags import approved_version, versions
from components.dvc_repo import opened
from components.errors import InputError
from components.git import git
from tests.components.datasets.versions.conftest import labelled, make_project, picture, write

PERSON = "family/jane doe.png"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1.0 and 1.1 have the person, 1.2 has taken the row out but not the bytes; a copy of the picture goes by another name."""
    folder = tmp_path_factory.mktemp("album")
    project = make_project(folder / "project", str(folder / "remote"))
    images = [labelled(f"{number:02d}.png", "cat") for number in range(8)]
    write(project, [*images, labelled(PERSON, "dog"), labelled("copy.png", "dog", picture(PERSON))])
    commit(project, "pets", "images")
    approve(project, "pets@v1.0.0")
    write(project, [labelled("new.png", "dog")], "append")
    commit(project, "pets", "images")
    write_table(read_table(project / "data" / "pets").slice(0, 8), project / "data" / "pets" / "manifest.parquet")
    commit(project, "pets", "images")
    return folder


@pytest.fixture
def album(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    config = tmp_path / "project" / ".dvc" / "config"
    config.write_text(config.read_text().replace(str(made), str(tmp_path)))
    git(tmp_path / "project", "commit", "-qam", "another place")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def everything(*folders: Path) -> list[bytes]:
    return [path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()]


def is_gone(project: Path, remote: Path) -> bool:
    kept = everything(project / ".dvc" / "cache", project / "data", remote)
    manifests = [pq.read_table(io.BytesIO(content), columns=["image_id"]) for content in kept if content[:4] == b"PAR1"]
    assert manifests
    if any({PERSON, "copy.png"} & set(manifest["image_id"].to_pylist()) for manifest in manifests):
        return False
    return not any(trace in content for content in kept for trace in (picture(PERSON), PERSON.encode(), b"copy.png"))


def test_gone_from_every_version_the_cache_and_the_remote(album: Path, tmp_path: Path) -> None:
    planned = plan(album, "pets", [PERSON])
    assert planned.ids == ["copy.png", PERSON]
    assert [version.version for version in planned.versions] == ["1.2.0", "1.1.0", "1.0.0"]
    assert forget(album, planned, "asked for on paper") == ["pets@v1.2.0+forgotten.1", "pets@v1.1.0+forgotten.1", "pets@v1.0.0+forgotten.1"]
    assert is_gone(album, tmp_path / "remote")
    found = {version.version: version for version in versions(album, "pets")}
    assert len(found) == 3
    record = found["1.1.0"].record
    assert record is not None
    assert (record.num_images, record.class_counts, found["1.1.0"].message) == (9, {"cat": 8, "dog": 1}, "images")
    assert hashlib.sha256(PERSON.encode()).hexdigest() in record.forgotten
    assert PERSON not in str(git(album, "for-each-ref", "--format=%(contents)"))
    assert approved_version(album, "pets") == "1.0.0"  # approvals hold on
    assert git(album, "status", "--porcelain") == ""
    with opened(album) as repo:
        assert not repo.status()
    shutil.rmtree(album / ".dvc" / "cache")
    for ref, count in (("pets@v1.0.0", 8), ("pets@v1.1.0", 9), ("pets@v1.2.0", 8)):
        with datasets.open(ref) as dataset:
            assert [dataset.image(index) for index in range(8)] == [picture(f"{number:02d}.png") for number in range(8)]
            assert len(dataset) == count
        pull(album, ref)  # DVC, too, finds it whole
    with tarfile.open(album / "data" / "pets" / "shards" / "000000.tar") as tar:
        assert len(tar.getnames()) == 10  # still a tar that any program reads
    with pytest.raises(InputError, match="no version of pets has"):
        plan(album, "pets", [PERSON])


@pytest.mark.parametrize("killed_in", ["erased_shards", "_go_on", "_working_copy", "_delete"])
def test_killed_and_typed_again_it_goes_on(album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_in: str) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(forgetting, killed_in, killed)
        with pytest.raises(KeyboardInterrupt):
            forget(album, plan(album, "pets", [PERSON]), "asked for")
    forget(album, plan(album, "pets", [PERSON]), "asked for")
    assert is_gone(album, tmp_path / "remote")
    assert all(version.tag.endswith("+forgotten.1") for version in versions(album, "pets"))
    assert git(album, "status", "--porcelain") == ""


def test_what_another_dataset_needs_stays_and_is_told(album: Path) -> None:
    pull(album, "pets@v1.1.0")
    write(album, [labelled("other.png", "cat")], name="more")
    merge(album / "data", ("pets", "more"), "all")
    commit(album, "all", "both")
    planned = plan(album, "pets", [PERSON])
    assert planned.elsewhere == {"all": 2}
    forget(album, planned, "asked for")
    with datasets.open("all@v1.0.0") as merged:
        assert picture(PERSON) in [merged.image(index) for index in range(len(merged))]
    forget(album, plan(album, "all", [PERSON]), "asked for")
    assert not any(picture(PERSON) in content for content in everything(album / ".dvc" / "cache", album / "data"))


def test_what_stages_made_of_the_images_goes_and_what_they_made_of_others_stays(album: Path, tmp_path: Path) -> None:
    copy = "import shutil; shutil.copytree('{0}', '{1}')"
    stages = {
        "prepare": {
            "cmd": f'{sys.executable} -c "{copy.format("data/pets/shards", "data/training")}"',
            "deps": ["data/pets"],
            "outs": ["data/training"],
        },
        "report": {
            "cmd": f'{sys.executable} -c "{copy.format("data/training", "reports/page")}"',
            "deps": ["data/training"],
            "outs": ["reports/page"],
        },
        "other": {"cmd": f"{sys.executable} -c \"open('data/other', 'w').write('x')\"", "outs": ["data/other"]},
    }
    (album / "dvc.yaml").write_text(json.dumps({"stages": stages}))
    pull(album, "pets@v1.0.0")
    with opened(album) as repo:
        repo.reproduce()
        repo.push()
    git(album, "add", "-A")
    git(album, "commit", "-qm", "a run")
    forget(album, plan(album, "pets", [PERSON]), "asked for")
    assert is_gone(album, tmp_path / "remote")
    assert not (album / "data" / "training").exists()
    assert not any(picture(PERSON) in content for content in everything(album / "reports"))
    assert (album / "data" / "other").exists()


def test_refusals(album: Path) -> None:
    with pytest.raises(InputError, match=r"no version of pets has nobody\.png"):
        plan(album, "pets", [PERSON, "nobody.png"])
    with pytest.raises(InputError, match="would be left without images"):
        plan(album, "pets", [PERSON, *(f"{number:02d}.png" for number in range(8))])
    write(album, [labelled("unsaved.png", "cat")], "append")
    with pytest.raises(InputError, match="holds changes that DVC does not have"):
        plan(album, "pets", [PERSON])
