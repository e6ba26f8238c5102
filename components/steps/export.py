"""A trained model in a deployable form, with the proof that it still does what the model does."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from components.config import Section
from components.errors import GateRefused, InputError, unknown_name
from components.files import replacing, sha256_of
from components.protocols import Exporter, Runner, Task, plugin, plugin_names
from components.records import BenchmarkRecord, ExportRecord, ModelSpec, ParityRecord, Refusal
from components.serving.metadata import pack

if TYPE_CHECKING:
    from torch import nn

    from components.datasets.prepared import Prepared
    from components.parity.reference import Reference
    from components.parity.verify import Budgets

log = logging.getLogger(__name__)


class ExportConfig(Section):
    """Which forms a model is exported in, and what an artifact may lose."""

    section: ClassVar[str] = "export"
    formats: list[str] = Field(default=["onnx"], min_length=1, description="files of components/exporters")
    required: list[str] = Field(default=[], description="VARIANT-FORMAT whose refusal stops the run")
    max_accuracy_drop: float = Field(default=0.02, ge=0, le=1, description="eager model minus artifact, primary metric on the test images")
    max_class_drop: float = Field(default=0.10, ge=0, le=1, description="the same of any class; at least 2 of its images must be lost")
    max_difference: float = Field(default=1e-3, gt=0, description="of any score, for formats that do not quantise")
    min_speedup: float = Field(default=1.0, ge=0, description="of quantised formats against float ONNX, lower bound of the interval")
    on_slow: Literal["warn", "refuse"] = "warn"
    num_calibration: int = Field(default=512, ge=128, description="training images that quantised formats are calibrated on")

    @field_validator("formats")
    @classmethod
    def _known_formats(cls, formats: list[str]) -> list[str]:
        names = plugin_names("components.exporters")
        for name in formats:
            if name not in names:
                raise ValueError(str(unknown_name("export format", name, names)))
        return formats

    @field_validator("required")
    @classmethod
    def _known_required(cls, required: list[str], info: ValidationInfo) -> list[str]:
        formats: list[str] | None = info.data.get("formats")
        if formats is None:  # they are wrong, and said to be
            return required
        for name in required:
            if not any(name.endswith(f"-{known}") for known in formats):
                raise ValueError(f"'{name}' is not VARIANT-FORMAT with a format of export.formats ({', '.join(formats)})")
        return required

    def budgets(self, quantised: bool) -> Budgets:
        """Return what an artifact may lose; only rounding may change a score by more than float arithmetic does."""
        from components.parity.verify import Budgets

        return Budgets(self.max_accuracy_drop, self.max_class_drop, None if quantised else self.max_difference)


@dataclass
class _Artifact:
    """What is known of an artifact so far."""

    variant: str
    exporter: Exporter
    spec: ModelSpec
    refusals: list[Refusal] = field(default_factory=list)
    parity: ParityRecord | None = None

    @property
    def name(self) -> str:
        return f"{self.variant}-{self.exporter.format}"


def export(config: ExportConfig, variant: str, format: str, data: Path, model: Path, out: Path, benchmark: Path) -> ExportRecord:  # noqa: A002
    """Export one variant in one format and prove it on the test images.

    Args:
        config: Budgets.
        variant: The model's name, a folder of models/.
        format: A file of components/exporters.
        data: Prepared data: calibration takes its training images, the proof its test images.
        model: The variant's weights and spec.
        out: Folder for the artifact, artifact.json and parity.json.
        benchmark: File for what was measured on this machine.

    Raises:
        GateRefused: The artifact is outside a budget and named in `export.required`; what `out` and `benchmark` hold is complete.
    """
    from components.datasets.prepared import Prepared
    from components.parity.reference import eager_reference
    from components.parity.verify import verify_artifact
    from components.training.model_files import load_model

    exporter: Exporter = plugin("components.exporters", "exporter", format)
    network, spec = load_model(model)
    prepared = Prepared.open(data)
    task: Task = plugin("components.tasks", "task", spec.task)
    graph = task.deploy_graph(network, spec)
    artifact = _Artifact(variant, exporter, spec)
    with replacing(out) as folder, replacing(benchmark) as measured:
        folder.mkdir()
        path = folder / exporter.file_name
        _write(artifact, config, graph, prepared, path)
        reference = eager_reference(network, spec, prepared) if path.exists() else None
        if reference:
            artifact.parity, refusals = verify_artifact(path, format, reference, config.budgets(exporter.needs_calibration))
            artifact.refusals += refusals
        costs = _measure(artifact, config, graph, reference, path)
        record = _record(artifact, path)
        record.save(folder / "artifact.json")
        if artifact.parity:
            artifact.parity.save(folder / "parity.json")
        costs.save(measured)
    _tell(record, artifact.parity, costs)
    if record.refusals and record.name in config.required:
        raise GateRefused(f"{record.name} is required and refused: {'; '.join(refusal.text for refusal in record.refusals)}")
    return record


def _write(artifact: _Artifact, config: ExportConfig, graph: nn.Module, prepared: Prepared, path: Path) -> None:
    import torch

    from components.exporters._calibration import choose

    calibration = None
    if artifact.exporter.needs_calibration:
        train = prepared.split("train", artifact.spec.preprocess.size_hw)
        chosen, artifact.refusals = choose(train.rows, artifact.spec.classes, config.num_calibration)
        if artifact.refusals:
            return
        calibration = train.images[chosen]
    try:
        artifact.exporter.export(graph, torch.zeros(_example_shape(artifact.spec), dtype=torch.uint8), calibration, pack(artifact.spec), path)
    except InputError as error:
        artifact.refusals.append(Refusal(budget="export", found=None, limit=None, text=str(error)))


def _example_shape(spec: ModelSpec) -> tuple[int, int, int, int]:
    return (2, *spec.preprocess.size_hw, spec.preprocess.channels)


def _measure(artifact: _Artifact, config: ExportConfig, graph: nn.Module, reference: Reference | None, path: Path) -> BenchmarkRecord:
    from components.parity.benchmark import measure, not_measured

    if artifact.parity is None or reference is None:
        return not_measured(artifact.name, path.stat().st_size if path.exists() else None, [refusal.text for refusal in artifact.refusals])
    accuracy = artifact.parity.artifact[_metric(artifact.spec)]
    with TemporaryDirectory() as folder:
        baseline = _float_runner(graph, artifact.spec, Path(folder)) if artifact.exporter.needs_calibration else None
        costs = measure(artifact.name, artifact.exporter, path, reference.images, accuracy, baseline)
    if costs.speedup is None or costs.speedup.low >= config.min_speedup:
        return costs
    found = costs.speedup
    text = (
        f"{found.value:.2f} times the speed of float ONNX; the lower end of its 95% interval, {found.low:.2f} to {found.high:.2f}, "
        f"is less than {config.min_speedup:g} (export.min_speedup)"
    )
    if config.on_slow == "refuse":
        artifact.refusals.append(Refusal(budget="min_speedup", found=found.low, limit=config.min_speedup, text=text))
    return costs.model_copy(update={"warnings": [text]})


def _float_runner(graph: nn.Module, spec: ModelSpec, folder: Path) -> Runner:
    import torch

    from components.exporters._onnx_graph import write_onnx
    from components.serving.onnx_runner import OnnxRunner

    path = folder / "float.onnx"
    write_onnx(graph, torch.zeros(_example_shape(spec), dtype=torch.uint8), {}, path)
    return OnnxRunner(path, num_threads=1)


def _record(artifact: _Artifact, path: Path) -> ExportRecord:
    made = path.exists()
    return ExportRecord(
        variant=artifact.variant,
        format=artifact.exporter.format,
        file=path.name if made else None,
        sha256=sha256_of(path) if made else None,
        num_bytes=path.stat().st_size if made else None,
        spec=artifact.spec,
        refusals=artifact.refusals,
    )


def _metric(spec: ModelSpec) -> str:
    return str(plugin("components.evaluation.metrics", "task", spec.task)(spec.classes).metric)


def _tell(record: ExportRecord, parity: ParityRecord | None, costs: BenchmarkRecord) -> None:
    parts = []
    if costs.num_bytes and costs.latency_ms_median is not None:
        parts.append(f"{costs.num_bytes / 1e6:.2f} MB, {costs.latency_ms_median:.2f} ms an image")
    if costs.speedup:
        parts.append(f"{costs.speedup.value:.1f} times as fast as float ONNX")
    if parity:
        metric = _metric(record.spec)
        parts.append(f"{metric} {parity.artifact[metric]:.2%}, agrees on {parity.agreement:.2%} of {parity.num_images} images")
    parts += [f"refused: {refusal.text}" for refusal in record.refusals]
    log.info("%s: %s", record.name, "; ".join(parts))
    for warning in costs.warnings if not record.refusals else []:
        log.warning("%s: %s", record.name, warning)
