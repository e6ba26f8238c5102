"""What one batch and one optimiser step do to a network."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from components.augmentation.random_policy import unmixed
from components.datasets.policy import Policy
from components.errors import InputError
from components.training.distillation import Distillation
from components.training.feed import Feed, derived_seed
from components.training.multi_scale import MultiScale
from components.training.optimizers import ParameterPlan, freeze, norms_to_freeze
from components.training.options import FitOptions
from components.training.out_of_memory import is_out_of_memory, out_of_memory
from components.training.problem import Problem
from components.training.runtime import Runtime
from components.training.schedules import lr_factor
from components.training.state import TrainingState

#: Steps between two looks at the loss on a GPU, where each look waits for it.
_LOOK_EVERY = 16


class Learner:
    """Takes the batches of a training one by one; `state` is all that they change.

    Args:
        problem: The network, on its device already, and its task.
        targets: Of all training images.
        options: How.
        policy: The random policy of the training images.
        plan: Which parameters learn at which rate from when.
        feed: Where the batches come from.
        runtime: Where and how the network runs.
        distillation: The teacher; None: the targets alone.
        description: What errors call the training.
    """

    def __init__(
        self,
        problem: Problem,
        targets: Sequence[Any],
        options: FitOptions,
        policy: Policy,
        plan: ParameterPlan,
        feed: Feed,
        runtime: Runtime,
        *,
        distillation: Distillation | None,
        description: str,
    ) -> None:
        self._task, self._options, self._plan = problem.task, options, plan
        self._policy, self._mixing_policy, self._last_mixing_epoch = policy, policy, round(policy.mixed_epochs * options.epochs)
        self._multi_scale = MultiScale.of(problem, options)
        self._frozen_norms = norms_to_freeze(problem.model) if options.batch_norm == "frozen" else []
        self._runtime, self._distillation, self._description = runtime, distillation, description
        self._loss_options = problem.task.loss_options(options.model_dump(), targets, problem.spec.classes)
        self._num_batches = feed.num_batches
        self._steps_per_epoch = -(-feed.num_batches // options.accumulate)
        self._generator = torch.Generator(device=runtime.device)
        self._forward: Any = torch.compile(problem.model) if runtime.compile else problem.model
        if distillation:
            distillation.place(runtime)
        self.state = TrainingState.begin(problem.model, options, plan, feed.num_batches, runtime.device)

    def begin_epoch(self) -> None:
        """Make the network ready for learning in the epoch that is on, and choose its policy."""
        self.state.model.train()
        freeze(self.state.model, self._plan, self.state.epoch)
        for norm in self._frozen_norms:
            norm.eval().requires_grad_(False)
        self._policy = self._mixing_policy if self.state.epoch <= self._last_mixing_epoch else unmixed(self._mixing_policy)

    def learn(self, images_NCHW: torch.Tensor, targets: Sequence[Any], number: int) -> bool:
        """Take a batch in; tell whether an optimiser step ended with it.

        Args:
            images_NCHW: uint8, on the device.
            targets: One an image, as the evaluator gives them.
            number: Of the batch in the epoch, from 0.

        Raises:
            InputError: The loss is no number any more, or memory ran out.
        """
        self._backward(images_NCHW, targets, number)
        if number + 1 < self._num_batches and (number + 1) % self._options.accumulate:
            return False
        self._optimizer_step((self.state.epoch - 1) * self._steps_per_epoch + number // self._options.accumulate)
        self.state.batch = number + 1
        return True

    def look(self, count: int) -> None:
        """Stop if one of the first `count` losses of the epoch is no number.

        Raises:
            InputError: One is; it names the step and what to change.
        """
        broken = (~self.state.losses[:count].isfinite()).nonzero()
        if len(broken):
            first, state = int(broken[0]), self.state
            raise InputError(
                f"{self._description}: the loss became {float(state.losses[first])} in epoch {state.epoch}, step {first + 1} of {len(state.losses)}. "
                f"{self.advice}"
            )

    @property
    def advice(self) -> str:
        """What to change where numbers grew beyond all bounds."""
        return f"Lower lr ({self._options.lr:g}), add warmup_epochs, or set clip_norm: 1.0; if bf16 was chosen, try precision: float32"

    def _backward(self, images_NCHW: torch.Tensor, targets: Sequence[Any], number: int) -> None:
        state, accumulate = self.state, self._options.accumulate
        share = min(accumulate, self._num_batches - number // accumulate * accumulate)  # batches in this optimiser step
        try:
            loss = self._loss(self._forward, images_NCHW, targets, number)
            torch.autograd.backward(loss / share)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            error.__traceback__ = None  # it holds the tensors of the step
            state.optimizer.zero_grad()
            raise out_of_memory(partial(self._attempt, images_NCHW, targets, number), len(images_NCHW), accumulate, self._runtime.device) from None
        state.losses[number] = loss.detach()
        if self._runtime.device.type == "cpu" or number % _LOOK_EVERY == 0:
            self.look(number + 1)

    def _attempt(self, images_NCHW: torch.Tensor, targets: Sequence[Any], number: int, size: int) -> None:
        torch.autograd.backward(self._loss(self.state.model, images_NCHW[:size], targets[:size], number))

    def _loss(self, model: nn.Module, images_NCHW: torch.Tensor, targets: Sequence[Any], number: int) -> torch.Tensor:
        seed = derived_seed(self._options.seed, self.state.epoch, number)
        self._runtime.seed(seed)
        self._generator.manual_seed(seed)
        images, wanted = self._task.augment(images_NCHW, self._task.collate(targets, self._runtime.device), self._policy, self._generator)
        if self._multi_scale:
            images, wanted = self._multi_scale(images, wanted, seed)
        loss = self._distillation.loss if self._distillation else self._task.loss
        with self._runtime.autocast():
            return loss(model, self._runtime.images(images), wanted, self._loss_options)

    def _optimizer_step(self, step: int) -> None:
        state, options = self.state, self._options
        factor = lr_factor(options, step, self._steps_per_epoch)
        for group in state.optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor
        if options.clip_norm:
            torch.nn.utils.clip_grad_norm_(state.model.parameters(), options.clip_norm)
        state.optimizer.step()
        state.optimizer.zero_grad()
        if state.average:
            state.average.update(state.model, step)
