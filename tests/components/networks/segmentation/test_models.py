from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models.mobilenetv3 import InvertedResidual
from torchvision.models.resnet import Bottleneck

from components.compression.pruned import check_convolutional, pruned_copy
from components.errors import ConfigError
from components.networks.segmentation.models import NAMES, build, head_names
from components.networks.structure import apply_structure, structure_of
from components.protocols import Exporter, plugin
from components.records import Preprocess
from components.tasks.segmentation import DeployGraph
from components.training.multiply_adds import multiply_adds


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_network_gives_logits_of_the_images_size(name: str, channels: int) -> None:
    model = build(name, 5, channels, (64, 96), {})
    assert model.eval()(torch.zeros(1, channels, 64, 96)).shape == (1, 5, 64, 96)


def shallow(name: str, num_classes: int = 3, side: int = 32) -> nn.Module:
    """A network without the blocks that repeat another, whose classes share the pixels of noise."""
    torch.manual_seed(0)
    model = build(name, num_classes, 3, (side, side), {})
    for path, block in list(model.named_modules()):
        if (isinstance(block, Bottleneck) and block.downsample is None) or (isinstance(block, InvertedResidual) and block.use_res_connect):
            model.set_submodule(path, nn.Identity())
    images = noise(4, side).permute(0, 3, 1, 2) / 255
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # statistics as they are, not as they become
    with torch.no_grad():
        model.train()(images)
        logits = model.eval()(images)
        model.state_dict()[head_names(model)[-1]].sub_(logits.mean(dim=(0, 2, 3)))
    return model


def noise(num: int, side: int = 32) -> torch.Tensor:
    coarse = np.random.default_rng(0).integers(0, 256, (num, 4, 4, 3), dtype=np.uint8)
    return torch.from_numpy(coarse.repeat(side // 4, 1).repeat(side // 4, 2))


@pytest.mark.parametrize(
    ("name", "formats"),
    [
        ("lraspp_mobilenet_v3_large", ["onnx", "onnx_int8"]),
        ("fcn_resnet50", ["torch_export"]),
        ("deeplabv3_mobilenet_v3_large", ["torch_export"]),
    ],
)
def test_an_artifact_names_the_pixels_as_the_network_does(name: str, formats: list[str], tmp_path: Path) -> None:
    graph, images = DeployGraph(shallow(name)).eval(), noise(16)
    with torch.no_grad():
        expected = graph(images).numpy()
    assert len(np.unique(expected)) > 1
    for form in formats:
        exporter: Exporter = plugin("components.exporters", "format", form)
        exporter.export(graph, images[:2], images.numpy(), {}, tmp_path / exporter.file_name)
        found = exporter.runner(tmp_path / exporter.file_name, 1)(images.numpy())["mask"]
        assert found.dtype == np.uint8
        assert (found != expected).mean() < (0.1 if exporter.needs_calibration else 0.001)


@pytest.mark.parametrize("name", NAMES)
def test_rows_for_each_class_are_named(name: str) -> None:
    state = build(name, 7, 3, (32, 32), {}).state_dict()
    named = head_names(build(name, 7, 3, (32, 32), {}))
    assert named
    assert all(len(state[key]) == 7 for key in named)
    assert not any(len(state[key]) == 7 for key in set(state) - set(named) if state[key].dim())


@pytest.mark.parametrize("name", NAMES)
def test_every_network_can_be_pruned_and_rebuilt(name: str) -> None:
    dense, example = shallow(name), torch.zeros(2, 3, 32, 32)
    check_convolutional(dense, name)
    pruned = pruned_copy(dense, example, 0.5, {})
    preprocess = Preprocess(size_hw=(32, 32), channels=3, resize="stretch")
    assert multiply_adds(pruned, preprocess) < 0.5 * multiply_adds(dense, preprocess)
    rebuilt = shallow(name)
    apply_structure(rebuilt, structure_of(pruned))
    rebuilt.load_state_dict(pruned.state_dict())
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(rebuilt.eval()(images), pruned(images))
    assert pruned(images).shape == (2, 3, 32, 32)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("unet2", {}, "unknown model 'unet2'"),
        ("unet", {"breadth": 3}, "unknown option of model unet 'breadth'"),
        ("unet", {"depth": 7}, "halves the side 7 times: 64 px are too few"),
        ("fcn_resnet50", {"depth": 2}, "it has none"),
    ],
)
def test_what_cannot_be_built_is_said(name: str, options: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(name, 5, 3, (64, 64), options)
