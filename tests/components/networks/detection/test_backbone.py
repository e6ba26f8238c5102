from __future__ import annotations

import pytest
import torch
import torchvision

from components.errors import ConfigError
from components.networks.detection.backbone import TorchvisionBackbone
from components.networks.detection.models import build


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_large"])
def test_features_at_three_strides_under_torchvisions_names(name: str) -> None:
    backbone = TorchvisionBackbone(name, 3, (8, 16, 32)).eval()
    with torch.no_grad():
        levels = backbone(torch.zeros(1, 3, 64, 96))
    assert [tuple(level.shape[1:]) for level in levels] == [(8, 8, 12), (16, 4, 6), (32, 2, 3)]
    theirs = torchvision.models.get_model(name, weights=None).state_dict()
    own = {key.removeprefix("body."): value.shape for key, value in backbone.state_dict().items() if key.startswith("body.")}
    assert own.items() <= {key: value.shape for key, value in theirs.items()}.items()
    assert len(own) > 0.9 * len(theirs)


@pytest.mark.parametrize("name", ["squeezenet1_1", "swin_t", "resnet17"])
def test_a_network_without_such_features_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"model_options\.backbone: found '{name}'; expected csp, or .* for example resnet18"):
        build("yolo_nano", 3, 1, (64, 64), {"backbone": name})


def test_a_yolo_on_it_learns() -> None:
    detector = build("yolo_nano", 3, 1, (64, 64), {"backbone": "resnet18"})
    raw = detector(torch.rand(2, 1, 64, 64))
    raw.logits.sum().backward()
    first = detector.get_parameter("backbone.body.conv1.weight")
    assert first.shape[1] == 1
    assert first.grad is not None and first.grad.abs().sum() > 0
