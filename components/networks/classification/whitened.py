"""A network that learns small images in few epochs: its first layer gives it decorrelated input, and it halves the image early.

The plan of K. Jordan 2024 (arXiv:2404.00498): whitened 2×2 patches in both signs, three pairs of convolutions, wide where the image is already
small, initialised as the identity, normalised without a gain and with biases that learn fast. In place of whitening by the covariance of the
data (Coates and Ng 2012) the patches are taken apart into Haar wavelets of brightness and opponent colours, close to the principal components
of natural images whatever they show (Ruderman et al. 1998), and each component is normalised by its own variance.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

#: A bias is this many times its parameter: its learning rate is effectively 64 times as large.
_BIAS_GAIN = 8.0
#: Of a component that is nearly nothing (colours in a JPEG's finest detail), so that its noise is not blown up.
_LEAST_VARIANCE = 1e-3
#: Logits at initialisation are small: the width of the last layer would make them large.
_LOGIT_GAIN = 1 / 9


class FastBias(nn.Module):
    """A bias a channel that learns fast."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, features_NCHW: torch.Tensor) -> torch.Tensor:
        """Return features of the same shape."""
        return features_NCHW + (_BIAS_GAIN * self.bias).to(features_NCHW.dtype)[:, None, None]


class Decorrelated(nn.Module):
    """Haar wavelets of 2×2 pixels, of brightness and opponent colours, each of variance one; then the same with the other sign.

    Args:
        channels: Of the images, 1 or 3; the result has 8 times as many.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(4 * channels, eps=_LEAST_VARIANCE, affine=False)

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Return features (N, 8 C, H - 1, W - 1)."""
        images = images_NCHW.float()  # sums and differences, which autocast leaves in float32: faint ones would be the rounding of bfloat16
        if images.shape[1] == 3:
            red, green, blue = (images[:, channel : channel + 1] for channel in range(3))
            opponents = [(red + green + blue) / 3**0.5, (red - blue) / 2**0.5, (red - 2 * green + blue) / 6**0.5]
            images = torch.cat(opponents, dim=1)
        top, bottom = images[:, :, :-1], images[:, :, 1:]
        sums, falls = top + bottom, top - bottom
        wavelets = [part / 2 for rows in (sums, falls) for part in (rows[..., :-1] + rows[..., 1:], rows[..., :-1] - rows[..., 1:])]
        components = self.norm(torch.cat(wavelets, dim=1))
        return torch.cat([components, -components], dim=1)


def _convolution(in_channels: int, out_channels: int) -> nn.Conv2d:
    layer = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
    nn.init.dirac_(layer.weight[:in_channels])
    return layer


def _pair(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        _convolution(in_channels, out_channels),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(out_channels, momentum=0.4, affine=False),
        FastBias(out_channels),
        nn.GELU(),
        _convolution(out_channels, out_channels),
        nn.BatchNorm2d(out_channels, momentum=0.4, affine=False),
        FastBias(out_channels),
        nn.GELU(),
    )


class WhitenedVGG(nn.Module):
    """Three pairs of convolutions on decorrelated input.

    Args:
        num_classes: Logits.
        channels: Of the images, which have at least 17 pixels a side.
        width: Channels of the first pair; the other two have four times as many.
    """

    def __init__(self, num_classes: int, channels: int, width: int = 64) -> None:
        super().__init__()
        self.stem = Decorrelated(channels)
        self.features = nn.Sequential(_pair(8 * channels, width), _pair(width, 4 * width), _pair(4 * width, 4 * width))
        self.pool = nn.AdaptiveMaxPool2d(1)
        self.head = nn.Linear(4 * width, num_classes, bias=False)

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Return logits (N, classes)."""
        features = torch.flatten(self.pool(self.features(self.stem(images_NCHW))), 1)
        return cast(torch.Tensor, self.head(features)) * _LOGIT_GAIN


def whitened_vgg(num_classes: int, channels: int, width: int = 64) -> nn.Module:
    """Return a WhitenedVGG."""
    return WhitenedVGG(num_classes, channels, width)
