"""The training loop against `plain_loop.py` on the same images in the same settings."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import nn

from benchmarks import cifar10, plain_loop
from benchmarks.pairs import Pairs, interleaved
from benchmarks.rows import Row
from components.datasets.policy import Policy
from components.protocols import Context, NullTracker, plugin
from components.training.loop import fit
from components.training.options import FitOptions
from components.training.problem import Problem

EPOCHS, LR = 2, 0.01  # the first epoch warms up, the last is measured


class Rate(NullTracker):
    """Keeps the last epoch's images per second."""

    images_per_second = 0.0

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:  # noqa: ARG002
        """Listen."""
        self.images_per_second = metrics["images_per_second"]


def fresh(model: str, options: dict[str, object]) -> nn.Module:
    """Return a network on CIFAR-10 with the same random weights each time."""
    torch.manual_seed(0)
    task = plugin("components.tasks", "task", "classification")
    network: nn.Module = task.build_model(cifar10.spec_of(model, options))
    return network


def apart(contender: Callable[[], float]) -> float:
    """Return what a contender measures in a fork of this process: neither finds threads, caches or memory that the other one left."""
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe(duplex=False)
    process = fork.Process(target=lambda: there.send(contender()))
    process.start()
    there.close()
    rate: float = here.recv()
    process.join()
    return rate


def measure(model: str, options: dict[str, object], batch_size: int, num_batches: int, num_pairs: int, fit_options: Mapping[str, object]) -> Pairs:
    """Return the rates of the loop and of the plain loop, measured in turn."""
    spec = cifar10.spec_of(model, options)
    task = plugin("components.tasks", "task", "classification")
    evaluator = plugin("components.evaluation.metrics", "task", "classification")(spec.classes)
    train, val = cifar10.first(batch_size * num_batches), cifar10.first(8, "val")
    labels = np.asarray(evaluator.targets(train.rows), dtype=np.int64)
    settings = {
        "epochs": EPOCHS,
        "batch_size": batch_size,
        "lr": LR,
        "optimizer": "sgd",
        "schedule": "constant",
        "num_threads": torch.get_num_threads(),
    }

    def ours() -> float:
        rate = Rate()
        chosen = FitOptions.model_validate(settings | dict(fit_options))
        fit(Problem(fresh(model, options), spec, task, evaluator, train, val), chosen, Policy(), context=Context(tracker=rate))
        return rate.images_per_second

    def theirs() -> float:
        return plain_loop.train(fresh(model, options), train.images, labels, EPOCHS, batch_size, LR)

    return interleaved(lambda: apart(ours), lambda: apart(theirs), num_pairs, f"{model}, {fit_options.get('precision', 'auto')}")


def rows() -> list[Row]:
    """Measure."""
    plain = {"device": "cpu", "precision": "float32", "channels_last": "off", "compile": "off"}
    found = []
    for model, options, batch_size, num_batches in (("resnet9", {"width": 16}, 128, 8), ("resnet18", {}, 64, 6)):
        pairs = measure(model, dict(options), batch_size, num_batches, 5, plain)
        measured = f"{pairs.ours:,.0f} against {pairs.theirs:,.0f} images/s: {pairs.ratio:.2f}× ({pairs.low:.2f} to {pairs.high:.2f})"
        name = f"training throughput, {model} at 32 px in float32, against the plain loop"
        found.append(Row(name, measured, "1.0×", pairs.ratio, pairs.ratio >= 1.0, "same images, batch, optimiser, threads; interleaved pairs"))
    return found
