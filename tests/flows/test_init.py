"""`darkroom init`: a project that runs at once, or nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.__main__ import check_params
from components.config import read_params
from components.errors import ConfigError, DataError
from components.git import git
from components.protocols import plugin_names
from flows import init as module
from flows.cli import main
from flows.init import init, init_text, params_text
from flows.parameters import write_overrides
from flows.status import status_text
from tests.conftest import ROOT


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of images in folders of classes."""
    for index in range(8):
        folder = tmp_path / "flowers" / ("rose" if index % 2 else "tulip")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(index).integers(0, 255, (24, 32, 3), np.uint8)).save(folder / f"{index}.png")
    return tmp_path / "flowers"


def test_a_project_of_ones_own_images(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):  # a machine on which git knows nobody
        monkeypatch.setenv(variable, "/dev/null")
    assert main(["init", "project", "--from", "flowers"]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("project: classification on 8 images, data/flowers\nNext:\n    cd project\n")
    assert "darkroom run" in told.out
    assert told.err.splitlines() == ["making project: a git and a DVC repository, the images, params.yaml, dvc.yaml …"]
    project = tmp_path / "project"
    assert {path.name for path in project.iterdir()} == {
        *(".git", ".gitignore", ".dvc", ".dvcignore", "README.md", "params.yaml", "dvc.yaml", "code.lock", "data", "models", "reports")
    }
    params = read_params(project / "params.yaml")
    assert (params["data"]["name"], params["task"]["channels"], params["train"]["model"]) == ("flowers", 3, "resnet18")
    assert git(project, "status", "--porcelain") == ""
    monkeypatch.chdir(project)
    status = status_text(project, None)
    assert status.count("has not run yet") == len(status.splitlines()) - 2
    assert git(project, "status", "--porcelain") == ""
    files = git(project, "ls-files")
    assert files is not None
    assert {"data/flowers.dvc", "code.lock", "dvc.yaml", "models/start/start.json"} <= set(files.splitlines())
    assert git(project, "check-ignore", "models/base", "data/training", "explained/") == "models/base\ndata/training\nexplained/"


def test_what_is_to_be_typed_next_can_be_pasted(photos: Path, tmp_path: Path) -> None:
    target = tmp_path / "Müllers Bilder"
    said = init_text(target, "classification", str(photos))
    assert f"\n    cd '{target}'\n" in said
    commands = (target / "README.md").read_text(encoding="utf-8").partition("after an upgrade")[2].splitlines()[2:]
    assert len(commands) == 9
    assert len({line.index("  # ") for line in commands}) == 1


@pytest.mark.parametrize("task", plugin_names("components.tasks"))
@pytest.mark.parametrize("own_images", [False, True])
def test_the_params_of_every_task_are_good(task: str, own_images: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(params_text(task))
    write_overrides(Path("params.yaml"), module._settings(module.Made(task, "mine", 1, 0), own_images))
    check_params({})
    params = read_params(Path("params.yaml"))
    assert params["task"]["name"] == task
    assert params.keys() == read_params(ROOT / "params.yaml").keys()


def test_the_sections_that_a_task_does_not_have_otherwise_are_the_repositorys_with_their_comments() -> None:
    text = (ROOT / "params.yaml").read_text()
    assert params_text("classification") == text
    validate = text[text.index("validate:") : text.index("split:")]
    assert validate in params_text("detection")


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"is not empty: found notes.txt; expected an empty folder, or a new one"):
        init(tmp_path)
    with pytest.raises(ConfigError, match="is a file"):
        init(tmp_path / "notes.txt")
    with pytest.raises(ConfigError, match=r"there is no folder .*mkdir -p"):
        init(tmp_path / "a" / "b")
    with pytest.raises(ConfigError, match=r"unknown task 'detect'. Did you mean 'detection'"):
        init(tmp_path / "new", "detect")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_folder_that_may_not_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))  # the tests may run as root, whom no right keeps out

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert main(["init", str(tmp_path / "new")]) == 2
    assert "may not be written or read (Permission denied)" in capsys.readouterr().err


def test_what_fails_or_is_interrupted_leaves_nothing(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError):
        init(tmp_path / "empty", source=str(tmp_path / "nowhere"))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_ignore_outs", interrupt)
    for folder in ("empty", "new"):
        with pytest.raises(KeyboardInterrupt):
            init(tmp_path / folder, source=str(photos))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "flowers"]
    assert list((tmp_path / "empty").iterdir()) == []
