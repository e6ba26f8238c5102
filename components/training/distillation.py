"""Learning from a teacher: the network a smaller one was made from says more of each image than its label does."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from components.protocols import Distiller, Task
from components.training.options import DistillOptions
from components.training.runtime import Runtime

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Distillation:
    """A frozen teacher, in evaluation mode, and how much of the loss it makes (Hinton et al. 2015, arXiv:1503.02531).

    Attributes:
        distiller: The task.
        teacher: images_NCHW in 0..1 → outputs of the task.
        options: Weight and temperature.
    """

    distiller: Distiller
    teacher: nn.Module
    options: DistillOptions

    @classmethod
    def of(cls, task: Task, teacher: nn.Module, options: DistillOptions) -> Distillation | None:
        """Return the distillation that was asked for; None without a weight, or where the task knows no way (said in the log)."""
        if not options.weight:
            return None
        if not isinstance(task, Distiller):
            log.info("the task %s has no distillation loss: learning from the targets alone", task.name)
            return None
        return cls(task, teacher.requires_grad_(False).eval(), options)

    def place(self, runtime: Runtime) -> None:
        """Move the teacher to where the training runs."""
        runtime.place(self.teacher)

    def loss(self, model: nn.Module, images_NCHW: torch.Tensor, targets: Any, options: Mapping[str, Any]) -> torch.Tensor:
        """Return the loss of one batch: `weight` of it is the distance from the teacher, the rest the task's own loss."""
        loss, distance = self.distiller.distillation_losses(model, self.teacher, images_NCHW, targets, options, self.options.temperature)
        return (1 - self.options.weight) * loss + self.options.weight * distance
