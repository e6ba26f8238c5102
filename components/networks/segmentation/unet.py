"""U-Net (Ronneberger et al. 2015, arXiv:1505.04597), for small data; its convolutions are padded: the output has the input's size."""

from __future__ import annotations

import itertools
from typing import cast

import torch
from torch import nn
from torch.nn import functional


def _double(in_channels: int, out_channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (in_channels, out_channels):
        layers += [nn.Conv2d(channels, out_channels, 3, padding=1, bias=False), nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Down `depth` times by half with twice the channels, and up again beside what was there on the way down.

    Args:
        num_classes: Logits of a pixel.
        channels: Of the images.
        width: Channels of the first level.
        depth: How often the side is halved; height and width may be any number of pixels.
    """

    def __init__(self, num_classes: int, channels: int, width: int = 16, depth: int = 4) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(depth + 1)]
        self.down = nn.ModuleList(_double(before, after) for before, after in zip([channels, *widths[:-1]], widths, strict=True))
        self.reduce = nn.ModuleList(nn.Conv2d(deep, flat, 1) for flat, deep in itertools.pairwise(widths))
        self.up = nn.ModuleList(_double(2 * flat, flat) for flat in widths[:-1])
        self.head = nn.Conv2d(width, num_classes, 1)

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Return logits (N, classes, H, W)."""
        levels = [self.down[0](images_NCHW)]
        for block in self.down[1:]:
            levels.append(block(functional.max_pool2d(levels[-1], 2)))
        features = levels.pop()
        for reduce, block in zip(reversed(self.reduce), reversed(self.up), strict=True):
            beside = levels.pop()
            risen = functional.interpolate(reduce(features), size=beside.shape[2:], mode="bilinear", align_corners=False)
            features = block(torch.cat([beside, risen], dim=1))
        return cast(torch.Tensor, self.head(features))


def unet(num_classes: int, channels: int, width: int = 16, depth: int = 4) -> nn.Module:
    """Return a U-Net."""
    return UNet(num_classes, channels, width, depth)
