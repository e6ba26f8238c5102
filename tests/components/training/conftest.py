"""A small problem that a small network learns in a few steps: which quarter of the image is bright."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from torch import nn

from components.datasets.policy import Policy
from components.datasets.prepared import PreparedSplit
from components.protocols import Context, Evaluator, Task, plugin
from components.records import DatasetRef, ModelSpec, Preprocess
from components.training.initial import initial_model
from components.training.loop import Fit, fit
from components.training.options import FitOptions
from components.training.problem import Problem as Posed

SIDE = 8
CLASSES = ["north-west", "north-east", "south-west", "south-east"]


def quarters(num: int, seed: int) -> PreparedSplit:
    draws = np.random.default_rng(seed)
    images = draws.integers(0, 100, (num, SIDE, SIDE, 1), dtype=np.uint8)
    labels = np.arange(num) % 4
    for image, label in zip(images, labels, strict=True):
        image[label // 2 * 4 : label // 2 * 4 + 4, label % 2 * 4 : label % 2 * 4 + 4] += 100
    return PreparedSplit(images, pd.DataFrame({"label": [CLASSES[label] for label in labels]}), np.arange(num))


@dataclass
class Problem:
    task: Task
    evaluator: Evaluator
    spec: ModelSpec
    train: PreparedSplit
    val: PreparedSplit

    def model(self, seed: int = 0, **options: Any) -> nn.Module:
        spec = self.spec.model_copy(update={"model_options": {"width": 4} | options})
        return initial_model(self.task, spec, "random", None, seed)[0]  # type: ignore[arg-type]

    def fit(self, model: nn.Module, context: Context | None = None, policy: Policy | None = None, **keywords: Any) -> Fit:
        extra = {name: keywords.pop(name) for name in ("plan", "start", "description", "distillation") if name in keywords}
        options = FitOptions(**{"epochs": 2, "batch_size": 16, "lr": 0.01} | keywords)
        policy = policy or Policy(horizontal_flip=0.0, crop=0.1)
        posed = Posed(model, self.spec, self.task, self.evaluator, self.train, self.val)
        return fit(posed, options, policy, context=context or Context(), **extra)


@pytest.fixture(scope="session")
def make_spec() -> Callable[..., ModelSpec]:
    def make(**changes: Any) -> ModelSpec:
        values = {
            "task": "classification",
            "model": "resnet9",
            "model_options": {"width": 4},
            "classes": CLASSES,
            "preprocess": Preprocess(size_hw=(SIDE, SIDE), channels=1, resize="stretch"),
            "mean": [0.3],
            "std": [0.3],
            "dataset": DatasetRef(name="quarters", version="1", manifest_digest="0", num_images=0),
            "training_digest": "0",
        }
        return ModelSpec.model_validate(values | changes)

    return make


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], dict[str, torch.Tensor]]:
    """Weights of torchvision as torch's cache holds them after a download: random ones, under the names that are looked for."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))

    def publish(model: str, name: str) -> dict[str, torch.Tensor]:
        torch.manual_seed(1)
        inner = {} if model in torchvision.models.list_models(module=torchvision.models) else {"weights_backbone": None}
        state: dict[str, torch.Tensor] = torchvision.models.get_model(model, weights=None, **inner).state_dict()
        for tensor in state.values():
            if tensor.is_floating_point():
                tensor.add_(torch.rand_like(tensor) / 100)  # none is all zeros or ones
        url = torchvision.models.get_model_weights(model)[name].url
        file = tmp_path / "cache/hub/checkpoints" / url.rpartition("/")[2]
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, file)
        return state

    return publish


@pytest.fixture
def problem(make_spec: Callable[..., ModelSpec]) -> Problem:
    task = plugin("components.tasks", "task", "classification")
    evaluator = plugin("components.evaluation.metrics", "task", "classification")(CLASSES)
    return Problem(task, evaluator, make_spec(), quarters(96, 1), quarters(32, 2))
