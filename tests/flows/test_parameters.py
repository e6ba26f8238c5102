from __future__ import annotations

from pathlib import Path

import pytest

from components.errors import ConfigError
from flows.cli import main
from flows.parameters import dataset_name, parse_overrides, write_overrides


def test_values_are_yaml_as_in_params() -> None:
    found = parse_overrides(["train.lr=1e-3", "train.model=resnet9", "export.formats=[onnx]", "task.finetune_image_size=null"])
    assert found == {"train.lr": 1e-3, "train.model": "resnet9", "export.formats": ["onnx"], "task.finetune_image_size": None}


@pytest.mark.parametrize("text", ["train.lr", "=3", "train.lr=[1"])
def test_an_assignment_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_overrides([text])


def test_overrides_are_written_and_comments_stay(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("# what a run does\ntrain:\n  lr: 0.004   # peak\n  policy: {shift: 0.1}\n  size: null    # as it is\n")
    write_overrides(path, {"train.lr": 0.01, "train.policy.shift": 0.2, "new.key": [1, 2]})
    text = path.read_text()
    assert text.startswith("# what a run does\ntrain:\n  lr: 0.01 ")
    assert "# peak" in text
    assert "policy: {shift: 0.2}" in text
    assert "size: null    # as it is" in text
    assert "new:" in text


def test_an_override_through_a_value_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("train:\n  lr: 0.004\n")
    with pytest.raises(ConfigError, match=r"train\.lr\.x"):
        write_overrides(path, {"train.lr.x": 1})


def test_an_unknown_section_is_named_before_anything_is_imported(project: Path) -> None:
    params = project / "params.yaml"
    assert dataset_name(project, {}) == "toy"
    params.write_text(params.read_text() + "trian: {lr: 1}\n")
    with pytest.raises(ConfigError, match="unknown section 'trian'"):
        dataset_name(project, {})


@pytest.mark.parametrize("command", ["run", "report", "up", "serve"])
def test_a_folder_that_is_no_project_is_told_and_left_as_it_is(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([command]) == 2
    assert "params.yaml not found. Run the command in the folder that holds params.yaml" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_params_yaml_that_cannot_be_read_is_told_before_a_server_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "params.yaml").write_text("train: {lr\n")
    monkeypatch.chdir(tmp_path)
    assert main(["up"]) == 2
    assert "params.yaml is not valid YAML" in capsys.readouterr().err
    assert not (tmp_path / ".darkroom").exists()


def test_a_schedule_needs_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "params.yaml").write_text("data: {name: toy}\n")
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.chdir(tmp_path)
    assert main(["serve"]) == 2
    assert "scheduled runs work on the last commit, and there is none here" in capsys.readouterr().err
