"""Segmentation networks by name: our own U-Net, and torchvision's with heads for the classes. Input images_NCHW, output logits (N, classes, H, W)."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import nn

from components.errors import ConfigError, unknown_name
from components.networks.first_layer import fit_first_convolution
from components.networks.segmentation.unet import unet

OWN = {"unet": unet}
#: torchvision's own names; Long et al. 2015 (FCN), Chen et al. 2017 (DeepLabV3), Howard et al. 2019 (LR-ASPP).
TORCHVISION = ["deeplabv3_mobilenet_v3_large", "deeplabv3_resnet50", "fcn_resnet50", "lraspp_mobilenet_v3_large"]
NAMES = sorted([*OWN, *TORCHVISION])


class Wrapped(nn.Module):
    """torchvision's model, of whose outputs only the logits of its head are taken: it is built without the auxiliary one."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Return logits (N, classes, H, W)."""
        return cast(torch.Tensor, self.model(images_NCHW)["out"])


def build(name: str, num_classes: int, channels: int, size_hw: tuple[int, int], options: Mapping[str, Any]) -> nn.Module:
    """Return a network with random weights.

    Args:
        name: One of `NAMES`.
        num_classes: Logits of a pixel.
        channels: Of the images; the first layer of torchvision's models is made to fit.
        size_hw: Height and width of the images in pixels.
        options: Arguments of the network's own constructor, for example ``{"width": 32, "depth": 3}``.

    Raises:
        ConfigError: Unknown name or option, or a size the network cannot be built for.
    """
    if name not in NAMES:
        raise unknown_name("model", name, NAMES)
    if name in OWN:
        known = set(inspect.signature(OWN[name]).parameters) - {"num_classes", "channels"}
        for option in options:
            if option not in known:
                raise unknown_name(f"option of model {name}", option, known)
        if min(size_hw) < 2 ** int(options.get("depth", 4)):
            raise ConfigError(
                f"model {name} halves the side {options.get('depth', 4)} times: {min(size_hw)} px are too few; lower model_options.depth"
            )
        return OWN[name](num_classes, channels, **options)
    if options:
        raise ConfigError(f"model {name}: found model_options {dict(options)}; it has none")
    import torchvision

    model = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=num_classes)
    if channels != 3:
        fit_first_convolution(model, channels)
    return Wrapped(model)


def head_names(network: nn.Module) -> list[str]:
    """Return the names of the parameters that have a row for each class: of the last layer, of LR-ASPP's two."""
    heads = ["head"]
    if isinstance(network, Wrapped):
        classifier = network.get_submodule("model.classifier")
        last = [str(len(classifier) - 1)] if isinstance(classifier, nn.Sequential) else ["low_classifier", "high_classifier"]
        heads = [f"model.classifier.{name}" for name in last]
    return [f"{head}.{name}" for head in heads for name, _ in network.get_submodule(head).named_parameters()]
