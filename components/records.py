"""The typed files that pass between steps: JSON, sorted keys, no time and no host in those that feed another stage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components.errors import DataError


class Record(BaseModel):
    """A frozen object that is stored as one JSON file."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    def save(self, path: Path) -> None:
        """Write the record; equal records give equal bytes."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a record.

        Raises:
            DataError: The file is missing or is not this kind of record.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise DataError(f"{path} not found; the step that writes it has not run") from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise DataError(f"{path} is not a {cls.__name__}: {where}: {first['msg']}") from None


class DatasetRef(Record):
    """Which bytes: name, version and digest of a dataset."""

    name: str
    version: str
    manifest_digest: str = Field(description="SHA-256 over the sorted (image_id, sha256, annotation) of all rows")
    num_images: int


class Preprocess(Record):
    """How original bytes become what a network sees: the parameters of `serving.image.prepare`."""

    size_hw: tuple[int, int]
    channels: Literal[1, 3]
    resize: Literal["stretch", "crop", "letterbox"]


class Expectation(Record):
    """One Great Expectations verdict, for people."""

    name: str
    level: Literal["fail", "warn"]
    success: bool
    num_unexpected: int
    observed: str
    expected: str


class Verdict(Record):
    """validate → split: may this data be trained on."""

    passed: bool
    dataset: DatasetRef
    expectations: list[Expectation]
    class_counts: dict[str, int]


class PreparedRecord(Record):
    """augment → everything that reads `data/training/`."""

    task: str
    dataset: DatasetRef
    classes: list[str]
    channels: Literal[1, 3]
    resize: Literal["stretch", "crop", "letterbox"]
    sizes: list[tuple[int, int]] = Field(description="heights and widths in pixels that are stored, the training size first")
    mean: list[float] = Field(description="per channel over the training images, of values in 0..1")
    std: list[float]
    counts: dict[str, int] = Field(description="images per split: train, val, test")
    training_digest: str = Field(description="SHA-256 over the sorted sha256 of the training images")


class ModelSpec(Record):
    """All that is needed, beside the weights, to rebuild a network in a fresh process."""

    schema_version: Literal[1] = 1
    task: str
    model: str = Field(description="own network or torchvision model by name")
    model_options: dict[str, Any] = {}
    classes: list[str]
    preprocess: Preprocess
    mean: list[float]
    std: list[float]
    structure: dict[str, list[int]] | None = Field(default=None, description="shapes of pruned parameters by name; null if not pruned")
    dataset: DatasetRef
    training_digest: str


class TrainRecord(Record):
    """train, finetune, compress → summary.json beside weights.safetensors and spec.json."""

    best_epoch: int = Field(description="1-based; 0: the weights it started from")
    num_epochs: int
    metric: str
    value: float = Field(description="the metric on the validation split, of the weights that were kept")
    start_value: float | None = Field(default=None, description="the same of the weights it started from, where there were any")
    settings: dict[str, Any] = Field(default={}, description="what every `auto` became: device, precision, compile, channels_last, …")
    loaded: str = Field(default="random weights", description="what the weights started from, and what of it fitted")
    num_parameters: int
    multiply_adds: int = Field(description="of one image at the model's input size")


class Interval(Record):
    """A value with its 95% bootstrap interval."""

    value: float
    low: float
    high: float


class CompressRecord(Record):
    """compress → compression.json: what the variant lost and kept."""

    variant: str
    multiply_adds_before: int
    multiply_adds: int
    num_parameters_before: int
    num_parameters: int
    metric: str
    value_before: float = Field(description="on the validation split, of the model it was made from")
    value: float


class EvaluationRecord(Record):
    """evaluate → who called it; metrics.json holds the same as flat numbers."""

    metric: str = Field(description="the primary one")
    num_images: int
    metrics: dict[str, Interval]
    others: dict[str, float] = Field(default={}, description="metrics without an interval, those that are not defined left out")
    baseline: float = Field(description="the primary metric of the best prediction that ignores the image")


class Refusal(Record):
    """A budget or rule that an artifact broke, with the numbers."""

    budget: str
    found: float | None
    limit: float | None
    text: str


class ExportRecord(Record):
    """export → artifact.json: what was written, or why it was not."""

    variant: str
    format: str
    file: str | None = Field(description="name beside this record; null if the artifact could not be made")
    sha256: str | None
    num_bytes: int | None
    spec: ModelSpec
    refusals: list[Refusal] = []

    @property
    def name(self) -> str:
        """VARIANT-FORMAT, the artifact's name everywhere."""
        return f"{self.variant}-{self.format}"


class ParityRecord(Record):
    """export → parity.json: the artifact against the eager model on real images."""

    num_images: int
    max_difference: float = Field(description="largest absolute difference of a class probability")
    mean_difference: float = Field(description="mean over the images of the largest difference of each")
    agreement: float = Field(description="share of images with the same decision")
    likeness: dict[str, float] = Field(
        default={}, description="what the task knows besides, by name the mean over the images: boxes matched, their IoU …"
    )
    eager: dict[str, float] = Field(description="the evaluator's metrics of the eager model on the test split")
    artifact: dict[str, float] = Field(description="the same of the artifact, through serving/")
    accuracy_drop: float = Field(description="eager minus artifact, primary metric")
    worst_class: str
    worst_class_drop: float


class BenchmarkRecord(Record):
    """export → benchmark.json, a leaf: what was measured on one machine; nulls if the artifact could not be made or run."""

    artifact: str
    num_bytes: int | None
    latency_ms_median: float | None = Field(description="one image, one thread")
    latency_ms_p95: float | None
    images_per_second: float | None = Field(description="batches of 32 on all cores")
    accuracy: float | None
    speedup: Interval | None = Field(default=None, description="against the float ONNX of the same variant, interleaved pairs")
    machine: str
    warnings: list[str] = []


class BundleRecord(Record):
    """register → bundle.json: what a model version is made of. The same content has the same digest."""

    schema_version: Literal[1] = 1
    name: str
    task: str
    classes: list[str]
    dataset: DatasetRef
    training_digest: str
    serving: str = Field(description="VARIANT-FORMAT of the artifact that serves")
    artifacts: list[ExportRecord]
    files: dict[str, str] = Field(description="SHA-256 of each file in the bundle by its path, this record excepted")
    digest: str = Field(description="SHA-256 over the sorted files that are the same whenever the inputs are")
