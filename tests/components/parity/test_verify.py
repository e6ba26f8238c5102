"""An artifact that does not do what its model does is seen, whatever was changed in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from onnx import numpy_helper

from components.datasets.prepared import Prepared
from components.exporters.onnx import plugin as exporter
from components.parity.reference import Reference, eager_reference
from components.parity.verify import Budgets, _compare, verify_artifact
from components.protocols import plugin
from components.records import ModelSpec, Refusal
from components.serving.detections import Detections, no_detections
from components.serving.metadata import KEY, pack
from components.training.model_files import load_model

FLOAT = Budgets(max_accuracy_drop=0.02, max_class_drop=0.1, max_difference=1e-3)
ROUNDED = Budgets(max_accuracy_drop=0.02, max_class_drop=0.1, max_difference=None)


@pytest.fixture(scope="module")
def reference(trained_digits: Path, prepared_digits: Path) -> Reference:
    network, spec = load_model(trained_digits)
    return eager_reference(network, spec, Prepared.open(prepared_digits))


@pytest.fixture(scope="module")
def good(trained_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    network, spec = load_model(trained_digits)
    graph = plugin("components.tasks", "task", spec.task).deploy_graph(network, spec)
    path = tmp_path_factory.mktemp("good") / "model.onnx"
    exporter.export(graph, torch.zeros((2, 16, 16, 1), dtype=torch.uint8), None, pack(spec), path)
    return path


def changed(good: Path, folder: Path, change: Callable[[onnx.ModelProto], None]) -> Path:
    model = onnx.load(good)
    change(model)
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"


def with_spec(good: Path, folder: Path, **values: Any) -> Path:
    def change(model: onnx.ModelProto) -> None:
        text = next(entry for entry in model.metadata_props if entry.key == KEY)
        inside = json.loads(text.value)
        inside["spec"] |= values
        text.value = json.dumps(inside)

    return changed(good, folder, change)


def budgets(refusals: list[Refusal]) -> list[str]:
    return [refusal.budget for refusal in refusals]


def test_a_true_artifact_is_accepted(good: Path, reference: Reference) -> None:
    parity, refusals = verify_artifact(good, "onnx", reference, FLOAT)
    assert refusals == []
    assert parity is not None
    assert parity.num_images == 397
    assert parity.max_difference < 1e-5
    assert parity.mean_difference <= parity.max_difference
    assert parity.agreement == 1.0
    assert parity.artifact["accuracy"] == parity.eager["accuracy"] > 0.9


def test_swapped_normalisation_in_the_graph_is_refused(good: Path, reference: Reference, tmp_path: Path) -> None:
    """The mean stands where the standard deviation belongs; the metadata still says what is right."""

    def swap(model: onnx.ModelProto) -> None:
        constants = {tensor.name: tensor for tensor in model.graph.initializer}
        sub, div = (next(node for node in reversed(model.graph.node[:6]) if node.op_type == kind) for kind in ("Sub", "Div"))
        mean, std = constants[sub.input[1]], constants[div.input[1]]
        values = numpy_helper.to_array(mean), numpy_helper.to_array(std)
        assert values[0].ravel() == pytest.approx(reference.spec.mean)
        mean.CopyFrom(numpy_helper.from_array(values[1], mean.name))
        std.CopyFrom(numpy_helper.from_array(values[0], std.name))

    parity, refusals = verify_artifact(changed(good, tmp_path, swap), "onnx", reference, FLOAT)
    assert "max_difference" in budgets(refusals)
    assert parity is not None
    assert parity.max_difference > 0.01


def test_swapped_normalisation_in_the_metadata_is_refused(good: Path, reference: Reference, tmp_path: Path) -> None:
    path = with_spec(good, tmp_path, mean=reference.spec.std, std=reference.spec.mean)
    _, refusals = verify_artifact(path, "onnx", reference, FLOAT)
    assert budgets(refusals) == ["metadata", "metadata"]
    assert "mean" in refusals[0].text
    assert "std" in refusals[1].text


def test_shuffled_class_names_are_refused_with_the_accuracy_they_cost(good: Path, reference: Reference, tmp_path: Path) -> None:
    path = with_spec(good, tmp_path, classes=reference.spec.classes[::-1])
    parity, refusals = verify_artifact(path, "onnx", reference, ROUNDED)
    assert {"metadata", "max_accuracy_drop", "max_class_drop"} <= set(budgets(refusals))
    assert parity is not None
    assert parity.agreement < 0.05
    assert parity.artifact["accuracy"] < 0.05
    assert parity.accuracy_drop == pytest.approx(parity.eager["accuracy"] - parity.artifact["accuracy"])


def test_other_class_names_are_refused(good: Path, reference: Reference, tmp_path: Path) -> None:
    parity, refusals = verify_artifact(with_spec(good, tmp_path, classes=[*"abcdefghij"]), "onnx", reference, FLOAT)
    assert parity is None
    assert budgets(refusals) == ["metadata"]


def test_other_preprocessing_is_refused(good: Path, reference: Reference, tmp_path: Path) -> None:
    path = with_spec(good, tmp_path, preprocess={"size_hw": [16, 16], "channels": 1, "resize": "crop"})
    assert budgets(verify_artifact(path, "onnx", reference, FLOAT)[1]) == ["metadata"]


def test_missing_metadata_is_refused(good: Path, reference: Reference, tmp_path: Path) -> None:
    def strip(model: onnx.ModelProto) -> None:
        del model.metadata_props[:]

    parity, refusals = verify_artifact(changed(good, tmp_path, strip), "onnx", reference, FLOAT)
    assert parity is None
    assert budgets(refusals) == ["runs"]
    assert KEY in refusals[0].text


def scale_head(model: onnx.ModelProto, factor: float) -> None:
    weight = next(tensor for tensor in model.graph.initializer if list(tensor.dims)[:1] == [10] and len(tensor.dims) == 2)
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(factor), weight.name))


def test_destroyed_weights_break_the_accuracy_budget(good: Path, reference: Reference, tmp_path: Path) -> None:
    parity, refusals = verify_artifact(changed(good, tmp_path, lambda model: scale_head(model, -1)), "onnx", reference, ROUNDED)
    assert budgets(refusals) == ["max_accuracy_drop", "max_class_drop"]
    assert parity is not None
    assert refusals[0].found == parity.accuracy_drop > 0.9
    assert refusals[0].limit == 0.02


def test_weights_that_are_no_numbers_are_refused(good: Path, reference: Reference, tmp_path: Path) -> None:
    parity, refusals = verify_artifact(changed(good, tmp_path, lambda model: scale_head(model, float("nan"))), "onnx", reference, ROUNDED)
    assert parity is None
    assert budgets(refusals) == ["runs"]


def test_a_truncated_file_is_refused(good: Path, reference: Reference, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(good.read_bytes()[:5000])
    assert budgets(verify_artifact(path, "onnx", reference, FLOAT)[1]) == ["runs"]


def test_an_artifact_of_another_size_is_refused(good: Path, reference: Reference) -> None:
    larger = Reference(reference.spec, reference.images.repeat(2, axis=1), reference.rows, reference.predictions)
    parity, refusals = verify_artifact(good, "onnx", larger, FLOAT)
    assert parity is None
    assert "(64, 32, 16, 1)" in refusals[0].text


@pytest.mark.parametrize(("lost", "refused"), [(1, []), (2, ["max_class_drop"])], ids=["one image is no evidence", "two are"])
def test_a_tiny_class_needs_two_lost_images(good: Path, reference: Reference, lost: int, refused: list[str]) -> None:
    """The eager model is said to be right on images of a three-image class where the artifact says something else."""
    labels = reference.rows["label"].to_numpy()
    own = np.array(reference.predictions)
    right = np.flatnonzero(own.argmax(1) == labels.astype(int))
    kept = np.concatenate([right[labels[right] == "3"][: 3 - lost], right[labels[right] == "5"][:lost], right[labels[right] == "7"][:30]])
    rows = reference.rows.iloc[kept].reset_index(drop=True)
    rows.loc[:2, "label"] = "3"
    eager = np.eye(10, dtype=np.float32)[rows["label"].to_numpy().astype(int)]
    tiny = Reference(reference.spec, reference.images[kept], rows, list(eager))
    parity, refusals = verify_artifact(good, "onnx", tiny, Budgets(max_accuracy_drop=0.5, max_class_drop=0.1, max_difference=None))
    assert budgets(refusals) == refused
    assert parity is not None
    assert (parity.worst_class, parity.worst_class_drop) == ("3", pytest.approx(lost / 3))


def test_unknown_task_in_metadata_is_refused(good: Path, reference: Reference, tmp_path: Path) -> None:
    assert "metadata" in budgets(verify_artifact(with_spec(good, tmp_path, task="detection"), "onnx", reference, FLOAT)[1])


def test_spec_comparison_names_the_field(good: Path, reference: Reference) -> None:
    other: ModelSpec = reference.spec.model_copy(update={"training_digest": "2" * 64})
    _, refusals = verify_artifact(good, "onnx", Reference(other, reference.images, reference.rows, reference.predictions), FLOAT)
    assert budgets(refusals) == ["metadata"]
    assert "training_digest" in refusals[0].text


def test_parity_of_a_detector_tells_how_its_boxes_match(reference: Reference) -> None:
    box = np.array([[0, 0, 10, 10]], np.float32)
    sure = Detections(box, np.array([0]), np.array([0.9], np.float32))
    less_sure = Detections(box * np.array([1, 1, 1, 0.8], np.float32), np.array([0]), np.array([0.7], np.float32))
    spec = reference.spec.model_copy(update={"task": "detection"})
    rows = pd.DataFrame({"image_id": ["a", "b", "c"], "boxes_xyxy": [[[0, 0, 10, 10]]] * 3, "box_labels": [[spec.classes[0]]] * 3})
    eager = Reference(spec, np.zeros((3, 16, 16, 1), np.uint8), rows, [sure, sure, no_detections()])
    parity, _, _ = _compare(spec, [less_sure, no_detections(), no_detections()], eager)
    assert parity.likeness == pytest.approx({"matched_boxes": 0.5, "matched_iou": 0.8, "matched_score_difference": 0.2}, abs=1e-6)
    assert parity.agreement == pytest.approx(2 / 3)
    assert parity.accuracy_drop == parity.eager["ap"] - parity.artifact["ap"] > 0.1
