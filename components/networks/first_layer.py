"""The first convolution of any network: the layer that knows how many channels images have."""

from __future__ import annotations

from typing import Any, cast

from torch import nn


def first_convolution(model: nn.Module) -> str:
    """Return the name of the weight of the first convolution."""
    return next(f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Conv2d))


def fit_first_convolution(model: nn.Module, channels: int) -> None:
    """Replace the first convolution by one for images of `channels` channels, in place; its weights are new."""
    name, first = next((name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d))
    fitted = nn.Conv2d(
        channels,
        first.out_channels,
        cast(Any, first.kernel_size),
        stride=cast(Any, first.stride),
        padding=cast(Any, first.padding),
        dilation=cast(Any, first.dilation),
        bias=first.bias is not None,
    )
    model.set_submodule(name, fitted)
