from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from components.datasets.prepared import Prepared
from components.exporters.onnx import plugin as exporter
from components.parity.benchmark import machine, measure, not_measured, num_cores, speedup
from components.protocols import plugin
from components.records import BenchmarkRecord
from components.serving.metadata import pack
from components.training.model_files import load_model


class Spinner:
    """A runner that does `work` units and writes its name down."""

    metadata: Mapping[str, str] = {}

    def __init__(self, name: str, work: int, calls: list[str]) -> None:
        self.name, self.work, self.calls = name, work, calls

    def __call__(self, images_NHWC: Any) -> dict[str, Any]:
        self.calls.append(self.name)
        for _ in range(self.work):
            np.linalg.svd(np.ones((40, 40)))
        return {}


def test_speedup_runs_in_turn_and_bounds_its_value() -> None:
    calls: list[str] = []
    found = speedup(Spinner("slow", 40, calls), Spinner("fast", 2, calls), np.zeros((1, 4, 4, 1), np.uint8))
    assert found.low <= found.value <= found.high
    assert found.value > 1
    pairs = calls[7:]
    turns = [name for index, name in enumerate(pairs) if index == 0 or name != pairs[index - 1]]
    assert turns[:6] == ["slow", "fast"] * 3 or turns[:6] == ["fast", "slow"] * 3
    assert turns.count("slow") >= 15


def test_measure_fills_the_record(trained_digits: Path, prepared_digits: Path, tmp_path: Path) -> None:
    import torch

    network, spec = load_model(trained_digits)
    graph = plugin("components.tasks", "task", spec.task).deploy_graph(network, spec)
    path = tmp_path / "model.onnx"
    exporter.export(graph, torch.zeros((2, 16, 16, 1), dtype=torch.uint8), None, pack(spec), path)
    images = Prepared.open(prepared_digits).split("test").images
    record = measure("dense-onnx", exporter, path, images, 0.97, baseline=None)
    assert record.num_bytes == path.stat().st_size
    assert record.latency_ms_median is not None
    assert record.latency_ms_p95 is not None
    assert 0 < record.latency_ms_median <= record.latency_ms_p95
    assert record.images_per_second is not None
    assert record.images_per_second > 0
    assert record.speedup is None
    record.save(tmp_path / "benchmark.json")
    assert BenchmarkRecord.load(tmp_path / "benchmark.json") == record


def test_fewer_images_than_a_batch_are_repeated() -> None:
    class Shapes(Spinner):
        def __call__(self, images_NHWC: Any) -> dict[str, Any]:
            shapes.add(images_NHWC.shape)
            return {}

    class Exporter:
        def runner(self, path: Path, num_threads: int) -> Shapes:
            return Shapes("", 0, [])

    shapes: set[tuple[int, ...]] = set()
    measure("dense-onnx", Exporter(), Path(__file__), np.zeros((3, 4, 4, 1), np.uint8), 1.0, None)  # type: ignore[arg-type]
    assert shapes == {(1, 4, 4, 1), (32, 4, 4, 1)}


def test_what_could_not_be_measured_is_null() -> None:
    record = not_measured("dense-onnx_int8", None, ["too few"])
    assert (record.latency_ms_median, record.accuracy, record.warnings) == (None, None, ["too few"])


def test_machine_names_its_cores() -> None:
    assert machine().endswith(f"{num_cores()} cores")
    assert len(machine()) > len("1 cores") + 2
