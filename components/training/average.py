"""The moving average of the weights (EMA)."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Average:
    """Follows a model; validation, and the model that is kept, are the average.

    BatchNorm's running mean and variance are averaged like the weights, so that they belong to the averaged network; counters are copied.
    The decay grows from 0.1 to `decay` over the first steps (min(decay, (1 + t) / (10 + t)), as in TensorFlow's
    ExponentialMovingAverage), so that a short training is not held back by its random start.

    Args:
        model: The model that is trained, already on its device.
        decay: Near one: slow.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self._decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take the weights after optimiser step `step` (from 0) in."""
        decay = min(self._decay, (1 + step) / (10 + step))
        mine, its = self.model.state_dict(), model.state_dict()
        floats = [name for name, tensor in mine.items() if tensor.is_floating_point()]
        torch._foreach_lerp_([mine[name] for name in floats], [its[name] for name in floats], 1 - decay)
        for name, tensor in mine.items():
            if not tensor.is_floating_point():
                tensor.copy_(its[name])
