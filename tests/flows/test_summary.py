"""The ending of a run at the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.reporting.records import RunReport, StageLine
from flows.summary import _afterwards, show
from tests.components.reporting.conftest import write_artifact


def test_a_narrow_terminal_cuts_no_artifacts_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    name = write_artifact(tmp_path, "torch_export", latency_ms_median=43.63, latency_ms_p95=134.83, images_per_second=77)
    stages = [StageLine(name=f"export@{name}", state="ran", seconds=1.0)]
    report = RunReport(name="shapes", run_id="r", started="2026-11-21T04:31", seconds=1.0, outcome="kept", headline="done", stages=stages)
    show(report, tmp_path, tmp_path / "none.html")
    assert capsys.readouterr().out.count(name) == 2


def test_why_a_stage_ran_is_said_as_of_afterwards() -> None:
    assert _afterwards("has not run yet") == "had not run before"
    assert _afterwards("train.lr: 0.1 → 0.2") == "train.lr: 0.1 → 0.2"
