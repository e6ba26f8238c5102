"""What every detector has to keep, on the smallest of each family."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import nn

from components.compression.pruned import pruned_copy
from components.errors import ConfigError
from components.exporters.onnx import plugin as onnx
from components.networks.detection.detector import Detector
from components.networks.detection.models import FAMILIES, build
from components.networks.detection.objects import Objects, padded
from components.networks.normalisation import Normalised
from components.networks.structure import apply_structure, structure_of
from components.tasks.detection import DeployGraph

SIDE, NUM_CLASSES, CPU = 64, 3, torch.device("cpu")
SIZE = (SIDE, SIDE)
SMALLEST = ["yolo_nano", "ssdlite320_mobilenet_v3_large", "retinanet_resnet18_fpn", "fcos_resnet18_fpn", "fasterrcnn_resnet18_fpn"]
OBJECTS = padded([torch.tensor([[5.0, 5, 40, 40], [20, 20, 60, 64]]), torch.empty(0, 4)], [torch.tensor([0, 2]), torch.empty(0).long()], CPU)
NOTHING = Objects(torch.empty(2, 0, 4), torch.empty(2, 0).long(), torch.empty(2, 0, dtype=torch.bool))


@pytest.fixture(scope="module", params=SMALLEST)
def detector(request: pytest.FixtureRequest) -> Iterator[Detector]:
    torch.manual_seed(0)
    yield build(request.param, NUM_CLASSES, 1, SIZE, {})


def _images(seed: int = 0, side: int = SIDE) -> torch.Tensor:
    return torch.rand(2, 1, side, side, generator=torch.Generator().manual_seed(seed))


def test_every_family_is_tried_here() -> None:
    assert {family for family in FAMILIES if set(family.variants) & set(SMALLEST)} == set(FAMILIES)


@pytest.mark.parametrize("objects", [OBJECTS, NOTHING], ids=["objects", "nothing"])
def test_a_batch_gives_a_loss_that_can_be_learnt_from(detector: Detector, objects: Objects) -> None:
    detector.train().zero_grad()
    raw = detector(_images())
    assert detector.loss(raw, objects, SIZE, {"label": 0.0, "box": 0.0}) == 0
    loss = detector.loss(raw, objects, SIZE, {})
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.shape == ()
    assert loss.isfinite()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in detector.parameters())


@pytest.mark.parametrize("side", [64, 96])
def test_boxes_and_scores_are_said_of_each_place_at_any_size(detector: Detector, side: int) -> None:
    detector.eval()
    size = (side, side)
    with torch.no_grad():
        boxes, scores = detector.decode(detector(_images(side=side)), detector.anchors(size), size)
    assert boxes.shape == (2, boxes.shape[1], 4)
    assert scores.shape == (2, boxes.shape[1], NUM_CLASSES)
    assert boxes.dtype == scores.dtype == torch.float32
    assert ((scores >= 0) & (scores <= 1)).all()
    assert (boxes[..., 2:] >= boxes[..., :2]).all()


def test_names_lead_to_heads_and_feature_maps(detector: Detector) -> None:
    for name in detector.head_names():
        rows = len(detector.get_parameter(name))
        assert rows % NUM_CLASSES == 0 or rows % (NUM_CLASSES + 1) == 0
    shapes: dict[nn.Module, torch.Size] = {}
    layers = [detector.get_submodule(name) for name in detector.feature_layers()]
    hooks = [layer.register_forward_hook(lambda layer, _given, made: shapes.update({layer: made.shape})) for layer in layers]
    with torch.no_grad():
        detector.eval()(_images())
    for hook in hooks:
        hook.remove()
    sides = [height for _, _, height, _ in (shapes[layer] for layer in layers)]
    assert sides == sorted(sides, reverse=True)


@pytest.mark.parametrize("name", ["yolo_nano", "ssdlite320_mobilenet_v3_large", "fcos_resnet18_fpn"])  # CSP, depthwise, pyramid with groups
def test_channels_can_be_taken_from_it_and_it_is_rebuilt_without_the_pruner(name: str) -> None:
    torch.manual_seed(0)
    dense, rebuilt = (Normalised(build(name, NUM_CLASSES, 1, SIZE, {}), [0.4], [0.3]) for _ in range(2))
    pruned = pruned_copy(dense, torch.zeros(2, 1, SIDE, SIDE), 0.3, {})
    assert _size(pruned) < 0.8 * _size(dense)
    apply_structure(rebuilt, structure_of(pruned))
    rebuilt.load_state_dict(pruned.state_dict())
    ours, theirs = (cast(Detector, model.eval().network) for model in (pruned, rebuilt))
    with torch.no_grad():
        for one, other in zip(*(each.decode(each(_images()), each.anchors(SIZE), SIZE) for each in (ours, theirs)), strict=True):
            torch.testing.assert_close(one, other)
    rebuilt.train()
    theirs.loss(rebuilt(_images()), OBJECTS, SIZE, {}).backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in rebuilt.parameters())


def _size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


class Pooled(nn.Module):
    """Features of the shapes that a backbone gives, made of pooled pixels: a backbone is convolutions alone, and most of an export's time."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        with torch.no_grad():
            shapes = {name: level.shape for name, level in backbone(_images()).items()}
        self.sizes = {name: tuple(shape[2:]) for name, shape in shapes.items()}
        self.mixes = nn.ModuleDict({name: nn.Conv2d(1, shape[1], 1) for name, shape in shapes.items()})

    def forward(self, images_NCHW: torch.Tensor) -> dict[str, torch.Tensor]:
        return {name: mix(nn.functional.adaptive_avg_pool2d(images_NCHW, self.sizes[name])) for name, mix in self.mixes.items()}


@pytest.mark.parametrize("name", ["ssdlite320_mobilenet_v3_large", "fcos_resnet18_fpn", "fasterrcnn_resnet18_fpn"])
def test_onnx_says_what_torch_says(name: str, tmp_path: Path) -> None:  # RetinaNet reads its boxes as SSD does
    torch.manual_seed(0)
    detector: Any = build(name, NUM_CLASSES, 1, SIZE, {}).eval()
    for head in detector.head_names():
        nn.init.normal_(detector.get_parameter(head), std=0.1)
    detector.model.backbone = Pooled(detector.model.backbone)
    graph = DeployGraph(Normalised(detector, [0.4], [0.3]), SIZE).eval()
    onnx.export(graph, torch.zeros((2, SIDE, SIDE, 1), dtype=torch.uint8), None, {}, tmp_path / "model.onnx")
    images = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 1), dtype=np.uint8)  # another number than at the export
    with torch.no_grad():
        boxes, scores = graph(torch.from_numpy(images))
    found = onnx.runner(tmp_path / "model.onnx", 1)(images)
    np.testing.assert_allclose(found["boxes"], boxes.numpy(), atol=0.01)
    np.testing.assert_allclose(found["scores"], scores.numpy(), atol=1e-3)
    assert scores.max() > 0.1


@pytest.mark.parametrize(
    ("name", "side", "options", "message"),
    [
        ("yolo_tiny", 64, {}, "unknown model 'yolo_tiny'"),
        ("yolo_nano", 70, {}, "found 70; yolo_nano takes multiples of 32 pixels, for example 64"),
        ("yolo_nano", 64, {"width": 3}, "unknown option of model yolo_nano 'width'"),
        ("ssd300_vgg16", 64, {}, "found 64; ssd300_vgg16 takes 272 pixels or more"),
        ("retinanet_resnet18_fpn", 64, {"backbone": "resnet50"}, "unknown option of model retinanet_resnet18_fpn 'backbone'"),
        ("fcos_resnet18_fpn", 64, {"center_sampling_radius": "far"}, "model_options.center_sampling_radius: found 'far'; expected a number"),
        ("ssdlite320_mobilenet_v3_large", 64, {"anchor_scale": 0}, "model_options.anchor_scale: found 0; expected a number above 0"),
    ],
)
def test_what_cannot_be_built_is_said(name: str, side: int, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message), torch.device("meta"):  # a VGG's random weights take seconds
        build(name, 5, 1, (side, side), options)
