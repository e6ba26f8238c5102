"""The one training loop: train, finetune and the recovery of a compressed model. It knows a task only by its seams."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from components import progress
from components.datasets.policy import Policy
from components.datasets.prepared import PreparedSplit
from components.errors import DataError, InputError
from components.protocols import Context, Evaluator, Task
from components.records import ModelSpec
from components.training.checkpoint import Checkpoints, folder_in
from components.training.feed import Feed, derived_seed
from components.training.fingerprint import fingerprint
from components.training.inference import predict
from components.training.interrupts import Interrupt, deferred_interrupt
from components.training.memory import kept_memory
from components.training.multiply_adds import multiply_adds
from components.training.optimizers import ParameterPlan, everything, freeze
from components.training.options import FitOptions
from components.training.out_of_memory import is_out_of_memory, out_of_memory
from components.training.runtime import Runtime, choose_runtime, restored_runtime, threads
from components.training.schedules import lr_factor
from components.training.state import TrainingState

log = logging.getLogger(__name__)

#: Steps between two looks at the loss on a GPU, where each look waits for it.
_LOOK_EVERY = 16


@dataclass(frozen=True)
class Fit:
    """What a training came to; the model itself holds the best weights.

    Attributes:
        best_epoch: 1-based; 0: the weights it started from.
        num_epochs: Epochs that were trained.
        metric: The evaluator's primary metric.
        value: Of the weights that were kept, on the validation split.
        start_value: Of the weights it started from, where they were judged.
        settings: What every `auto` became.
        history: One row an epoch.
    """

    best_epoch: int
    num_epochs: int
    metric: str
    value: float
    start_value: float | None
    settings: dict[str, Any]
    history: list[dict[str, float]]


def fit(
    model: nn.Module,
    spec: ModelSpec,
    task: Task,
    evaluator: Evaluator,
    train: PreparedSplit,
    val: PreparedSplit,
    options: FitOptions,
    policy: Policy,
    *,
    context: Context,
    description: str = "train",
    plan: ParameterPlan | None = None,
    start: bool = False,
) -> Fit:
    """Train a model in place and leave the best weights by validation in it: float32, on the CPU, in evaluation mode.

    Checkpoints go under `context.scratch` at every epoch and every `checkpoint_minutes`; a training that finds one there goes on from it,
    and ends with the weights that it would have had (bit by bit on a CPU with as many threads). They are deleted by
    `checkpoint.clear(context.scratch)`, when the outputs are written.

    Args:
        model: images_NCHW in 0..1 → outputs of the task.
        spec: Of the model: classes, size.
        task: What is learnt.
        evaluator: Targets and metrics.
        train: Images to learn from, with the order that balances them.
        val: Images that choose the best epoch.
        options: How.
        policy: The random policy of the training images.
        context: Tracker and scratch folder.
        description: For progress and log lines.
        plan: Which parameters learn at which rate from when; None: all at `options.lr` from the start.
        start: Whether the weights it starts from take part in the choice.

    Returns:
        What it came to.

    Raises:
        DataError: A split is empty.
        ConfigError: The device is not there, or the model cannot take such images.
        InputError: The loss is no number any more, memory ran out, or the disk is full.
        KeyboardInterrupt: Ctrl-C, after a checkpoint.
    """
    for name, split in (("train", train), ("val", val)):
        if not len(split.images):
            raise DataError(f"the split {name} is empty: a training needs images to learn from and images to judge by. See split.shares")
    loop = _Loop(model, spec, task, evaluator, train, val, options=options, policy=policy, context=context, plan=plan)
    with threads(loop.runtime.num_threads), kept_memory():
        return loop.run(description, start)


class _Loop:
    def __init__(
        self,
        model: nn.Module,
        spec: ModelSpec,
        task: Task,
        evaluator: Evaluator,
        train: PreparedSplit,
        val: PreparedSplit,
        *,
        options: FitOptions,
        policy: Policy,
        context: Context,
        plan: ParameterPlan | None,
    ) -> None:
        self.task, self.evaluator, self.options, self.policy, self.context = task, evaluator, options, policy, context
        self.plan = plan = plan or everything(model, options.lr)
        self.val, self.val_targets = val, evaluator.targets(val.rows)
        targets = evaluator.targets(train.rows)
        self.loss_options = task.loss_options(options.model_dump(), targets, spec.classes)
        self.checkpoints = Checkpoints(folder_in(context.scratch), fingerprint(model, spec, options, policy, plan, train))
        self.found = self.checkpoints.latest()
        self.runtime: Runtime = choose_runtime(options, model, multiply_adds(model, spec.preprocess))
        if self.found:
            self.runtime = restored_runtime(self.found["settings"], self.runtime)
        self.runtime.place(model)
        self.feed = Feed(train.images, targets, train.order, options.batch_size, options.seed, self.runtime.device)
        self.state = TrainingState.begin(model, options, plan, self.feed.num_batches, self.runtime.device)
        self.steps_per_epoch = -(-self.feed.num_batches // options.accumulate)
        self.generator = torch.Generator(device=self.runtime.device)
        self.forward: Any = torch.compile(model) if self.runtime.compile else model
        self.checkpointed = time.monotonic()

    def run(self, description: str, start: bool) -> Fit:
        state, options, self.description = self.state, self.options, description
        self.context.tracker.log_params({**options.model_dump(), "policy": self.policy.model_dump(exclude_defaults=True), **self.runtime.settings()})
        if self.found:
            state.restore(self.found)
            log.info(
                "%s: going on from the checkpoint in epoch %d, batch %d of %d", self.description, state.epoch, state.batch, self.feed.num_batches
            )
        elif start or not options.epochs:
            value, loss, _ = self._validate()
            state.start_value = value
            state.consider(0, value, loss)
        left = (options.epochs - state.epoch + 1) * self.feed.num_batches - state.batch
        with deferred_interrupt() as interrupt, progress.bar(self.description, left * self.feed.batch_size) as bar:
            while state.epoch <= options.epochs and not self._stale():
                self._epoch(interrupt, bar)
        return self._finish()

    def _stale(self) -> bool:
        best, patience = self.state.best, self.options.patience
        stale = bool(patience and best and self.state.epoch - 1 - best.epoch >= patience)
        if stale:
            log.info("%s: no better validation for %d epochs: stopped after epoch %d", self.description, patience, self.state.epoch - 1)
        return stale

    def _epoch(self, interrupt: Interrupt, bar: progress.Progress) -> None:
        state, accumulate, num_batches = self.state, self.options.accumulate, self.feed.num_batches
        state.model.train()
        freeze(state.model, self.plan, state.epoch)
        began, first = time.monotonic(), state.batch
        figures = {"epoch": float(state.epoch)} | {
            name: value for name, value in (state.history[-1] if state.history else {}).items() if "val_" in name
        }
        for number, (images, targets) in enumerate(self.feed.batches(state.epoch, first), start=first):
            self._backward(images, targets, number)
            bar.update(self.feed.batch_size, **figures)
            if number + 1 < num_batches and (number + 1) % accumulate:
                continue
            self._optimizer_step((state.epoch - 1) * self.steps_per_epoch + number // accumulate)
            state.batch = number + 1
            if interrupt.requested or time.monotonic() - self.checkpointed > self.options.checkpoint_minutes * 60:
                self._look(number + 1)
                self._save()
            if interrupt.requested:
                raise KeyboardInterrupt
        self._look(num_batches)
        rate = (num_batches - first) * self.feed.batch_size / (time.monotonic() - began)
        self._end_epoch(rate)
        self._save()
        if interrupt.requested:
            raise KeyboardInterrupt

    def _backward(self, images_NCHW: torch.Tensor, targets: Sequence[Any], number: int) -> None:
        state, accumulate = self.state, self.options.accumulate
        share = min(accumulate, self.feed.num_batches - number // accumulate * accumulate)  # batches in this optimiser step
        try:
            loss = self._loss(self.forward, images_NCHW, targets, number)
            torch.autograd.backward(loss / share)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            error.__traceback__ = None  # it holds the tensors of the step
            state.optimizer.zero_grad()
            raise out_of_memory(partial(self._attempt, images_NCHW, targets, number), len(images_NCHW), accumulate, self.runtime.device) from None
        state.losses[number] = loss.detach()
        if self.runtime.device.type == "cpu" or number % _LOOK_EVERY == 0:
            self._look(number + 1)

    def _attempt(self, images_NCHW: torch.Tensor, targets: Sequence[Any], number: int, size: int) -> None:
        torch.autograd.backward(self._loss(self.state.model, images_NCHW[:size], targets[:size], number))

    def _loss(self, model: nn.Module, images_NCHW: torch.Tensor, targets: Sequence[Any], number: int) -> torch.Tensor:
        seed = derived_seed(self.options.seed, self.state.epoch, number)
        self.runtime.seed(seed)
        self.generator.manual_seed(seed)
        images, wanted = self.task.augment(images_NCHW, self.task.collate(targets, self.runtime.device), self.policy, self.generator)
        with self.runtime.autocast():
            return self.task.loss(model, self.runtime.images(images), wanted, self.loss_options)

    def _optimizer_step(self, step: int) -> None:
        state, options = self.state, self.options
        factor = lr_factor(options, step, self.steps_per_epoch)
        for group in state.optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor
        if options.clip_norm:
            torch.nn.utils.clip_grad_norm_(state.model.parameters(), options.clip_norm)
        state.optimizer.step()
        state.optimizer.zero_grad()
        if state.average:
            state.average.update(state.model, step)

    def _look(self, count: int) -> None:
        """Stop if one of the first `count` losses of the epoch is no number."""
        broken = (~self.state.losses[:count].isfinite()).nonzero()
        if len(broken):
            first, state = int(broken[0]), self.state
            raise InputError(
                f"{self.description}: the loss became {float(state.losses[first])} in epoch {state.epoch}, step {first + 1} of {len(state.losses)}. "
                f"Lower lr ({self.options.lr:g}), add warmup_epochs, or set clip_norm: 1.0; if bf16 was chosen, try precision: float32"
            )

    def _validate(self) -> tuple[float, float, dict[str, float]]:
        judged = self.state.judged
        size = max(256, self.options.batch_size)
        predictions = predict(self.task, judged, self.val.images, batch_size=size, runtime=self.runtime)
        scores = self.evaluator.score(self.evaluator.statistics(predictions, self.val_targets))
        return scores[self.evaluator.metric], scores.get("nll", 0.0), scores

    def _end_epoch(self, images_per_second: float) -> None:
        state = self.state
        value, loss, scores = self._validate()
        train_loss = float(state.losses.double().mean())
        row = {"epoch": state.epoch, "train_loss": train_loss}
        row |= {"val_loss": loss} if "nll" in scores else {}
        row |= {f"val_{self.evaluator.metric}": value, "lr": state.optimizer.param_groups[0]["lr"]}
        state.history.append(row)
        state.consider(state.epoch, value, loss)
        metrics = row | {f"val_{name}": score for name, score in scores.items()} | {"images_per_second": images_per_second}
        self.context.tracker.log_metrics({name: number for name, number in metrics.items() if name != "epoch"}, step=state.epoch)
        log.info(
            "%s: epoch %d/%d: loss %.4f, %s %.4f, %.0f images/s",
            *(self.description, state.epoch, self.options.epochs, train_loss, self.evaluator.metric, value, images_per_second),
        )
        state.epoch, state.batch = state.epoch + 1, 0
        state.losses.zero_()

    def _save(self) -> None:
        state = self.state
        done = (state.epoch - 1) * self.feed.num_batches + state.batch
        self.checkpoints.save(done, {**state.stored(), "settings": self.runtime.settings()})
        self.checkpointed = time.monotonic()

    def _finish(self) -> Fit:
        state, best = self.state, self.state.best
        if best is None:
            raise AssertionError("neither the start nor an epoch was judged")
        state.model.to("cpu").to(memory_format=torch.contiguous_format)
        state.model.load_state_dict(best.weights)
        state.model.requires_grad_(True).eval()
        return Fit(
            best_epoch=best.epoch,
            num_epochs=len(state.history),
            metric=self.evaluator.metric,
            value=best.value,
            start_value=state.start_value,
            settings=self.runtime.settings() | {"batch_size": self.feed.batch_size},
            history=state.history,
        )
