from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from components.errors import ConfigError, DataError, InputError
from components.protocols import plugin
from components.records import ModelSpec
from components.training.initial import initial_model
from components.training.model_files import load_model, save_model

Spec = Callable[..., ModelSpec]
Publish = Callable[[str, str], dict[str, torch.Tensor]]
SEGMENTATION = plugin("components.tasks", "task", "segmentation")


def _segmenter(make_spec: Spec, classes: list[str]) -> ModelSpec:
    preprocess = make_spec().preprocess.model_copy(update={"channels": 3, "size_hw": (32, 32)})
    values = {"model": "lraspp_mobilenet_v3_large", "model_options": {}, "mean": [0.5] * 3, "std": [0.2] * 3}
    return make_spec(task="segmentation", classes=classes, preprocess=preprocess, **values)


@pytest.fixture
def start(tmp_path: Path, problem: Any, make_spec: Spec) -> Path:
    """A registered model of classes in another order, one of them gone."""
    folder = tmp_path / "start"
    spec = make_spec(classes=["south-east", "middle", "north-west"], mean=[0.25])
    torch.manual_seed(5)
    save_model(folder, problem.task.build_model(spec), spec)
    (folder / "start.json").write_text(json.dumps({"source": "models:/quarters/3"}))
    return folder


def test_random_weights_are_a_function_of_the_seed(problem: Any) -> None:
    a, b, c = (problem.model(seed).state_dict()["network.head.weight"] for seed in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_a_registered_model_gives_its_weights_its_mean_and_the_rows_of_classes_that_stayed(problem: Any, make_spec: Spec, start: Path) -> None:
    model, spec, loaded = initial_model(problem.task, make_spec(), "registered", start, 0)
    theirs, state = load_model(start)[0].state_dict(), model.state_dict()
    assert torch.equal(state["network.stem.0.weight"], theirs["network.stem.0.weight"])
    assert torch.equal(state["network.head.weight"][0], theirs["network.head.weight"][2])  # north-west
    assert torch.equal(state["network.head.weight"][3], theirs["network.head.weight"][0])  # south-east
    assert spec.mean == [0.25]
    assert loaded == f"registered: {len(state)} of {len(state)} tensors loaded; of its last layer the rows of 2 of 4 classes, by name"


def test_no_registered_model_says_what_to_do(problem: Any, make_spec: Spec, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"start\.json not found"):
        initial_model(problem.task, make_spec(), "registered", tmp_path, 0)
    (tmp_path / "start.json").write_text('{"source": null}')
    with pytest.raises(ConfigError, match=r"set train\.init: random"):
        initial_model(problem.task, make_spec(), "registered", tmp_path, 0)


def test_a_registered_model_of_another_network_is_refused(problem: Any, make_spec: Spec, start: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds resnet9 \{'width': 4\}.*asks for resnet9 \{'width': 8\}"):
        initial_model(problem.task, make_spec(model_options={"width": 8}), "registered", start, 0)


def test_a_file_is_loaded_as_far_as_it_fits_and_the_rest_is_told(problem: Any, make_spec: Spec, tmp_path: Path) -> None:
    state = {name.removeprefix("network."): tensor.clone() for name, tensor in problem.model(7).state_dict().items()}
    stem = state["stem.0.weight"]
    state |= {"head.weight": torch.zeros(9, 32), "aux.weight": torch.zeros(1), "stem.0.weight": torch.stack([stem[:, 0] / 3] * 3, dim=1)}
    save_file(state, tmp_path / "weights.safetensors")
    model, _, loaded = initial_model(problem.task, make_spec(), f"file:{tmp_path / 'weights.safetensors'}", tmp_path, 0)
    assert torch.allclose(model.state_dict()["network.stem.0.weight"], stem, atol=1e-6)  # colour summed to one channel
    num = len(model.state_dict())
    assert (
        f"{num - 1} of {num} tensors loaded; not loaded, so random: network.head.weight (9, 32) for (4, 32); not used: network.aux.weight" in loaded
    )


@pytest.mark.parametrize(
    ("init", "text"),
    [("file:/no/such", "not found"), ("pretrained", "expected random"), ("torchvision:IMAGENET1K_V1", "no weights for resnet9 as a whole")],
)
def test_what_there_is_not(problem: Any, make_spec: Spec, tmp_path: Path, init: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        initial_model(problem.task, make_spec(), init, tmp_path, 0)


def test_weights_of_another_network_are_refused(problem: Any, make_spec: Spec, tmp_path: Path) -> None:
    save_file({"layer.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(ConfigError, match=r"nothing of file:.* fits the model"):
        initial_model(problem.task, make_spec(), f"file:{tmp_path / 'other.safetensors'}", tmp_path, 0)


def test_torchvisions_rows_go_to_the_classes_of_the_same_name(make_spec: Spec, tmp_path: Path, published: Publish) -> None:
    state = published("lraspp_mobilenet_v3_large", "COCO_WITH_VOC_LABELS_V1")
    init = "torchvision:COCO_WITH_VOC_LABELS_V1"
    model, spec, loaded = initial_model(SEGMENTATION, _segmenter(make_spec, ["wall", "person", "cat"]), init, tmp_path, 0)
    print(loaded)
    own, row = model.state_dict(), "classifier.low_classifier.weight"
    assert torch.equal(own[f"network.model.{row}"][1:], state[row][[15, 8]])
    assert spec.mean == [0.485, 0.456, 0.406]
    assert loaded == (f"{init}: {len(own)} of {len(own)} tensors loaded; of its last layer the rows of 2 of 3 classes, by name")
    _, _, loaded = initial_model(SEGMENTATION, _segmenter(make_spec, ["wall", "door"]), init, tmp_path, 0)
    assert "not loaded, so random: network.model.classifier.low_classifier.weight (21, 40, 1, 1) for (2, 40, 1, 1)" in loaded


def test_a_backbone_starts_from_the_weights_of_a_classifier(make_spec: Spec, tmp_path: Path, published: Publish) -> None:
    state = published("mobilenet_v3_large", "IMAGENET1K_V1")
    spec = _segmenter(make_spec, ["wall", "door"])
    for name in ("IMAGENET1K_V1", "MobileNet_V3_Large_Weights.IMAGENET1K_V1"):
        model, _, loaded = initial_model(SEGMENTATION, spec, f"torchvision:{name}", tmp_path, 0)
        own = model.state_dict()
        backbone = {key.removeprefix("network.model.backbone.") for key in own if key.startswith("network.model.backbone.")}
        assert all(torch.equal(own[f"network.model.backbone.{key}"], state[f"features.{key}"]) for key in backbone)
        assert f"{len(backbone)} of {len(own)} tensors loaded; not loaded, so random: network.model.classifier." in loaded
    folder = tmp_path / "classifier"
    task = plugin("components.tasks", "task", "classification")
    classifier = spec.model_copy(update={"task": "classification", "model": "mobilenet_v3_large", "mean": [0.1] * 3})
    save_model(folder, task.build_model(classifier), classifier)
    _, spec, loaded = initial_model(SEGMENTATION, spec, f"file:{folder}/weights.safetensors", tmp_path, 0)
    assert spec.mean == [0.1] * 3
    assert f"{len(backbone)} of {len(own)} tensors loaded" in loaded


def test_weights_of_torchvisions_own_segmentation_network_fit_the_wrapped_one(make_spec: Spec, tmp_path: Path) -> None:
    theirs = torchvision.models.get_model("lraspp_mobilenet_v3_large", weights=None, weights_backbone=None, num_classes=21)
    save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    spec = _segmenter(make_spec, ["wall", "door"])
    model, _, loaded = initial_model(SEGMENTATION, spec, f"file:{tmp_path / 'theirs.safetensors'}", tmp_path, 0)
    name = "backbone.0.0.weight"
    assert torch.equal(model.state_dict()[f"network.model.{name}"], theirs.state_dict()[name])
    assert "not loaded, so random: network.model.classifier.low_classifier.weight (21, 40, 1, 1) for" in loaded


def test_a_pruned_classifier_is_no_backbone(problem: Any, make_spec: Spec, tmp_path: Path) -> None:
    spec = make_spec(structure={})
    save_model(tmp_path / "pruned", problem.model(), spec)
    with pytest.raises(InputError, match="is a pruned model of another network; start from one that is not pruned"):
        initial_model(SEGMENTATION, _segmenter(make_spec, ["a", "b"]), f"file:{tmp_path}/pruned/weights.safetensors", tmp_path, 0)


def _detector(make_spec: Spec, model: str, **options: str) -> ModelSpec:
    return _segmenter(make_spec, ["dog", "person", "ghost"]).model_copy(update={"task": "detection", "model": model, "model_options": options})


def test_a_detector_starts_from_coco_with_the_rows_of_its_classes_behind_the_background(make_spec: Spec, tmp_path: Path, published: Publish) -> None:
    state, row = published("fasterrcnn_mobilenet_v3_large_fpn", "COCO_V1"), "roi_heads.box_predictor.cls_score.weight"
    spec = _detector(make_spec, "fasterrcnn_mobilenet_v3_large_fpn")
    model, spec, loaded = initial_model(plugin("components.tasks", "task", "detection"), spec, "torchvision:COCO_V1", tmp_path, 0)
    assert torch.equal(model.state_dict()[f"network.model.{row}"][:3], state[row][[0, 18, 1]])  # background, dog, person
    assert spec.mean == [0.485, 0.456, 0.406]
    assert "of its last layer the rows of 2 of 3 classes, by name; not loaded, so random: network.model.roi_heads.box_predictor.bbox_pred" in loaded


def test_our_own_detector_starts_from_a_classifiers_weights(make_spec: Spec, tmp_path: Path, published: Publish) -> None:
    state = published("resnet18", "IMAGENET1K_V1")
    spec = _detector(make_spec, "yolo_nano", backbone="resnet18")
    task = plugin("components.tasks", "task", "detection")
    model, _, loaded = initial_model(task, spec, "torchvision:ResNet18_Weights.IMAGENET1K_V1", tmp_path, 0)
    own = model.state_dict()
    assert torch.equal(own["network.backbone.body.layer4.1.conv2.weight"], state["layer4.1.conv2.weight"])
    assert f"120 of {len(own)} tensors loaded; not loaded, so random: network.backbone.fit." in loaded
