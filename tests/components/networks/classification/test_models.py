from __future__ import annotations

import pytest
import torch

from components.errors import ConfigError
from components.networks.classification.models import build, head_names, model_names
from components.networks.first_layer import first_convolution


@pytest.mark.parametrize(
    ("name", "size", "options"),
    [
        ("resnet9", 8, {"width": 4}),
        ("resnet18", 32, {}),
        ("mobilenet_v3_small", 32, {}),
        ("squeezenet1_1", 32, {}),
        ("densenet121", 32, {}),
        ("googlenet", 32, {}),
        ("vit_b_16", 32, {}),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_head_and_first_layer_fit_classes_and_channels(name: str, size: int, options: dict[str, object], channels: int) -> None:
    model = build(name, 7, channels, (size, size), options)
    assert model(torch.rand(2, channels, size, size)).shape == (2, 7)  # in training mode too: no auxiliary outputs
    state = model.state_dict()
    assert state[first_convolution(model)].shape[1] == channels
    assert all(state[parameter].shape[0] == 7 for parameter in head_names(model))


def test_every_classification_model_of_torchvision_is_there_and_ours() -> None:
    names = model_names()
    assert {"resnet9", "resnet50", "convnext_tiny", "swin_t", "inception_v3", "vgg11"} <= set(names)
    assert "fcn_resnet50" not in names


def test_an_unknown_model_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown model 'resnet19'.*Did you mean 'resnet.*densenet121, "):
        build("resnet19", 2, 3, (32, 32), {})


@pytest.mark.parametrize(("name", "options"), [("resnet9", {"depth": 3}), ("resnet18", {"depth": 3})])
def test_an_unknown_option_is_named(name: str, options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="depth"):
        build(name, 2, 3, (32, 32), options)


def test_a_size_a_transformer_cannot_be_built_for() -> None:
    with pytest.raises(ConfigError, match="vit_b_16 at 30×30 px"):
        build("vit_b_16", 2, 3, (30, 30), {})
    with pytest.raises(ConfigError, match="vit_b_16 at 32×64 px cannot be built: it takes squares only"):
        build("vit_b_16", 2, 3, (32, 64), {})
