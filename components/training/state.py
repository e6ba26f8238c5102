"""Everything that changes while a model is trained, as one object that can be stored and restored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from components.training.average import Average
from components.training.optimizers import ParameterPlan, build_optimizer
from components.training.options import FitOptions


@dataclass(frozen=True)
class Best:
    """The best weights so far.

    Attributes:
        epoch: 1-based; 0: the weights it started from.
        value: The primary metric on the validation split.
        loss: The validation loss, where the evaluator knows one; breaks ties.
        weights: The state dict on the CPU.
    """

    epoch: int
    value: float
    loss: float
    weights: dict[str, torch.Tensor]

    def beaten_by(self, value: float, loss: float) -> bool:
        """Tell whether a later epoch is better: a higher metric, or the same with a lower loss."""
        return value > self.value or (value == self.value and loss < self.loss)


@dataclass
class TrainingState:
    """Where a training stands.

    Attributes:
        model: In training; its weights change in place.
        optimizer: Over the model's parameters.
        average: The weights' moving average, if asked for.
        epoch: The epoch that is on, 1-based.
        batch: The next batch in it.
        losses: Of the batches of this epoch so far, on the device, float32.
        best: None until the first validation.
        start_value: The metric of the weights it started from, where they were judged.
        history: One row an epoch.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    average: Average | None
    losses: torch.Tensor
    epoch: int = 1
    batch: int = 0
    best: Best | None = None
    start_value: float | None = None
    history: list[dict[str, float]] = field(default_factory=list)

    @classmethod
    def begin(cls, model: nn.Module, options: FitOptions, plan: ParameterPlan, num_batches: int, device: torch.device) -> TrainingState:
        """Return the state before the first step; the model is on its device already."""
        average = Average(model, options.ema) if options.ema else None
        return cls(model, build_optimizer(options, model, plan), average, torch.zeros(num_batches, device=device))

    @property
    def judged(self) -> nn.Module:
        """The network that validation judges, and that is kept."""
        return self.average.model if self.average else self.model

    def consider(self, epoch: int, value: float, loss: float) -> None:
        """Keep the judged network's weights if they are the best so far."""
        if self.best is None or self.best.beaten_by(value, loss):
            weights = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in self.judged.state_dict().items()}
            self.best = Best(epoch, value, loss, weights)

    def stored(self) -> dict[str, Any]:
        """Return all of it as tensors, numbers and texts."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.model.state_dict() if self.average else None,
            "losses": self.losses,
            "epoch": self.epoch,
            "batch": self.batch,
            "best": vars(self.best) if self.best else None,
            "start_value": self.start_value,
            "history": self.history,
        }

    def restore(self, stored: Mapping[str, Any]) -> None:
        """Go back to what `stored` returned."""
        self.model.load_state_dict(stored["model"])
        self.optimizer.load_state_dict(stored["optimizer"])
        if self.average:
            self.average.model.load_state_dict(stored["average"])
        self.losses.copy_(stored["losses"])
        self.epoch, self.batch = stored["epoch"], stored["batch"]
        self.best = Best(**stored["best"]) if stored["best"] else None
        self.start_value, self.history = stored["start_value"], list(stored["history"])
