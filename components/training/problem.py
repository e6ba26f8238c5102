"""A network and what it is to learn: what `fit` is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from components.datasets.prepared import Prepared, PreparedSplit
from components.errors import DataError
from components.protocols import Evaluator, Task, plugin
from components.records import ModelSpec
from components.serving.restoring import sizes_of


@dataclass(frozen=True)
class Problem:
    """What is learnt by whom, and who judges it.

    Attributes:
        model: images_NCHW in 0..1 → outputs of the task; its weights change.
        spec: Of the model: classes, size.
        task: What is learnt.
        evaluator: Targets and metrics.
        train: Images to learn from, with the order that balances them.
        val: Images that choose the best epoch.
    """

    model: nn.Module
    spec: ModelSpec
    task: Task
    evaluator: Evaluator
    train: PreparedSplit
    val: PreparedSplit

    @classmethod
    def of(cls, model: nn.Module, spec: ModelSpec, prepared: Prepared) -> Problem:
        """Return the problem that a spec's task poses to its network on prepared data, at the size that the spec names.

        Raises:
            ConfigError: There is no such task.
            DataError: The prepared data is damaged.
        """
        task: Task = plugin("components.tasks", "task", spec.task)
        evaluator: Evaluator = plugin("components.evaluation.metrics", "task", spec.task)(spec.classes)
        size = spec.preprocess.size_hw
        return cls(model, spec, task, evaluator, prepared.split("train", size), prepared.split("val", size))

    def training_targets(self) -> Sequence[Any]:
        """Return the targets of the training images, in the network's pixels."""
        rows, preprocess = self.train.rows, self.spec.preprocess
        return self.task.place(self.evaluator.targets(rows), sizes_of(rows, preprocess), preprocess)

    def check(self) -> None:
        """Look that there is something to learn from and to judge by.

        Raises:
            DataError: A split is empty.
        """
        for name, split in (("train", self.train), ("val", self.val)):
            if not len(split.images):
                raise DataError(f"the split {name} is empty: a training needs images to learn from and images to judge by. See split.shares")
