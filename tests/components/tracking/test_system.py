import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from components.tracking.journal import JournalTracker, read_events
from components.tracking.system import SystemMetrics, gpu_load


def test_samples_are_named_as_mlflows_page_knows_them(tmp_path: Path) -> None:
    twice = threading.Event()

    class Tracker(JournalTracker):
        def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
            super().log_metrics(metrics, step)
            if step == 1:
                twice.set()

    tracker = Tracker(tmp_path / "run.jsonl")
    with SystemMetrics(tracker, every_s=0.05):
        assert twice.wait(120)
    events = read_events(tracker.path)
    assert [event.content["step"] for event in events[:2]] == [0, 1]
    sample = events[0].content["metrics"]
    assert 0 <= sample["system/cpu_utilization_percentage"] <= 100
    assert sample["system/system_memory_usage_megabytes"] > 0
    assert sample["system/network_receive_megabytes"] >= 0


def test_each_gpu_is_read_and_what_it_does_not_know_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nprintf '98, 20480, 40960, 350.5\\n0, 10, 40960, [N/A]\\n'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    load = gpu_load()
    assert load["gpu_0_utilization_percentage"] == 98
    assert load["gpu_0_memory_usage_percentage"] == 50
    assert load["gpu_0_power_usage_watts"] == 350.5
    assert "gpu_1_power_usage_watts" not in load
    assert load["gpu_1_memory_usage_megabytes"] == 10
