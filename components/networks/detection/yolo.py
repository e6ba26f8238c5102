"""A single-stage, anchor-free detector.

Put together from the papers, with nothing of any implementation: a backbone of cross-stage partial blocks with spatial pyramid pooling (`csp`) or
of torchvision (`backbone`), a path-aggregation neck (Liu et al. 2018, arXiv:1803.01534), and at strides 8, 16 and 32 a decoupled head without
anchors (Ge et al. 2021, arXiv:2107.08430) that gives distances to the four sides of a box (Tian et al. 2019, arXiv:1904.01355) and for each class
how well it is found. What is taught where: `assignment`.

Legend: N images, P points (see `points`), C classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, cast

import torch
from torch import nn
from torch.nn import functional

from components.errors import ConfigError
from components.networks.detection import assignment
from components.networks.detection.backbone import TorchvisionBackbone
from components.networks.detection.csp import Backbone, Convolution, CrossStage, Size
from components.networks.detection.detector import Detector
from components.networks.detection.objects import Objects
from components.networks.detection.points import STRIDES, Raw, decode, points

#: Share of the objects that a point is expected to show before it has learnt anything: Lin et al. 2017, arXiv:1708.02002.
_PRIOR = 0.01
SIZES = {"nano": Size(16, 1), "small": Size(32, 1), "medium": Size(48, 2), "large": Size(64, 3)}


class Neck(nn.Module):
    """Coarse features flow down to the fine ones, then the fine ones back up (PAN)."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        fine, middle, coarse = size.widths
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
        backbone: ``csp``, or the name of one of torchvision's networks; size is then that of neck and heads alone.

    Raises:
        ConfigError: There is no such backbone.
    """

    variants: ClassVar = {f"yolo_{size}": {"size": size} for size in SIZES}
    loss_weights: ClassVar[Mapping[str, float]] = {"label": 1.0, "box": 2.5}

    def __init__(self, num_classes: int, channels: int, size: str = "nano", backbone: str = "csp") -> None:
        super().__init__()
        of = SIZES[size]
        self.backbone = Backbone(channels, of) if backbone == "csp" else TorchvisionBackbone(backbone, channels, of.widths)
        self.neck = Neck(of)
        width = max(4 * of.width, min(num_classes, 8 * of.width))
        self.heads = nn.ModuleList(Head(channels, num_classes, width) for channels in of.widths)

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
