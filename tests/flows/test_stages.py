from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import pytest

ATTEMPT = """
from flows.stages import run_task

def attempt():
    raise KeyError("what went wrong")

run_task("register", attempt)
"""


def test_prefect_does_not_keep_a_bug_to_itself(prefect_api: str) -> None:
    environment = {**os.environ, "PREFECT_API_URL": prefect_api}
    done = subprocess.run([sys.executable, "-c", ATTEMPT], env=environment, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "KeyError: 'what went wrong'"


def test_progress_that_prefect_does_not_take_ends_no_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    from flows import stages

    tries: list[float] = []

    def away(percent: float, **_: str) -> None:
        tries.append(percent)
        raise ConnectionError("All connection attempts failed")

    monkeypatch.setattr(stages, "create_progress_artifact", away)
    monkeypatch.setattr(stages, "_PROGRESS_EVERY_S", 0.0)
    listener = stages._Listener("train")
    for done in (1, 2, 3):
        listener("progress", ("train", done, 10, "images"))
    listener.finish()
    assert tries == [10.0]


def test_progress_of_a_step_that_ended_well_stands_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    from flows import stages

    told: list[float] = []
    monkeypatch.setattr(stages, "create_progress_artifact", lambda percent, **_: told.append(percent) or "artifact")
    monkeypatch.setattr(stages, "update_progress_artifact", lambda _, percent, **__: told.append(percent))
    quick, slow = stages._Listener("split"), stages._Listener("train")
    quick.finish()
    monkeypatch.setattr(stages, "_PROGRESS_EVERY_S", 0.0)
    slow("progress", ("train", 2, 10, "images"))
    slow.finish()
    assert told == [20.0, 100.0]


TRAIN = """
    from pathlib import Path
    from components.protocols import Context

    def train(out: Path, context: Context) -> None:
        checkpoint = context.scratch / "checkpoint"
        if checkpoint.exists():
            Path("history.txt").write_text(checkpoint.read_text())
        checkpoint.write_text("learnt")
        out.write_text("weights")
    """


def test_what_was_learnt_outlives_a_record_that_failed(code_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows import stages
    from flows.pipeline import Pipeline

    monkeypatch.setattr(stages, "_PRELOAD", {"torch": ("components.__main__",)})
    (code_project / "components" / "steps" / "train.py").write_text(textwrap.dedent(TRAIN))
    (code_project / "dvc.yaml").write_text("stages: {train: {cmd: python -m components train --out model.txt, outs: [model.txt, history.txt]}}")
    home = code_project / ".darkroom"
    with closing(Pipeline(code_project)) as pipeline:
        [stage] = pipeline.stages()
        first, second = (stages._attempt(stages.Workshop(pipeline, home, "run"), stage) for _ in range(2))
    stages.process_server(code_project, "torch").stop()
    assert first.state == "failed"
    assert "history.txt" in first.text  # which was not there to be recorded
    assert second.state == "ran", second.text
    assert (code_project / "history.txt").read_text() == "learnt"
    assert list((home / "scratch").iterdir()) == []
