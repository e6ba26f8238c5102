"""The ending of a run at the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.records import BenchmarkRecord, DatasetRef, ExportRecord, ModelSpec, ParityRecord, Preprocess
from components.reporting.records import RunReport, StageLine
from flows.summary import _afterwards, show


def test_a_narrow_terminal_cuts_no_artifacts_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    spec = ModelSpec(
        task="segmentation",
        model="unet",
        classes=["a", "b"],
        preprocess=Preprocess(size_hw=(8, 8), channels=1, resize="stretch"),
        mean=[0.5],
        std=[0.2],
        dataset=DatasetRef(name="shapes", version="1.0.0", manifest_digest="ab", num_images=9),
        training_digest="cd",
    )
    name = "dense-torch_export"
    record = ExportRecord(variant="dense", format="torch_export", file="model.pt2", sha256="0" * 64, num_bytes=1_660_000, spec=spec, refusals=[])
    (tmp_path / "models/exported" / name).mkdir(parents=True)
    record.save(tmp_path / "models/exported" / name / "artifact.json")
    scores = {"miou": 0.7116}
    ParityRecord(
        num_images=118, max_difference=0.0, mean_difference=0.0, agreement=1.0, eager=scores, artifact=scores,
        accuracy_drop=0.0, worst_class="a", worst_class_drop=0.0,
    ).save(tmp_path / "models/exported" / name / "parity.json")  # fmt: skip
    (tmp_path / "reports/benchmark").mkdir(parents=True)
    BenchmarkRecord(
        artifact=name, num_bytes=1_660_000, latency_ms_median=43.63, latency_ms_p95=134.83, images_per_second=77, accuracy=0.7116, machine="two cores"
    ).save(tmp_path / "reports/benchmark" / f"{name}.json")
    stages = [StageLine(name=f"export@{name}", state="ran", seconds=1.0)]
    report = RunReport(name="shapes", run_id="r", started="2026-11-21T04:31", seconds=1.0, outcome="kept", headline="done", stages=stages)
    show(report, tmp_path, tmp_path / "none.html")
    assert capsys.readouterr().out.count(name) == 2


def test_why_a_stage_ran_is_said_as_of_afterwards() -> None:
    assert _afterwards("has not run yet") == "had not run before"
    assert _afterwards("train.lr: 0.1 → 0.2") == "train.lr: 0.1 → 0.2"
