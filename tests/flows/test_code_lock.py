"""A project elsewhere: an upgrade re-runs what it touches, and status says why."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from components import stage_code
from components.errors import ConfigError
from components.files import sha256_of
from flows.pipeline import Pipeline
from flows.status import status_text
from tests.flows.conftest import make_project

DVC_YAML = """
stages:
  split:
    cmd: python -m components split --out splits.txt
    params: [code.lock: [split]]
    outs: [splits.txt]
  train:
    cmd: python -m components train --out model.txt
    params: [task, code.lock: [train]]
    deps: [splits.txt]
    outs: [model.txt]
  export:
    matrix:
      variant: [dense]
      format: [onnx, torch_export]
    cmd: python -m components export --format ${item.format} --out ${item.variant}-${item.format}.txt
    params: [code.lock: ['export.${item.variant}-${item.format}']]
    outs: ['${item.variant}-${item.format}.txt']
"""
OUTS = {"split": "splits.txt", "train": "model.txt", "export@dense-onnx": "dense-onnx.txt", "export@dense-torch_export": "dense-torch_export.txt"}


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project whose stages are on record; what they made is a line of text."""
    folder = make_project(tmp_path / "project", DVC_YAML, "data: {name: toy}\ntask: {name: classification}\n")
    monkeypatch.chdir(folder)
    with closing(Pipeline(folder)) as pipeline:
        for stage in pipeline.stages():
            inputs = pipeline.begin(stage)
            (folder / OUTS[stage.addressing]).write_text(stage.addressing)
            pipeline.record(stage, inputs)
    yield folder
    stage_code._code.cache_clear()


def upgrade(monkeypatch: pytest.MonkeyPatch, library: str, version: str) -> None:
    """Let the environment say that another version of a library is installed."""
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: version if name == library else real(name))
    stage_code._code.cache_clear()


def reasons(folder: Path) -> dict[str, list[str]]:
    with closing(Pipeline(folder)) as pipeline:
        return {stage.addressing: found for stage in pipeline.stages() if (found := pipeline.reasons(stage))}


def test_nothing_changed_nothing_is_out_of_date(recorded: Path) -> None:
    before = (recorded / "code.lock").stat().st_mtime_ns
    assert reasons(recorded) == {}
    assert (recorded / "code.lock").stat().st_mtime_ns == before
    status = subprocess.run([sys.executable, "-m", "dvc", "status"], cwd=recorded, capture_output=True, text=True, check=True)
    assert "up to date" in status.stdout


def test_a_library_re_runs_the_stages_that_decide_by_it_and_status_says_so(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime
    import torch

    before = torch.__version__.partition("+")[0]
    upgrade(monkeypatch, "torch", "99.0+cpu")
    found = reasons(recorded)
    assert found.keys() == OUTS.keys() - {"split"}
    assert found["train"] == [f"torch {before} → 99.0"]
    assert f"torch {before} → 99.0" in status_text(recorded, "train")
    upgrade(monkeypatch, "torch", before)
    upgrade(monkeypatch, "onnxruntime", "99.0")
    assert reasons(recorded)["export@dense-onnx"] == [f"onnxruntime {onnxruntime.__version__} → 99.0"]
    assert "train" not in reasons(recorded)


def test_changed_code_re_runs_its_stage_and_status_says_so(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_code, "sha256_of", lambda path: "other" if path.name == "torch_export.py" else sha256_of(path))
    stage_code._code.cache_clear()
    assert reasons(recorded) == {"export@dense-torch_export": ["the code of export.dense-torch_export changed"]}


def test_an_upgrade_while_a_stage_runs_is_not_recorded(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Pipeline(recorded)) as pipeline:
        stage: Any = pipeline.stages("train")[-1]
        inputs = pipeline.begin(stage)
        (recorded / "model.txt").write_text("new")
        upgrade(monkeypatch, "torch", "99.0")
        with pytest.raises(ConfigError, match=r"code.lock: train changed while train ran"):
            pipeline.record(stage, inputs)


def test_a_damaged_code_lock_is_written_anew(recorded: Path) -> None:
    good = (recorded / "code.lock").read_text()
    for damage in ("<<<<<<< ours\n", "[]", "train: 1\n"):
        (recorded / "code.lock").write_text(damage)
        assert reasons(recorded) == {}
        assert (recorded / "code.lock").read_text() == good
