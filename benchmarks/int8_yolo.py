"""INT8 against float ONNX: the YOLO that `bccd` trains, at 256 px, one thread, in turn; what it finds on BCCD's test split before and after."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks import bccd
from benchmarks.real_data import FOLDER
from benchmarks.rows import Row
from components.datasets.prepared import Prepared, PreparedSplit
from components.errors import DataError
from components.evaluation.comparison import compare_paired
from components.exporters import onnx, onnx_int8
from components.parity.benchmark import latencies_ms, speedup
from components.parity.reference import Reference
from components.parity.verify import run
from components.protocols import plugin
from components.records import ModelSpec
from components.training.model_files import load_model

LONG = True
TARGET, MAX_DROP = 2.0, 0.01
SECONDS, NUM_RESAMPLES = 15.0, 500


def kept() -> tuple[nn.Module, ModelSpec, PreparedSplit, PreparedSplit]:
    """Return what the measure `bccd` left: the model, and the images to calibrate and to test on.

    Raises:
        DataError: It has not run here, or its files are those of an earlier version.
    """
    model, spec = load_model(FOLDER / "bccd" / "model")
    prepared = Prepared.open(FOLDER / "bccd" / "training")
    return model, spec, prepared.split("train"), prepared.split("test")


def rows() -> list[Row]:
    """Measure."""
    try:
        model, spec, train, test = kept()
    except DataError:
        bccd.rows()
        model, spec, train, test = kept()
    task = plugin("components.tasks", "task", spec.task)
    evaluator = plugin("components.evaluation.metrics", "task", spec.task)(spec.classes)
    size_hw = spec.preprocess.size_hw
    graph, example = task.deploy_graph(model, spec), torch.zeros((2, *size_hw, spec.preprocess.channels), dtype=torch.uint8)
    with tempfile.TemporaryDirectory() as written:
        runners, sizes, statistics = [], [], []
        for exporter in (onnx.plugin, onnx_int8.plugin):
            path = Path(written) / f"{exporter.format}.onnx"
            exporter.export(graph, example, train.images, {}, path)
            runners.append(exporter.runner(path, 1))
            sizes.append(path.stat().st_size / 1e6)
            found = run(runners[-1], spec, Reference(spec, test.images, test.rows, []))
            statistics.append(evaluator.statistics(found, evaluator.targets(test.rows)))
    image = np.ascontiguousarray(test.images[:1])
    floating, rounded = runners
    faster = speedup(floating, rounded, image, seconds=SECONDS)
    milliseconds = [float(np.median(latencies_ms(runner, image))) for runner in runners]
    judged = compare_paired(evaluator, statistics[0], statistics[1], num_resamples=NUM_RESAMPLES)
    gain = judged.gain
    measured = (
        f"{faster.value:.2f}× (95%: {faster.low:.2f} to {faster.high:.2f}); {milliseconds[0]:.1f} → {milliseconds[1]:.1f} ms; "
        f"AP {judged.a.value:.3f} → {judged.b.value:.3f}: {100 * gain.value:+.1f} points (95%: {100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
    )
    return [
        Row(
            f"INT8 {spec.model} at {size_hw[0]} px against float ONNX, one thread",
            measured,
            f"{TARGET:.0f}× at {100 * MAX_DROP:.0f} AP point at most",
            faster.value,
            faster.value >= TARGET and gain.value >= -MAX_DROP,
            f"{sizes[0]:.1f} → {sizes[1]:.1f} MB; BCCD's {len(test.rows)} test images, {len(train.rows)} to calibrate on; without decoding",
        )
    ]
