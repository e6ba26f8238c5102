"""Every task goes through the whole chain on a small set of real images: what is registered answers from original bytes as the model does."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from components.compression._options import CompressConfig
from components.config import TaskConfig
from components.datasets.composed import BACKGROUND, CLASSES, detection_images, segmentation_images
from components.datasets.dataset import Dataset
from components.datasets.formats.sklearn import digits
from components.datasets.manifest import DatasetInfo, read_manifest
from components.datasets.policy import Policy
from components.datasets.prepared import Prepared
from components.datasets.splits import write_splits
from components.datasets.writing import write_dataset
from components.explanation.record import ExplanationRecord
from components.protocols import Context, ImportedImage, Postprocess, plugin, plugin_names
from components.records import EvaluationRecord, ExportRecord, Preprocess
from components.registry.bundle import assemble, seal
from components.registry.packaging import signature
from components.registry.testset import TestImages, statistics_of
from components.serving.bundle import Bundle
from components.serving.predict import predict_files, table, write_csv
from components.steps.augment import AugmentConfig, augment
from components.steps.compress import compress
from components.steps.evaluate import EvaluateConfig, evaluate
from components.steps.explain import ExplainConfig, explain
from components.steps.export import ExportConfig, export
from components.steps.finetune import FinetuneConfig, finetune
from components.steps.train import TrainConfig, train

NUM = 200
SIDES = [*["train"] * 140, *["val"] * 30, *["test"] * 30]


@dataclass(frozen=True)
class Case:
    classes: list[str]
    images: Callable[[], list[ImportedImage]]
    config: TrainConfig
    size: list[int]
    formats: list[str]


def _train(model: str, **options: Any) -> TrainConfig:
    return TrainConfig(model=model, model_options=options, epochs=2, batch_size=10, lr=0.005, schedule="onecycle", precision="float32")


CASES = {
    "classification": Case(CLASSES, lambda: list(digits())[:NUM], _train("resnet9", width=4), [8, 12], ["onnx"]),
    "segmentation": Case(
        [BACKGROUND, *CLASSES],
        lambda: list(segmentation_images(NUM)),
        _train("unet", width=4, depth=2),
        [40, 56],
        ["onnx", "onnx_int8", "torch_export"],
    ),
    "detection": Case(CLASSES, lambda: list(detection_images(NUM)), _train("yolo_nano"), [32, 64], ["onnx", "onnx_int8"]),
}


@dataclass(frozen=True)
class Done:
    task: str
    case: Case
    project: Path
    record: EvaluationRecord


@pytest.fixture(scope="module", params=plugin_names("components.tasks"))
def done(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A project whose stages have run, augment to export."""
    name = request.param
    case, project, context = CASES[name], tmp_path_factory.mktemp(name), Context()
    info = DatasetInfo(name="shapes", version="1.0.0", task=name, classes=case.classes)
    write_dataset(case.images(), info, project / "data", "replace")
    shapes, splits, training = project / "data/shapes", project / "data/splits.parquet", project / "data/training"
    write_splits(read_manifest(shapes)["image_id"], pd.Series(SIDES, dtype=object), splits)
    task = TaskConfig(name=name, image_size=case.size, channels=1, resize="letterbox")
    policy = Policy(crop=0.1, rotate=10.0, brightness=0.2)
    augment(AugmentConfig(policy=policy, balance="sqrt"), task, shapes, splits, training, project / "reports/augmentation")
    models = project / "models"
    train(case.config, task, training, models / "start", models / "base", context)
    finetune(FinetuneConfig(epochs=1, batch_size=10, precision="float32"), task, training, models / "base", models / "tuned", context)
    record = evaluate(EvaluateConfig(num_resamples=100), training, models / "tuned", project / "reports/evaluation", context)
    mistakes = project / "reports/evaluation/mistakes.csv"
    explain(ExplainConfig(num_pictures=2, num_images=3), training, models / "tuned", mistakes, project / "reports/explain")
    compress(CompressConfig(variants=["dense"]), "dense", training, models / "tuned", models / "dense", context)
    config = ExportConfig(formats=case.formats, num_calibration=128)
    for form in case.formats:
        name = f"dense-{form}"
        export(config, "dense", form, training, models / "dense", models / "exported" / name, project / f"reports/benchmark/{name}.json")
    (project / "params.yaml").write_text(f"compress: {{variants: [dense]}}\nexport: {{formats: {case.formats}}}\n")
    return Done(request.param, case, project, record)


def test_the_chain_leaves_what_the_next_steps_and_people_read(done: Done) -> None:
    reports = done.project / "reports"
    metrics = json.loads((reports / "evaluation/metrics.json").read_text())
    assert np.isfinite(list(metrics.values())).all()
    assert metrics[f"{done.record.metric}_low"] <= metrics[done.record.metric] <= metrics[f"{done.record.metric}_high"]
    pictures = {path.name for path in (reports / "evaluation/pictures").iterdir()}
    assert "mistakes.png" in pictures
    assert len(pictures) > 1
    assert (reports / "augmentation/policy.png").stat().st_size > 10_000
    assert {path.name for path in (reports / "explain/pictures").iterdir()} == {"mistakes.png", "right.png"}
    explained = ExplanationRecord.load(reports / "explain/explain.json")
    assert len(explained.methods) == (2 if explained.num_images else 0)  # a detector of two epochs may find nothing
    predictions = pd.read_parquet(reports / "evaluation/predictions.parquet")
    assert len(predictions) == 30
    rows = Prepared.open(done.project / "data/training").split("test").rows
    assert predictions["image_id"].tolist() == rows["image_id"].tolist()


def test_every_artifact_is_proven_against_the_model(done: Done) -> None:
    for form in done.case.formats:
        record = ExportRecord.load(done.project / f"models/exported/dense-{form}/artifact.json")
        if form == "onnx_int8" and record.refusals:
            assert {refusal.budget for refusal in record.refusals} <= {"calibration_class_images"}
        else:
            assert record.refusals == []
            assert record.file is not None


def test_a_bundle_answers_from_original_bytes_as_evaluate_judged(done: Done, tmp_path: Path) -> None:
    bundle = seal(tmp_path / "bundle", assemble(done.project, "shapes", "dense-onnx", [], tmp_path / "bundle"))
    assert bundle.task == done.task
    with Dataset.of_folder(done.project / "data/shapes") as dataset:
        manifest = dataset.manifest
        splits = pd.Series(SIDES)
        images = TestImages(
            done.project / "data/shapes", bundle.dataset, manifest[splits == "test"].reset_index(drop=True), manifest[splits == "train"]
        )
        (tmp_path / "images").mkdir()
        for index in range(170, 173):
            (tmp_path / "images" / str(manifest["image_id"][index])).write_bytes(dataset.image(index))
    evaluator = plugin("components.evaluation.metrics", "task", done.task)(done.case.classes)
    found = evaluator.score(statistics_of(tmp_path / "bundle", evaluator, images, "test"))[done.record.metric]
    assert found == pytest.approx(done.record.metrics[done.record.metric].value, abs=2e-3)
    loaded = Bundle.open(tmp_path / "bundle")
    rows = list(predict_files(loaded, [tmp_path / "images"]))
    assert len(table(rows).splitlines()) == 3
    fields = plugin("components.serving.postprocess", "task", done.task).fields
    assert list(rows[0].columns or {}) == list(fields)
    with (tmp_path / "out.csv").open("w") as file:
        assert write_csv(rows, file) == 0
    assert len(list(csv.DictReader((tmp_path / "out.csv").open()))) == 3
    assert [column.name for column in signature(done.task).outputs.inputs] == list(fields)


@pytest.mark.parametrize("name", plugin_names("components.tasks"))
def test_a_restored_prediction_has_the_size_of_its_original(name: str) -> None:
    postprocess: Postprocess = plugin("components.serving.postprocess", "task", name)
    assert postprocess is plugin("components.tasks", "task", name).postprocess
    outputs = {
        "logits": np.zeros((1, 3), np.float32),
        "mask": np.zeros((1, 8, 8), np.uint8),
        "boxes": np.array([[[0, 0, 8, 8]]], np.float32),
        "scores": np.full((1, 1, 2), 0.9, np.float32),
    }
    [prediction] = postprocess.predictions(outputs)
    restored = postprocess.restore(prediction, (30, 60), Preprocess(size_hw=(8, 8), channels=1, resize="stretch"))
    sizes = {"mask": lambda: restored.shape, "boxes_xyxy": lambda: tuple(restored.boxes_xyxy[0][[3, 2]])}
    for field, size in sizes.items():
        if field in postprocess.fields:
            assert size() == (30, 60)
