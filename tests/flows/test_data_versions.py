"""The commands about versions, as a person types them, on scikit-learn's digits."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import typer
from dvc.repo import Repo

from components.dvc_repo import opened
from components.errors import ConfigError
from components.git import git
from components.records import DatasetRef
from components.registry.lineage import version_tag
from flows.cli import main
from flows.data_versions import fetch_newest
from flows.pipeline import Pipeline
from tests.components.datasets.formats.conftest import half_mask, picture, png
from tests.components.registry.conftest import Project, prepared_project, side_of  # noqa: F401 - a fixture
from tests.components.registry.conftest import project as trained  # noqa: F401 - a fixture
from tests.flows.conftest import commit


@pytest.fixture
def typed(project: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run `darkroom data …` in this process and return what it prints."""
    import dvc.repo  # noqa: F401 - its log handlers take the streams that are there when it is imported
    from typer.main import get_command

    from flows.cli_data import data

    def run(*arguments: str) -> str:
        capsys.readouterr()
        get_command(data).main(list(arguments), standalone_mode=False)
        return capsys.readouterr().out

    return run


def test_masks_are_counted_and_their_classes_are_not(project: Path, typed: Callable[..., str], tmp_path: Path) -> None:
    for name, content in {"images/a.png": picture(), "images/b.png": picture(9), "masks/a.png": png(half_mask(0, 255))}.items():
        (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "source" / name).write_bytes(content)
    assert typed("import", str(tmp_path / "source"), "--name", "cells").startswith("data/cells 1.0.0: 2 images (1 with a mask)\n")
    assert typed("commit", "cells", "-m", "cells").startswith("cells@v1.0.0: 2 images, not checked\n")
    assert "2 images  not checked" in typed("log", "cells")


def test_from_an_import_to_an_approved_version_and_back(
    project: Path, typed: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed("import", "sklearn:digits", "--name", "digits")
    assert "digits@v1.0.0: 1797 images" in typed("commit", "digits", "-m", "first delivery")
    assert "retraining uses digits@v1.0.0" in typed("approve", "digits@v1.0.0", "-m", "looked at 100")
    corrections = tmp_path / "corrections.csv"
    corrections.write_text("image_id,label\n0000.png,8\n0001.png,1\n")
    assert "1 of 2 labels changed\n  0 → 8: 1" in typed("relabel", "digits", "--from", str(corrections))
    assert "digits@v1.1.0" in typed("commit", "digits", "-m", "a label put right")
    shown = typed("diff", "digits", "1.0")
    assert "digits@v1.0.0 (1797 images) → digits (working copy) (1797 images): 1 relabelled" in shown
    told = json.loads(typed("diff", "digits", "v1.0.0", "digits@v1.1.0", "--out", str(tmp_path / "page"), "--json"))
    assert told["num"]["relabelled"] == 1
    assert (tmp_path / "page" / "index.html").exists()
    newest, first = json.loads(typed("log", "digits", "--json"))
    assert (newest["version"], newest["state"], first["state"], first["used"]) == ("1.1.0", None, "approved", True)
    assert "a label put right" in typed("log", "digits")
    assert fetch_newest(project, "digits") == "digits@v1.0.0"  # the approved one, not the newest
    with closing(Pipeline(project)) as pipeline:
        pipeline.check_data()
    ref = DatasetRef(name="digits", version="1.0.0", manifest_digest="0", num_images=1)
    assert version_tag(project, ref) == "digits@v1.0.0"  # what a registered model's lineage names
    typed("approve", "digits@v1.1.0")
    assert "retraining uses digits@v1.0.0" in typed("revoke", "digits@v1.1.0")
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    with pytest.raises(typer.Abort):
        typed("forget", "digits", "0007.png", "--reason", "asked for")
    said = typed("forget", "digits", "0007.png", "--reason", "asked for", "--yes")
    assert "digits@v1.1.0, digits@v1.0.0" in said
    assert "no registered model was trained on them" in said
    assert "forgotten: 1 images" in typed("log", "digits")
    assert "1796 images" in typed("get", "digits@v1.0.0", "--out", str(tmp_path / "old"))
    assert "data/digits" in typed("compact", "digits")


def test_the_newest_tag_brings_its_data_where_nothing_was_ever_approved(project: Path) -> None:
    images = project / "data" / "toy"
    images.mkdir(parents=True)
    for version in ("1.9", "1.10"):
        (images / "1.png").write_bytes(version.encode())
        with opened(project) as repo:
            repo.add("data/toy")
        commit(project)
        git(project, "tag", f"toy@v{version}")
    git(project, "checkout", "-q", "toy@v1.9")
    subprocess.run([sys.executable, "-m", "dvc", "checkout", "-q", "data/toy.dvc"], check=True)
    assert (images / "1.png").read_text() == "1.9"
    assert fetch_newest(project, "toy") == "toy@v1.10"
    assert (images / "1.png").read_text() == "1.10"
    assert fetch_newest(project, "toy") == ""


def test_no_newer_data_to_find_is_told(project: Path) -> None:
    with pytest.raises(ConfigError, match="no tag toy@v… and no upstream branch"):
        fetch_newest(project, "toy")


def test_a_schedule_that_no_run_could_keep_is_refused_at_once(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve"]) == 2
    assert "no tag toy@v… and no upstream branch" in capsys.readouterr().err
    assert not (project / ".darkroom").exists()


def test_a_mapping_that_cannot_be_read_is_told(project: Path) -> None:
    from flows.data_versions import merge_text

    with pytest.raises(ConfigError, match="--map kitten: expected OLD=NEW"):
        merge_text(project, ("a", "b"), "c", ["kitten"], False)
    with pytest.raises(ConfigError, match="--map kitten was said twice: cat and dog"):
        merge_text(project, ("a", "b"), "c", ["kitten=cat", "kitten=dog"], False)


def test_forget_lists_the_models_that_were_trained_on_the_image(
    trained: Project,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def typed(*arguments: str) -> str:
        assert main(["data", *arguments]) == 0
        return capsys.readouterr().out

    trained.train(0.9)
    first = trained.register().version
    trained.train(0.95)
    second = trained.register().version
    monkeypatch.chdir(trained.root)
    for command in (["git", "init", "-q"], ["git", "config", "user.email", "t@example.org"], ["git", "config", "user.name", "t"]):
        subprocess.run(command, check=True)
    Repo.init(".").close()
    (trained.root / ".gitignore").write_text(".darkroom\n/data/toy\n")
    commit(trained.root)
    typed("commit", "toy", "-m", "images")
    side = {number: side_of(number) for number in range(600)}
    judging, learning, choosing = (next(number for number, found in side.items() if found == name) for name in ("test", "train", "val"))
    said = typed("forget", "toy", f"{judging:04}.png", "--reason", "asked for", "--yes")
    assert "no registered model was trained on them" in said
    said = typed("forget", "toy", f"{learning:04}.png", f"{choosing:04}.png", "--reason", "asked for", "--yes")
    assert f"toy/{first} was trained on 2 of them\ntoy/{second} was trained on 2 of them\n" in said
    assert "train again without these images" in said
    assert "toy@v1.0.0+forgotten.2" in said
