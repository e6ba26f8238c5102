import time
from pathlib import Path

from components.tracking.journal import JournalTracker, read_events
from components.tracking.system import SystemMetrics


def test_samples_are_named_as_mlflows_page_knows_them(tmp_path: Path) -> None:
    tracker = JournalTracker(tmp_path / "run.jsonl")
    with SystemMetrics(tracker, every_s=0.05):
        time.sleep(0.3)
    events = read_events(tracker.path)
    assert [event.content["step"] for event in events[:2]] == [0, 1]
    sample = events[0].content["metrics"]
    assert 0 <= sample["system/cpu_utilization_percentage"] <= 100
    assert sample["system/system_memory_usage_megabytes"] > 0
    assert sample["system/network_receive_megabytes"] >= 0
