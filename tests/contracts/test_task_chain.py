"""Every task goes through the whole chain on a small set of real images: what is registered answers from original bytes as the model does."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from contextlib import chdir, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from components.__main__ import run_step
from components.datasets.composed import BACKGROUND, CLASSES, detection_images, segmentation_images
from components.datasets.dataset import Dataset
from components.datasets.formats.sklearn import digits
from components.datasets.manifest import DatasetInfo, read_manifest
from components.datasets.prepared import Prepared
from components.datasets.splits import write_splits
from components.datasets.writing import write_dataset
from components.dvc_repo import make_repository
from components.explanation.record import ExplanationRecord
from components.git import git
from components.protocols import Context, ImportedImage, Postprocess, plugin, plugin_names
from components.records import EvaluationRecord, ExportRecord, Preprocess
from components.registry.bundle import assemble, seal
from components.registry.packaging import signature
from components.registry.testset import TestImages, statistics_of
from components.serving.bundle import Bundle
from components.serving.predict import predict_files, table, write_csv
from components.stage_code import step_of
from flows.init import write_files
from flows.parameters import write_overrides
from flows.pipeline import Pipeline

NUM = 200
SIDES = [*["train"] * 140, *["val"] * 30, *["test"] * 30]


@dataclass(frozen=True)
class Case:
    classes: list[str]
    images: Callable[[], list[ImportedImage]]
    model_options: dict[str, Any]
    size: list[int]
    formats: list[str]


CASES = {
    "classification": Case(CLASSES, lambda: list(digits())[:NUM], {"width": 4}, [8, 12], ["onnx"]),
    "segmentation": Case(
        [BACKGROUND, *CLASSES],
        lambda: list(segmentation_images(NUM)),
        {"width": 4, "depth": 2},
        [40, 56],
        ["onnx", "onnx_int8", "torch_export"],
    ),
    "detection": Case(CLASSES, lambda: list(detection_images(NUM)), {}, [32, 64], ["onnx", "onnx_int8"]),
}
#: In place of what `darkroom init` writes into params.yaml: little of everything.
SMALL = {
    "data.name": "shapes",
    "task.channels": 1,
    "task.resize": "letterbox",
    "augment": {"balance": "sqrt", "policy": {"crop": 0.1, "rotate": 10.0, "brightness": 0.2}},
    "train.epochs": 2,
    "train.batch_size": 10,
    "train.lr": 0.005,
    "train.precision": "float32",
    "finetune": {"epochs": 1, "batch_size": 10, "precision": "float32"},
    "evaluate.num_resamples": 100,
    "explain.num_pictures": 2,
    "explain.num_images": 3,
    "compress.variants": ["dense"],
    "export.num_calibration": 128,
}


@dataclass(frozen=True)
class Done:
    task: str
    case: Case
    project: Path
    record: EvaluationRecord


@pytest.fixture(scope="module", params=plugin_names("components.tasks"))
def done(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A project as `darkroom init` makes it, in which the commands of its dvc.yaml have run, augment to export."""
    name = request.param
    case, project = CASES[name], tmp_path_factory.mktemp(name)
    git(project, "init", "--quiet")
    make_repository(project)
    write_files(project, name)
    sizes = {"task.image_size": case.size, "train.model_options": case.model_options, "export.formats": case.formats}
    write_overrides(project / "params.yaml", {**SMALL, **sizes})
    info = DatasetInfo(name="shapes", version="1.0.0", task=name, classes=case.classes)
    write_dataset(case.images(), info, project / "data", "replace")
    write_splits(read_manifest(project / "data/shapes")["image_id"], pd.Series(SIDES, dtype=object), project / "data/splits.parquet")
    with closing(Pipeline(project)) as pipeline, chdir(project):
        steps = [step_of(str(stage.cmd)) or [] for stage in pipeline.stages()]
        assert [step[0] for step in steps[:2]] == ["validate", "split"]
        records = {step[0]: run_step(step[0], step[1:], Context()) for step in steps[2:]}
    return Done(name, case, project, records["evaluate"])


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
