"""The one training loop: train, finetune and the recovery of a compressed model. It knows a task only by its seams."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from typing import Any

import torch

from components import progress
from components.datasets.policy import Policy
from components.errors import DataError, InputError
from components.protocols import Context
from components.training.checkpoint import Checkpoints, folder_in
from components.training.distillation import Distillation
from components.training.feed import Feed
from components.training.fingerprint import fingerprint
from components.training.inference import predict_originals
from components.training.interrupts import Interrupt, deferred_interrupt
from components.training.learner import Learner
from components.training.memory import kept_memory
from components.training.multiply_adds import multiply_adds
from components.training.optimizers import ParameterPlan, everything
from components.training.options import FitOptions
from components.training.problem import Problem
from components.training.runtime import Runtime, choose_runtime, restored_runtime, threads

log = logging.getLogger(__name__)


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
    problem: Problem,
    options: FitOptions,
    policy: Policy,
    *,
    context: Context,
    description: str = "train",
    plan: ParameterPlan | None = None,
    start: bool = False,
    distillation: Distillation | None = None,
) -> Fit:
    """Train the problem's model in place and leave the best weights by validation in it: float32, on the CPU, in evaluation mode.

    Checkpoints go under `context.scratch` at every epoch and every `checkpoint_minutes`; a training that finds one there goes on from it,
    and ends with the weights that it would have had (bit by bit on a CPU with as many threads). The two latest stay.

    Args:
        problem: The network, what it learns and who judges it.
        options: How.
        policy: The random policy of the training images.
        context: Tracker and scratch folder.
        description: For progress and log lines.
        plan: Which parameters learn at which rate from when; None: all at `options.lr` from the start.
        start: Whether the weights it starts from take part in the choice.
        distillation: A teacher to learn from besides the targets.

    Returns:
        What it came to.

    Raises:
        DataError: A split is empty.
        ConfigError: The device is not there, or the model cannot take such images.
        InputError: The loss is no number any more, memory ran out, or the disk is full.
        KeyboardInterrupt: Ctrl-C, after a checkpoint.
    """
    problem.check()
    loop = _Loop(problem, options, policy, context, description, plan or everything(problem.model, options.lr), distillation)
    with threads(loop.runtime.num_threads), kept_memory():
        return loop.run(start)


class _Loop:
    def __init__(
        self,
        problem: Problem,
        options: FitOptions,
        policy: Policy,
        context: Context,
        description: str,
        plan: ParameterPlan,
        distillation: Distillation | None,
    ) -> None:
        self.problem, self.options, self.policy, self.context, self.description = problem, options, policy, context, description
        model, spec, train = problem.model, problem.spec, problem.train
        self.val_targets = problem.evaluator.targets(problem.val.rows)
        targets = problem.training_targets()
        self.checkpoints = Checkpoints(folder_in(context.scratch), fingerprint(model, spec, options, policy, plan, train, distillation))
        self.found = self.checkpoints.latest()
        self.runtime: Runtime = choose_runtime(options, model, multiply_adds(model, spec.preprocess))
        if self.found:
            self.runtime = restored_runtime(self.found["settings"], self.runtime)
        self.runtime.place(model)
        self.feed = Feed(train.images, targets, train.order, options.batch_size, options.seed, self.runtime.device)
        self.learner = Learner(problem, targets, options, policy, plan, self.feed, self.runtime, distillation=distillation, description=description)
        self.state = self.learner.state
        self.checkpointed = time.monotonic()

    def run(self, start: bool) -> Fit:
        state, options = self.state, self.options
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
        state, num_batches = self.state, self.feed.num_batches
        self.learner.begin_epoch()
        began, first = time.monotonic(), state.batch
        figures = {"epoch": float(state.epoch)} | {
            name: value for name, value in (state.history[-1] if state.history else {}).items() if "val_" in name
        }
        for number, (images, targets) in enumerate(self.feed.batches(state.epoch, first), start=first):
            stepped = self.learner.learn(images, targets, number)
            bar.update(self.feed.batch_size, **figures)
            if not stepped:
                continue
            if interrupt.requested or time.monotonic() - self.checkpointed > self.options.checkpoint_minutes * 60:
                self.learner.look(number + 1)
                self._save()
            if interrupt.requested:
                raise KeyboardInterrupt
        self.learner.look(num_batches)
        rate = (num_batches - first) * self.feed.batch_size / (time.monotonic() - began)
        self._end_epoch(rate)
        self._save()
        if interrupt.requested:
            raise KeyboardInterrupt

    def _validate(self) -> tuple[float, float, dict[str, float]]:
        judged = self.state.judged
        size = max(256, self.options.batch_size)
        problem = self.problem
        predictions = predict_originals(problem.task, judged, problem.val, problem.spec.preprocess, batch_size=size, runtime=self.runtime)
        try:
            statistics = problem.evaluator.statistics(predictions, self.val_targets)
        except DataError as error:  # the loss is that of the weights before the last step: it can be a number still
            when = f"after epoch {self.state.epoch}" if self.state.batch else "before the first step"
            what = f"{self.description}: {when} the network answers nothing that can be judged: {error}"
            raise InputError(f"{what}. {self.learner.advice if self.state.batch else 'Its start weights are damaged'}") from None
        scores = problem.evaluator.score(statistics)
        value = scores[self.problem.evaluator.metric]
        if math.isnan(value):
            raise DataError("the validation images show nothing that is to be found: no epoch could be chosen. Label some, or raise split.shares.val")
        return value, scores.get("nll", 0.0), scores

    def _end_epoch(self, images_per_second: float) -> None:
        state = self.state
        value, loss, scores = self._validate()
        train_loss = float(state.losses.double().mean())
        row = {"epoch": state.epoch, "train_loss": train_loss}
        row |= {"val_loss": loss} if "nll" in scores else {}
        row |= {f"val_{self.problem.evaluator.metric}": value, "lr": state.optimizer.param_groups[0]["lr"]}
        state.history.append(row)
        state.consider(state.epoch, value, loss)
        metrics = row | {f"val_{name}": score for name, score in scores.items()} | {"images_per_second": images_per_second}
        self.context.tracker.log_metrics({name: number for name, number in metrics.items() if name != "epoch"}, step=state.epoch)
        log.info(
            "%s: epoch %d/%d: loss %.4f, %s %.4f, %.0f images/s",
            *(self.description, state.epoch, self.options.epochs, train_loss, self.problem.evaluator.metric, value, images_per_second),
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
            metric=self.problem.evaluator.metric,
            value=best.value,
            start_value=state.start_value,
            settings=self.runtime.settings() | {"batch_size": self.feed.batch_size},
            history=state.history,
        )
