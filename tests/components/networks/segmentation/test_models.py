from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from components.errors import ConfigError
from components.exporters.onnx import plugin as onnx
from components.networks.segmentation.models import NAMES, build
from components.tasks.segmentation import DeployGraph


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_network_gives_logits_of_the_images_size(name: str, channels: int) -> None:
    model = build(name, 5, channels, (64, 96), {})
    assert model.eval()(torch.zeros(1, channels, 64, 96)).shape == (1, 5, 64, 96)


@pytest.mark.parametrize("name", ["lraspp_mobilenet_v3_large", "unet"])
def test_networks_can_be_exported_before_they_are_trained(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    graph = DeployGraph(build(name, 3, 3, (64, 64), {})).eval()
    onnx.export(graph, torch.zeros((2, 64, 64, 3), dtype=torch.uint8), None, {}, tmp_path / "model.onnx")
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    with torch.no_grad():
        expected = graph(torch.from_numpy(images)).numpy()
    found = onnx.runner(tmp_path / "model.onnx", 1)(images)["mask"]
    assert found.dtype == np.uint8
    assert (found != expected).mean() < 0.001


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
