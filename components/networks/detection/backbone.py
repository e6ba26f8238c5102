"""A classification network of torchvision as a detector's backbone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn

from components.errors import ConfigError
from components.networks.classification.models import build, torchvision_names
from components.networks.detection.csp import Convolution
from components.networks.detection.points import STRIDES

_PROBE_SIDE = 2 * STRIDES[-1]


class TorchvisionBackbone(nn.Module):
    """Features at strides 8, 16 and 32: the last that the network makes at each, brought to the channels that are wanted.

    Its parameters have torchvision's names behind ``body.``.

    Args:
        name: torchvision's, of a network that is a row of stages.
        channels: Of the images.
        widths: Channels to give at each stride.

    Raises:
        ConfigError: There is no such network, or it has no such features.
    """

    def __init__(self, name: str, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        if name not in torchvision_names():
            raise _unfit(name)
        network = build(name, 1, channels, (_PROBE_SIDE, _PROBE_SIDE), {})
        features = getattr(network, "features", None)
        stages = dict(cast(nn.Module, network if features is None else features).named_children())
        shapes = _shapes(list(stages.values()), channels)
        last = {_PROBE_SIDE // shape[2]: number for number, shape in enumerate(shapes) if shape[2] == shape[3]}
        if not last.keys() >= set(STRIDES):
            raise _unfit(name)
        self._taps = [last[stride] for stride in STRIDES]
        kept = nn.Sequential()
        for stage in list(stages)[: self._taps[-1] + 1]:
            kept.add_module(stage, stages[stage])
        self.body = kept if features is None else nn.ModuleDict({"features": kept})
        self.fit = nn.ModuleList(Convolution(shapes[tap][1], width, 1) for tap, width in zip(self._taps, widths, strict=True))

    def forward(self, images_NCHW: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the three levels, the finest first."""
        stages: Any = self.body["features"] if isinstance(self.body, nn.ModuleDict) else self.body
        features, levels = images_NCHW, list[torch.Tensor]()
        for number, stage in enumerate(stages):
            features = stage(features)
            if number in self._taps:
                levels.append(self.fit[len(levels)](features))
        return tuple(levels)


def _shapes(stages: Sequence[nn.Module], channels: int) -> list[torch.Size]:
    """Return the shapes of what the stages make of an image one after another, as far as that goes."""
    features, shapes = torch.zeros(1, channels, _PROBE_SIDE, _PROBE_SIDE), []
    for stage in stages:
        training = stage.training
        try:
            with torch.no_grad():
                features = stage.eval()(features)
        except (RuntimeError, TypeError, ValueError, IndexError, AssertionError):  # a classifier's first layer, or a network that is no row of stages
            break
        finally:
            stage.train(training)
        if not isinstance(features, torch.Tensor) or features.ndim != 4:
            break
        shapes.append(features.shape)
    return shapes


def _unfit(name: str) -> ConfigError:
    return ConfigError(
        f"model_options.backbone: found '{name}'; expected csp, or one of torchvision's networks with feature maps at strides "
        f"{', '.join(map(str, STRIDES))}, for example resnet18, mobilenet_v3_large or efficientnet_b0"
    )
