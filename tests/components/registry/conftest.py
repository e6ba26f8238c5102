"""Small real projects: PNG images, prepared data, and ONNX models of chosen accuracy, without a training."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image
from safetensors.numpy import save_file

from components.config import TaskConfig
from components.datasets.manifest import DatasetInfo, dataset_ref, read_manifest
from components.datasets.splits import write_splits
from components.datasets.writing import write_dataset
from components.files import sha256_of
from components.protocols import ImportedImage
from components.records import BenchmarkRecord, ExportRecord, ModelSpec, ParityRecord, PreparedRecord, Preprocess, Refusal
from components.registry import history
from components.registry import register as registering
from components.registry.config import RegisterConfig
from components.registry.decision import Event
from components.registry.register import Registered
from components.serving.metadata import pack
from components.steps.augment import AugmentConfig, augment
from components.tracking.store import connect

CLASSES = ["ant", "bee", "cat"]
SIZE = 8


def png(label: int, easiness: int, number: int) -> bytes:
    """An image whose class is the brightest of three pixels; its first pixel says how easy it is (0: the easiest)."""
    pixels = np.zeros((SIZE, SIZE), np.uint8)
    pixels[0, 0] = easiness
    pixels[1, label] = 200
    pixels[2:] = np.random.default_rng(number).integers(0, 255, (SIZE - 2, SIZE))
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write_onnx(path: Path, spec: ModelSpec, threshold: float) -> None:
    """A model that is right on images up to a threshold of easiness and names the next class on the others."""
    constants = {"threshold": threshold, "scale": 1 / 25}
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Slice", ["float", "row_start", "row_end", "axes"], ["signal_NHWC"]),
        helper.make_node("Reshape", ["signal_NHWC", "shape"], ["signal"]),
        helper.make_node("Mul", ["signal", "scale"], ["right"]),
        helper.make_node("Gather", ["right", "next"], ["wrong"], axis=1),
        helper.make_node("Slice", ["float", "zeros", "ones", "axes"], ["first"]),
        helper.make_node("Reshape", ["first", "column"], ["easiness"]),
        helper.make_node("Greater", ["easiness", "threshold"], ["hard"]),
        helper.make_node("Where", ["hard", "wrong", "right"], ["logits"]),
    ]
    integers = {
        "row_start": [1, 0],
        "row_end": [2, len(CLASSES)],
        "axes": [1, 2],
        "shape": [-1, len(CLASSES)],
        "next": [2, 0, 1],
        "zeros": [0, 0],
        "ones": [1, 1],
        "column": [-1, 1],
    }
    tensors = [helper.make_tensor(name, TensorProto.INT64, [len(values)], values) for name, values in integers.items()]
    tensors += [helper.make_tensor(name, TensorProto.FLOAT, [], [value]) for name, value in constants.items()]
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", SIZE, SIZE, 1])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", len(CLASSES)])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    helper.set_model_props(model, pack(spec))
    onnx.save(model, path)


@dataclass(frozen=True)
class Project:
    """A folder as the stages leave it."""

    root: Path

    @property
    def home(self) -> Path:
        return self.root / ".darkroom"

    @property
    def data(self) -> Path:
        return self.root / "data" / "toy"

    def spec(self, classes: Sequence[str] = CLASSES) -> ModelSpec:
        prepared = PreparedRecord.load(self.root / "data" / "training" / "prepared.json")
        return ModelSpec(
            task="classification",
            model="toy",
            classes=list(classes),
            preprocess=Preprocess(size_hw=(SIZE, SIZE), channels=1, resize="stretch"),
            mean=prepared.mean,
            std=prepared.std,
            dataset=prepared.dataset,
            training_digest=prepared.training_digest,
        )

    def train(self, accuracy: float, classes: Sequence[str] = CLASSES, refusals: Sequence[str] = ()) -> None:
        """Leave what train … export leave, with a model of this accuracy."""
        spec = self.spec(classes)
        tuned, exported = self.root / "models" / "tuned", self.root / "models" / "exported"
        tuned.mkdir(parents=True, exist_ok=True)
        spec.save(tuned / "spec.json")
        save_file({"weight": np.full(3, accuracy, np.float32)}, tuned / "weights.safetensors")
        settings = {"device": "cpu", "precision": "float32"}
        summary = {
            "best_epoch": 1,
            "num_epochs": 1,
            "metric": "accuracy",
            "value": accuracy,
            "settings": settings,
            "num_parameters": 3,
            "multiply_adds": 3,
        }
        (tuned / "summary.json").write_text(json.dumps(summary))
        shutil.rmtree(exported, ignore_errors=True)
        self._export("dense-onnx", spec, accuracy, refusals)

    def _export(self, name: str, spec: ModelSpec, accuracy: float, refusals: Sequence[str]) -> None:
        variant, _, form = name.partition("-")
        folder = self.root / "models" / "exported" / name
        folder.mkdir(parents=True)
        write_onnx(folder / "model.onnx", spec, 250 * accuracy)
        size = (folder / "model.onnx").stat().st_size
        broken = [Refusal(budget="max_accuracy_drop", found=0.5, limit=0.02, text=text) for text in refusals]
        record = ExportRecord(
            variant=variant, format=form, file="model.onnx", sha256=sha256_of(folder / "model.onnx"), num_bytes=size, spec=spec, refusals=broken
        )
        record.save(folder / "artifact.json")
        ParityRecord(
            num_images=60,
            max_difference=1e-6,
            mean_difference=1e-7,
            agreement=1.0,
            eager={"accuracy": accuracy},
            artifact={"accuracy": accuracy},
            accuracy_drop=0.0,
            worst_class="ant",
            worst_class_drop=0.0,
        ).save(folder / "parity.json")
        BenchmarkRecord(
            artifact=name, num_bytes=size, latency_ms_median=0.1, latency_ms_p95=0.2, images_per_second=9e3, accuracy=accuracy, machine="two cores"
        ).save(self.root / "reports" / "benchmark" / f"{name}.json")

    def history(self) -> list[Event]:
        return history.events_of(history.registered_model(connect(self.home), "toy"))

    def set_sides(self, sides: Callable[[int], str]) -> None:
        """Put image n on the side that `sides(n)` names, and prepare the training data anew."""
        frame = read_manifest(self.data)
        frame["side"] = [sides(number) for number in range(len(frame))]
        write_splits(frame["image_id"], frame["side"], self.root / "data" / "splits.parquet")
        task = TaskConfig(name="classification", image_size=SIZE, channels=1)
        folder = self.root / "data"
        augment(AugmentConfig(), task, self.data, folder / "splits.parquet", folder / "training", self.root / "reports" / "augmentation")

    def register(self, required: Sequence[str] = ("dense-onnx",), run_id: str | None = None, **config: str) -> Registered:
        return registering.register(self.root, self.home, "toy", RegisterConfig(**config), required, run_id)


def side_of(number: int) -> str:
    """Every third image is a test image, every tenth of the others is for validation."""
    return "test" if number % 3 == 0 else "val" if number % 10 == 1 else "train"


@pytest.fixture(scope="session")
def prepared_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    generator = np.random.default_rng(0)
    images = [
        ImportedImage(f"{number:04}.png", png(label, int(generator.integers(0, 250)), number), {"label": CLASSES[label]})
        for number, label in enumerate(generator.integers(0, 3, 600).tolist())
    ]
    write_dataset(images, DatasetInfo(name="toy", version="1.0", task="classification", classes=CLASSES), root / "data")
    params = "data: {name: toy}\ntrain: {lr: 0.1}\ncompress: {variants: [dense]}\nexport: {formats: [onnx, torch_export]}\n"
    (root / "params.yaml").write_text(params)
    (root / "dvc.lock").write_text("schema: '2.0'\n")
    (root / "data" / "toy.dvc").write_text("outs:\n- md5: 0123456789abcdef0123456789abcdef.dir\n  path: toy\n")
    Project(root).set_sides(side_of)
    assert dataset_ref(root / "data" / "toy").num_images == 600
    return root


@pytest.fixture
def project(prepared_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project of its own with 200 test images, an empty MLflow store, and no model yet."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DARKROOM_USER", "ada")
    shutil.copytree(prepared_project, tmp_path / "project")
    return Project(tmp_path / "project")
