"""A single-stage, anchor-free detector.

Put together from the papers, with nothing of any implementation: a backbone of cross-stage partial blocks (Wang et al. 2019, arXiv:1911.11929)
with spatial pyramid pooling (He et al. 2014, arXiv:1406.4729), a path-aggregation neck (Liu et al. 2018, arXiv:1803.01534), and at strides
8, 16 and 32 a decoupled head without anchors (Ge et al. 2021, arXiv:2107.08430) that gives distances to the four sides of a box
(Tian et al. 2019, arXiv:1904.01355) and for each class how well it is found. What is taught where: `assignment`.

Legend: N images, P points (see `points`), C classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, NamedTuple, cast

import torch
from torch import nn
from torch.nn import functional

from components.errors import ConfigError
from components.networks.detection import assignment
from components.networks.detection.detector import Detector
from components.networks.detection.objects import Objects
from components.networks.detection.points import STRIDES, Raw, decode, points

#: Share of the objects that a point is expected to show before it has learnt anything: Lin et al. 2017, arXiv:1708.02002.
_PRIOR = 0.01


class Size(NamedTuple):
    """Channels of the first stage, and blocks in a stage."""

    width: int
    depth: int


SIZES = {"nano": Size(16, 1), "small": Size(32, 1), "medium": Size(48, 2), "large": Size(64, 3)}


class Convolution(nn.Sequential):
    """Convolution, batch normalisation, SiLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.SiLU(inplace=True),
        )


class Bottleneck(nn.Module):
    """Two 3×3 convolutions, beside an identity where `shortcut`."""

    def __init__(self, channels: int, shortcut: bool) -> None:
        super().__init__()
        self.first, self.second = Convolution(channels, channels), Convolution(channels, channels)
        self.shortcut = shortcut

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return features of the same shape."""
        result: torch.Tensor = self.second(self.first(features))
        return features + result if self.shortcut else result


class CrossStage(nn.Module):
    """Half of the channels go through the blocks, half around them; both are merged (CSP)."""

    def __init__(self, in_channels: int, out_channels: int, depth: int, shortcut: bool = True) -> None:
        super().__init__()
        half = out_channels // 2
        self.around = Convolution(in_channels, half, 1)
        self.through = nn.Sequential(Convolution(in_channels, half, 1), *(Bottleneck(half, shortcut) for _ in range(depth)))
        self.merge = Convolution(2 * half, out_channels, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return features (N, out_channels, H, W)."""
        merged: torch.Tensor = self.merge(torch.cat([self.through(features), self.around(features)], dim=1))
        return merged


class Pyramid(nn.Module):
    """The features beside their maxima over 5, 9 and 13 pixels: three poolings of 5 one after another."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce, self.merge = Convolution(channels, channels // 2, 1), Convolution(2 * channels, channels, 1)
        self.pool = nn.MaxPool2d(5, stride=1, padding=2)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return features of the same shape."""
        levels = [self.reduce(features)]
        for _ in range(3):
            levels.append(self.pool(levels[-1]))
        merged: torch.Tensor = self.merge(torch.cat(levels, dim=1))
        return merged


class Backbone(nn.Module):
    """Features at strides 8, 16 and 32, of 4, 8 and 16 times `width` channels."""

    def __init__(self, channels: int, size: Size) -> None:
        super().__init__()
        width, depth = size
        self.stem = Convolution(channels, width, 3, 2)
        self.stage1 = nn.Sequential(Convolution(width, 2 * width, 3, 2), CrossStage(2 * width, 2 * width, depth))
        self.stage2 = nn.Sequential(Convolution(2 * width, 4 * width, 3, 2), CrossStage(4 * width, 4 * width, 2 * depth))
        self.stage3 = nn.Sequential(Convolution(4 * width, 8 * width, 3, 2), CrossStage(8 * width, 8 * width, 2 * depth))
        self.stage4 = nn.Sequential(Convolution(8 * width, 16 * width, 3, 2), CrossStage(16 * width, 16 * width, depth), Pyramid(16 * width))

    def forward(self, images_NCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the three levels, the finest first."""
        fine = self.stage2(self.stage1(self.stem(images_NCHW)))
        middle = self.stage3(fine)
        return fine, middle, self.stage4(middle)


class Neck(nn.Module):
    """Coarse features flow down to the fine ones, then the fine ones back up (PAN)."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        fine, middle, coarse = (size.width * factor for factor in (4, 8, 16))
        self.reduce_coarse, self.reduce_middle = Convolution(coarse, middle, 1), Convolution(middle, fine, 1)
        self.down_middle = CrossStage(2 * middle, middle, size.depth, shortcut=False)
        self.down_fine = CrossStage(2 * fine, fine, size.depth, shortcut=False)
        self.raise_fine, self.raise_middle = Convolution(fine, fine, 3, 2), Convolution(middle, middle, 3, 2)
        self.up_middle = CrossStage(2 * fine, middle, size.depth, shortcut=False)
        self.up_coarse = CrossStage(2 * middle, coarse, size.depth, shortcut=False)

    def forward(self, fine: torch.Tensor, middle: torch.Tensor, coarse: torch.Tensor) -> list[torch.Tensor]:
        """Return the three levels with the same channels as they came, the finest first."""
        from_coarse = self.reduce_coarse(coarse)
        mixed = self.down_middle(torch.cat([functional.interpolate(from_coarse, scale_factor=2.0), middle], dim=1))
        from_middle = self.reduce_middle(mixed)
        low = self.down_fine(torch.cat([functional.interpolate(from_middle, scale_factor=2.0), fine], dim=1))
        mid = self.up_middle(torch.cat([self.raise_fine(low), from_middle], dim=1))
        return [low, mid, self.up_coarse(torch.cat([self.raise_middle(mid), from_coarse], dim=1))]


class Head(nn.Module):
    """One level's two branches: where, and what."""

    def __init__(self, in_channels: int, num_classes: int, width: int) -> None:
        super().__init__()
        self.box = _branch(in_channels, width, 4, bias=2.0)
        self.label = _branch(in_channels, width, num_classes, bias=-math.log((1 - _PRIOR) / _PRIOR))

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return distances (N, HW, 4) and logits (N, HW, C)."""
        distances = functional.softplus(self.box(features))
        return distances.flatten(2).transpose(1, 2), self.label(features).flatten(2).transpose(1, 2)


def _branch(in_channels: int, width: int, out_channels: int, bias: float) -> nn.Sequential:
    last = nn.Conv2d(width, out_channels, 1)
    nn.init.constant_(cast(nn.Parameter, last.bias), bias)
    return nn.Sequential(Convolution(in_channels, width), Convolution(width, width), last)


class YOLO(Detector):
    """The detector; anchors are its points: x, y and stride.

    Args:
        num_classes: C.
        channels: Of the images.
        size: One of `SIZES`.
    """

    variants: ClassVar = {f"yolo_{size}": {"size": size} for size in SIZES}
    loss_weights: ClassVar[Mapping[str, float]] = {"label": 1.0, "box": 2.5}

    def __init__(self, num_classes: int, channels: int, size: str = "nano") -> None:
        super().__init__()
        of = SIZES[size]
        self.backbone, self.neck = Backbone(channels, of), Neck(of)
        width = max(4 * of.width, min(num_classes, 8 * of.width))
        self.heads = nn.ModuleList(Head(factor * of.width, num_classes, width) for factor in (4, 8, 16))

    def forward(self, images_NCHW: torch.Tensor) -> Raw:
        """Return what the network says of each point; height and width have to be multiples of 32."""
        levels = self.neck(*self.backbone(images_NCHW))
        parts = [head(level) for head, level in zip(self.heads, levels, strict=True)]
        return Raw(torch.cat([distances for distances, _ in parts], dim=1), torch.cat([logits for _, logits in parts], dim=1))

    def anchors(self, size_hw: tuple[int, int], device: torch.device | None = None) -> torch.Tensor:
        """Return the points, float32 (P, 3)."""
        return points(*size_hw, device=device)

    def loss(self, raw: Raw, objects: Objects, size_hw: tuple[int, int], weights: Mapping[str, float]) -> torch.Tensor:
        """Return the loss of task-aligned learning."""
        return assignment.loss(raw, objects, self.anchors(size_hw, raw.logits.device), {**self.loss_weights, **weights})

    def decode(self, raw: Raw, anchors: torch.Tensor, size_hw: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:  # noqa: ARG002
        """Return boxes and scores of all points."""
        return decode(raw.distances.float(), anchors), raw.logits.float().sigmoid()

    def head_names(self) -> list[str]:
        """Return the names of the parameters of each level's last layer that names classes."""
        return [f"heads.{level}.label.2.{name}" for level in range(len(self.heads)) for name in ("weight", "bias")]

    def feature_layers(self) -> list[str]:
        """Return the neck's last blocks."""
        return ["neck.down_fine", "neck.up_middle", "neck.up_coarse"]

    def check_size(self, name: str, size_hw: tuple[int, int]) -> None:
        """Refuse sides that are no multiple of 32."""
        step = STRIDES[-1]
        for side in size_hw:
            if side % step:
                near = max(step, round(side / step) * step)
                raise ConfigError(f"task.image_size: found {side}; {name} takes multiples of {step} pixels, for example {near}")
