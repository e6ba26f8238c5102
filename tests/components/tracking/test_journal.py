import json
from pathlib import Path

import pytest

from components.tracking.journal import JournalTracker, read_events


def test_events_come_back_in_order_with_nested_parameters_flat(tmp_path: Path) -> None:
    tracker = JournalTracker(tmp_path / "deep" / "run.jsonl")
    tracker.log_params({"train": {"lr": 0.1, "model_options": {"width": 16}, "none": {}}, "name": "ü"})
    tracker.log_metrics({"loss": float("nan")}, 3)
    tracker.set_tags({"a": "b"})
    params, metrics, tags = read_events(tracker.path)
    assert params.content["params"] == {"train.lr": "0.1", "train.model_options.width": "16", "train.none": "{}", "name": "ü"}
    assert metrics.content["step"] == 3
    assert tags.kind == "tags"
    assert [event.kind for event in read_events(tracker.path, offset=params.end)] == ["metrics", "tags"]


def test_a_line_cut_off_by_a_kill_costs_that_line_alone(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    JournalTracker(path).log_metrics({"loss": 1.0}, 1)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2])
    assert len(read_events(path)) == 1
    JournalTracker(path).log_metrics({"loss": 2.0}, 2)
    assert [event.content["step"] for event in read_events(path)] == [1, 2]


def test_a_disk_that_takes_nothing_does_not_stop_the_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    tracker = JournalTracker(tmp_path / "file" / "run.jsonl")
    tracker.log_metrics({"loss": 1.0}, 1)
    tracker.log_metrics({"loss": 1.0}, 2)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_what_is_written_is_on_disk_before_the_call_returns(tmp_path: Path) -> None:
    tracker = JournalTracker(tmp_path / "run.jsonl")
    for step in range(3):
        tracker.log_metrics({"loss": 1.0}, step)
        assert json.loads(tracker.path.read_text().splitlines()[-1])["step"] == step
