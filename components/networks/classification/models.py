"""Networks by name: our own small ones, and every classification model of torchvision with its head and first layer fitted."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from functools import cache
from typing import Any, cast

from torch import nn

from components.errors import ConfigError, unknown_name
from components.networks.classification.small import NETWORKS
from components.networks.first_layer import fit_first_convolution


@cache
def torchvision_names() -> frozenset[str]:
    """Return the names of torchvision's classification models."""
    import torchvision

    return frozenset(torchvision.models.list_models(module=torchvision.models))


def model_names() -> list[str]:
    """Return the names of all networks."""
    return sorted({*NETWORKS, *torchvision_names()})


def build(name: str, num_classes: int, channels: int, size_hw: tuple[int, int], options: Mapping[str, Any]) -> nn.Module:
    """Return a network with random weights.

    Args:
        name: One of `model_names`.
        num_classes: Logits.
        channels: Of the images; the first layer of torchvision's models is made to fit.
        size_hw: Of the images in pixels, for networks that need to know it (vision transformers).
        options: Arguments of the network's own constructor, for example ``{"width": 16}`` or ``{"dropout": 0.2}``.

    Raises:
        ConfigError: Unknown name or option, or a size the network cannot be built for.
    """
    if name not in NETWORKS and name not in torchvision_names():
        raise unknown_name("model", name, model_names())
    try:
        if name in NETWORKS:
            _check_options(name, NETWORKS[name], options)
            return NETWORKS[name](num_classes, channels, **options)
        return _torchvision_model(name, num_classes, channels, size_hw, options)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        given = f" with model_options {dict(options)}" if options else ""
        raise ConfigError(f"model {name}{given} at {size_hw[0]}×{size_hw[1]} px cannot be built: {' '.join(str(error).split())}") from error


def _check_options(name: str, builder: Any, options: Mapping[str, Any]) -> None:
    known = set(inspect.signature(builder).parameters) - {"num_classes", "channels"}
    for option in options:
        if option not in known:
            raise unknown_name(f"option of model {name}", option, known)


def _torchvision_model(name: str, num_classes: int, channels: int, size_hw: tuple[int, int], options: Mapping[str, Any]) -> nn.Module:
    import torchvision

    arguments: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        arguments = {"aux_logits": False, "init_weights": True}  # one output in training too: the loop knows no auxiliary heads
    elif name.startswith("vit_"):
        if size_hw[0] != size_hw[1]:
            raise ValueError("it takes squares only")
        arguments = {"image_size": size_hw[0]}
    elif name.startswith("maxvit"):
        arguments = {"input_size": size_hw}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model = cast(nn.Module, torchvision.models.get_model(name, weights=None, num_classes=num_classes, **arguments | dict(options)))
    if channels != 3:
        fit_first_convolution(model, channels)
    return model


def head_names(model: nn.Module) -> list[str]:
    """Return the names of the parameters of the classification head: the last module that has any."""
    head = [name for name, module in model.named_modules() if any(True for _ in module.parameters(recurse=False))][-1]
    return [f"{head}.{name}" for name, _ in model.get_submodule(head).named_parameters(recurse=False)]
