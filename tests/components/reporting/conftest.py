"""What a run leaves of an artifact, without one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.records import BenchmarkRecord, DatasetRef, ExportRecord, ModelSpec, ParityRecord, Preprocess, Refusal

DATASET = DatasetRef(name="digits", version="1.1", manifest_digest="ab" * 32, num_images=1797)
SPEC = ModelSpec(
    task="classification",
    model="resnet9",
    classes=["<i>", "7"],
    preprocess=Preprocess(size_hw=(16, 16), channels=1, resize="stretch"),
    mean=[0.5],
    std=[0.2],
    dataset=DATASET,
    training_digest="cd" * 32,
)


def write_artifact(root: Path, format_name: str, refusals: Sequence[Refusal] = (), **measured: Any) -> str:
    """Leave an artifact's records, with these fields of the benchmark, and return its name."""
    name, num_bytes, accuracy = f"dense-{format_name}", 1_660_000, 0.97
    folder = root / "models/exported" / name
    ExportRecord(
        variant="dense", format=format_name, file="model.onnx", sha256="0" * 64, num_bytes=num_bytes, spec=SPEC, refusals=list(refusals)
    ).save(folder / "artifact.json")
    ParityRecord(
        num_images=360,
        max_difference=1e-6,
        mean_difference=1e-7,
        agreement=1.0,
        likeness={"matched_iou": 0.9875},
        eager={"accuracy": accuracy},
        artifact={"accuracy": accuracy},
        accuracy_drop=0.0,
        worst_class="7",
        worst_class_drop=0.0,
    ).save(folder / "parity.json")
    figures: dict[str, Any] = {"latency_ms_median": 0.12, "latency_ms_p95": 0.27, "images_per_second": 1690, "accuracy": 0.9722}
    BenchmarkRecord(**{"artifact": name, "num_bytes": num_bytes, "machine": "two cores"} | figures | measured).save(
        root / "reports/benchmark" / f"{name}.json"
    )
    return name
