"""`darkroom data check` in a real repository of git and DVC."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from dvc.repo import Repo

from components.datasets.manifest import DatasetInfo
from components.datasets.writing import write_dataset
from components.protocols import ImportedImage
from flows.cli import main

ROOT = Path(__file__).parents[2]
INFO = DatasetInfo(name="digits", version="1.0.0", task="classification", classes=[str(digit) for digit in range(10)])


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with 300 digits in data/digits."""
    from itertools import islice

    from components.datasets.formats.sklearn import digits

    folder = tmp_path_factory.mktemp("project")
    shutil.copy(ROOT / "params.yaml", folder)
    write_dataset(islice(digits(), 300), INFO, folder / "data")
    for command in (["git", "init", "--quiet"], ["git", "config", "user.name", "A"], ["git", "config", "user.email", "a@example.org"]):
        subprocess.run(command, cwd=folder, check=True)
    Repo.init(str(folder)).close()
    return folder


@pytest.fixture(autouse=True)
def _inside(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)


def test_good_data_ends_with_one_line_that_says_where_the_page_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "digits"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[-1].startswith("digits 1.0.0: 300 images checked, no rule of ")
    assert told[-1].endswith("see reports/check/digits/index.html")
    assert Path("reports/check/digits/index.html").is_file()


def test_bad_data_is_told_line_by_line_and_ends_with_3(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from components.datasets.formats.sklearn import digits

    bad = [*digits()][:150]
    bad[3] = ImportedImage("0003.png", bad[3].content[:60], bad[3].row)
    write_dataset(
        [ImportedImage("copy.png", bad[0].content, {"label": "1"}), *bad],
        INFO.model_copy(update={"name": "bad"}),
        project / "data",
        keep_damaged=True,
    )
    assert main(["data", "check", "bad", "--against", "data/digits"]) == 3
    told = capsys.readouterr().out.splitlines()
    assert any(line.startswith("✗ the same bytes have one label: broken by 2 of 151 images: copy.png (labels 0 and 1)") for line in told)
    assert any(line.startswith("✗ images decode: broken by 1 of 151 images: 0003.png") for line in told)
    assert any(line.startswith("! no image is there twice: broken by 1 of 151 images: 0000.png (as copy.png)") for line in told)
    assert "compared with digits 1.0.0" in told
    assert main(["data", "check", "bad", "--against", "none", "--json"]) == 3
    verdict = json.loads(capsys.readouterr().out)
    assert not verdict["passed"]
    assert verdict["page"] == "reports/check/bad/index.html"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        pytest.param(["cats"], "data/cats not found; `darkroom data import SOURCE --name cats` makes it", id="no such dataset"),
        pytest.param(["digits@v1.0.0"], "found 'digits@v1.0.0'; expected the name of a dataset in data/", id="a version"),
        pytest.param(["digits", "--against", "digits@v9.9.9"], "digits has no versions yet", id="no such version"),
        pytest.param(["digits", "--ray", "127.0.0.1:1"], "no Ray cluster answers at 127.0.0.1:1", id="no cluster"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", *arguments]) in (2, 75)
    said = capsys.readouterr()
    assert text in said.err
    assert len(said.err.strip().splitlines()) == 1
    assert not said.out


def test_the_version_that_was_approved_last_is_what_it_is_compared_with(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "commit", "digits", "-m", "first", "--version", "1.0.0"]) == 0
    assert main(["data", "approve", "digits@v1.0.0"]) == 0
    capsys.readouterr()
    assert main(["data", "check", "digits"]) == 0
    assert "compared with digits 1.0.0" in capsys.readouterr().out
