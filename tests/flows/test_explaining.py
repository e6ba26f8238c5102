from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from components.datasets.prepared import Prepared
from components.errors import InputError
from flows.cli import main
from flows.explaining import weights_of


@pytest.fixture
def project(trained_digits: Path, prepared_digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a tuned model and a picture of a digit."""
    shutil.copytree(trained_digits, tmp_path / "models/tuned")
    Image.fromarray(Prepared.open(prepared_digits).split("test").images[0][..., 0]).save(tmp_path / "digit.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_project_s_own_model_explains_an_image(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "digit.png"]) == 0
    printed = capsys.readouterr()
    path, label, score, picture = printed.out.split()
    assert printed.err.endswith("models/tuned explained; explained has the pictures: the image, Grad-CAM, Occlusion\n"), (
        "whose answer it is: perhaps not the champion's"
    )
    assert (path, picture) == ("digit.png", "explained/digit.png")
    assert label in "0123456789"
    assert score
    assert (project / "explained/digit.png").exists()


def test_a_bundle_s_own_weights_explain_too(project: Path) -> None:
    shutil.copytree("models/tuned", "bundle/source")
    assert weights_of(project / ".darkroom", "bundle") == Path("bundle/source")
    assert main(["explain", "digit.png", "--model", "bundle", "--out", "maps"]) == 0
    assert (project / "maps/digit.png").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["none.png"], "none.png not found"),
        (["digit.png", "--model", "."], ". holds no weights.safetensors"),
        (["digit.png", "--out", "digit.png"], "--out digit.png: found a file"),
    ],
)
def test_what_cannot_be_explained_is_one_line(project: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str) -> None:
    assert main(["explain", *arguments]) == 2
    assert told in capsys.readouterr().err


def test_a_project_without_a_model_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"models/tuned holds no model yet\. Train one: darkroom run"):
        weights_of(tmp_path / ".darkroom", None)
