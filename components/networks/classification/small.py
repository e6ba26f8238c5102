"""Own networks, suited to small images. Input images_NCHW, output logits (N, classes)."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from components.networks.classification.whitened import whitened_vgg


def _block(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):
    """Two convolutions beside an identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _block(channels, channels)
        self.second = _block(channels, channels)

    def forward(self, features_NCHW: torch.Tensor) -> torch.Tensor:
        """Return features of the same shape."""
        return features_NCHW + cast(torch.Tensor, self.second(self.first(features_NCHW)))


class ResNet9(nn.Module):
    """Nine layers: a stem, three halvings of the side, two residual pairs (after the DAWNBench entry of D. Page, 2018).

    Args:
        num_classes: Logits.
        channels: Of the images.
        width: Channels of the stem; the last layer has eight times as many.
    """

    def __init__(self, num_classes: int, channels: int, width: int = 32) -> None:
        super().__init__()
        self.stem = _block(channels, width)
        self.stage1 = nn.Sequential(_block(width, 2 * width), nn.MaxPool2d(2), Residual(2 * width))
        self.stage2 = nn.Sequential(_block(2 * width, 4 * width), nn.MaxPool2d(2))
        self.stage3 = nn.Sequential(_block(4 * width, 8 * width), nn.MaxPool2d(2), Residual(8 * width))
        self.pool = nn.AdaptiveMaxPool2d(1)
        self.head = nn.Linear(8 * width, num_classes)

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Return logits (N, classes)."""
        features = self.stage3(self.stage2(self.stage1(self.stem(images_NCHW))))
        return cast(torch.Tensor, self.head(torch.flatten(self.pool(features), 1)))


def resnet9(num_classes: int, channels: int, width: int = 32) -> nn.Module:
    """Return a ResNet9 for images of at least 8 pixels."""
    return ResNet9(num_classes, channels, width)


def resnet18_small(num_classes: int, channels: int) -> nn.Module:
    """Return torchvision's resnet18 with the first layer of He et al. 2015 (arXiv:1512.03385, 4.2) for 32 px: 3×3, no stride, no pooling."""
    import torchvision

    model: nn.Module = torchvision.models.resnet18(num_classes=num_classes)
    model.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
    model.maxpool = nn.Identity()
    return model


NETWORKS = {"resnet9": resnet9, "resnet18_small": resnet18_small, "whitened_vgg": whitened_vgg}
