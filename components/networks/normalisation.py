"""Normalisation as the network's first layer, so that nobody has to remember it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn


class Normalised(nn.Module):
    """images_NCHW in 0..1 → (images - mean) / std → network.

    Mean and deviation belong to the spec, so they are no part of the state dict.

    Args:
        network: Takes normalised images.
        mean: One value a channel, of images in 0..1.
        std: One value a channel.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Return the network's output."""
        return cast(torch.Tensor, self.network((images_NCHW - self.mean) / self.std))
