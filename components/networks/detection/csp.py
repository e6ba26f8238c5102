"""Cross-stage partial networks (Wang et al. 2019, arXiv:1911.11929) with spatial pyramid pooling (He et al. 2014, arXiv:1406.4729)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn


class Size(NamedTuple):
    """Channels of the first stage, and blocks in a stage."""

    width: int
    depth: int

    @property
    def widths(self) -> tuple[int, int, int]:
        """The channels at strides 8, 16 and 32."""
        return 4 * self.width, 8 * self.width, 16 * self.width


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
