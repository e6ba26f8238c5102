from __future__ import annotations

import logging
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from components.datasets.policy import Policy
from components.datasets.prepared import PreparedSplit
from components.errors import ConfigError, DataError, InputError
from components.networks.classification.models import build, head_names
from components.protocols import Context, NullTracker
from components.training.optimizers import ParameterGroup, everything, freeze, gradual


def weights_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


class Recorder(NullTracker):
    """Keeps what it hears; does something at an epoch, if asked."""

    def __init__(self, at_epoch: int = 0, action: Any = None) -> None:
        self.metrics: list[dict[str, float]] = []
        self.at_epoch, self.action = at_epoch, action

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        self.metrics.append(dict(metrics))
        if step == self.at_epoch:
            self.action()


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop"])
@pytest.mark.parametrize("schedule", ["cosine", "step", "onecycle", "constant"])
def test_every_optimizer_learns_under_every_schedule(problem: Any, optimizer: str, schedule: str) -> None:
    lr = {"sgd": 0.05, "rmsprop": 0.0005}.get(optimizer, 0.01)
    result = problem.fit(problem.model(), optimizer=optimizer, schedule=schedule, lr=lr, epochs=4, step_epochs=2)
    assert result.value > 0.9


def test_the_same_seed_gives_the_same_weights_and_another_one_others(problem: Any) -> None:
    models = [problem.model() for _ in range(3)]
    for model, seed in zip(models, (1, 1, 2), strict=True):
        problem.fit(model, seed=seed)
    assert same(models[0], models[1])
    assert not same(models[0], models[2])


def test_an_epoch_tells_its_figures(problem: Any) -> None:
    recorder = Recorder()
    result = problem.fit(problem.model(), Context(tracker=recorder))
    assert [row["epoch"] for row in result.history] == [1, 2]
    assert set(result.history[0]) == {"epoch", "train_loss", "val_loss", "val_accuracy", "lr"}
    assert {"train_loss", "val_accuracy", "val_f1", "lr", "images_per_second"} <= set(recorder.metrics[-1])
    assert {"device", "precision", "compile", "channels_last", "num_threads"} <= set(result.settings)


def test_accumulated_batches_are_one_large_batch(problem: Any) -> None:
    problem.train = PreparedSplit(problem.train.images, problem.train.rows, np.arange(64))
    flat = [nn.Sequential(nn.Flatten(), nn.Linear(64, 4)) for _ in range(2)]
    flat[1].load_state_dict(flat[0].state_dict())
    problem.fit(flat[0], batch_size=32, optimizer="sgd", epochs=1, policy=Policy(), precision="float32")
    problem.fit(flat[1], batch_size=8, accumulate=4, optimizer="sgd", epochs=1, policy=Policy(), precision="float32")
    for a, b in zip(flat[0].parameters(), flat[1].parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_the_moving_average_is_what_is_kept(problem: Any) -> None:
    plain, averaged = problem.model(), problem.model()
    problem.fit(plain)
    problem.fit(averaged, ema=0.99)
    assert not same(plain, averaged)
    assert int(plain.state_dict()["network.stem.1.num_batches_tracked"]) == int(averaged.state_dict()["network.stem.1.num_batches_tracked"])


def test_clipping_bounds_the_step(problem: Any) -> None:
    model = problem.model()
    before = weights_of(model)
    problem.fit(model, optimizer="sgd", momentum=0.0, lr=1.0, schedule="constant", clip_norm=1e-6, epochs=1)
    moved = max(
        float((model.state_dict()[name] - tensor).abs().max()) for name, tensor in before.items() if "running" not in name and "num" not in name
    )
    assert 0 < moved < 1e-4


def test_it_stops_early_and_keeps_the_best(problem: Any) -> None:
    result = problem.fit(problem.model(), epochs=30, patience=2, lr=1e-12, schedule="constant", optimizer="sgd", momentum=0.0)
    assert result.num_epochs == result.best_epoch + 2 < 30


def test_no_epochs_pass_the_start_through(problem: Any) -> None:
    model = problem.model()
    before = weights_of(model)
    result = problem.fit(model, epochs=0)
    assert (result.best_epoch, result.history) == (0, [])
    assert result.value == result.start_value
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_weights_that_only_get_worse_stay_as_they_started(problem: Any) -> None:
    model = problem.model()
    problem.fit(model, epochs=4)
    good = weights_of(model)
    result = problem.fit(model, start=True, lr=50.0, optimizer="sgd", clip_norm=1.0, epochs=1, schedule="constant", momentum=0.0)
    assert result.best_epoch == 0
    assert all(torch.equal(tensor, good[name]) for name, tensor in model.state_dict().items())


def test_parts_learn_at_their_rate_from_their_epoch(problem: Any) -> None:
    model = problem.model()
    head = tuple(name for name, _ in model.named_parameters() if "head" in name)
    rest = tuple(name for name, _ in model.named_parameters() if "head" not in name)
    before = weights_of(model)
    problem.fit(model, epochs=1, plan=[ParameterGroup(head, 0.01), ParameterGroup(rest, 0.01, from_epoch=2)])
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == set(head)  # not even the norms' statistics
    problem.fit(model, epochs=2, plan=[ParameterGroup(head, 0.01), ParameterGroup(rest, 0.01, from_epoch=2)])
    assert not torch.equal(model.state_dict()["network.stem.0.weight"], before["network.stem.0.weight"])


def test_norms_without_weights_keep_their_statistics_with_the_layers_before_them() -> None:
    model = build("whitened_vgg", 4, 1, (32, 32), {"width": 8})
    plan = gradual(model, head_names(model), 0.01, 0.01, unfreeze_epochs=3)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    learn = []
    for epoch in (1, 2, 3, 4):
        freeze(model.train(), plan, epoch)
        learn.append("".join("x" if norm.training else "-" for norm in norms))
    assert learn == ["-------", "-----xx", "---xxxx", "xxxxxxx"]
    freeze(model.train(), everything(model, 0.01), 1)
    assert all(norm.training for norm in norms)


def test_frozen_norms_stay_as_they_started_while_the_rest_learns(problem: Any) -> None:
    with pytest.raises(ConfigError, match=r"batch_norm: found frozen; no norm here has seen an image\. Start from trained weights"):
        problem.fit(problem.model(), batch_norm="frozen")
    model = problem.model()
    problem.fit(model, epochs=1)
    before = weights_of(model)
    problem.fit(model, epochs=1, batch_norm="frozen", ema=0.9, weight_decay=0.1)
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    norms = {name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}
    assert norms
    assert changed == {name for name in before if name.rpartition(".")[0] not in norms}
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_norms_that_are_new_learn_beside_frozen_ones(problem: Any) -> None:
    model = problem.model()
    problem.fit(model, epochs=1)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    first, last = norms[0], norms[-1]
    last.reset_parameters()
    kept = weights_of(first)
    problem.fit(model, epochs=2, batch_norm="frozen")
    assert all(torch.equal(tensor, kept[name]) for name, tensor in first.state_dict().items())
    assert last.state_dict()["running_mean"].any()
    assert (last.weight != 1).any()


def test_images_are_mixed_in_the_epochs_that_the_policy_says(problem: Any) -> None:
    seen: list[Policy] = []

    class Watching:
        def __getattr__(self, name: str) -> Any:
            return getattr(problem_task, name)

        def augment(self, images: torch.Tensor, targets: Any, policy: Policy, generator: torch.Generator) -> Any:
            seen.append(policy)
            return problem_task.augment(images, targets, policy, generator)

    problem_task = problem.task
    problem.task = Watching()
    policy = Policy(mixup=0.2, crop=0.1)
    problem.fit(problem.model(), epochs=5, batch_size=96, policy=policy.model_copy(update={"mixed_epochs": 0.6}))
    assert [each.mixup for each in seen] == [0.2, 0.2, 0.2, 0.0, 0.0]
    assert {each.crop for each in seen} == {0.1}
    seen.clear()
    problem.fit(problem.model(), epochs=1, batch_size=96, policy=policy)
    assert [each.mixup for each in seen] == [0.2]


@pytest.mark.parametrize(
    ("in_training", "count", "text"),
    [
        pytest.param(True, 9, r"the loss became nan in epoch 2, step 3 of 6\. Lower lr \(0\.01\)", id="the loss"),
        pytest.param(False, 12, r"after epoch 2 the network answers nothing that can be judged: 32 of 32 .*\. Lower lr", id="after the last step"),
        pytest.param(False, 0, r"before the first step the network answers nothing .* start weights are damaged", id="the start weights"),
    ],
)
def test_what_is_no_number_stops_at_once_and_names_the_step(problem: Any, in_training: bool, count: int, text: str) -> None:
    class Breaks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.count = nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), 0

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            self.count += self.training
            logits: torch.Tensor = self.inner(images)
            return logits * float("nan") if self.training is in_training and self.count == count else logits

    with pytest.raises(InputError, match=text):
        problem.fit(Breaks(), start=not count)


def test_out_of_memory_says_which_batch_size_fits(problem: Any) -> None:
    class Hungry(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if self.training and len(images) > 5:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            logits: torch.Tensor = self.inner(images)
            return logits

    with pytest.raises(InputError, match=r"out of memory on cpu with batch_size 16; batch_size 4 fits .*accumulate: 4"):
        problem.fit(Hungry())


@pytest.mark.parametrize("side", ["train", "val"])
def test_an_empty_split(problem: Any, side: str) -> None:
    split = getattr(problem, side)
    setattr(problem, side, PreparedSplit(split.images[:0], split.rows[:0], split.order[:0]))
    with pytest.raises(DataError, match=f"the split {side} is empty"):
        problem.fit(problem.model())


def test_balance_shows_images_as_often_as_the_order_says(problem: Any) -> None:
    seen: list[int] = []

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(problem_task, name)

        def collate(self, targets: Any, device: torch.device) -> Any:
            seen.extend(int(target) for target in targets)
            return problem_task.collate(targets, device)

    problem_task = problem.task
    problem.task = Counting()
    order = np.concatenate([np.arange(0, 96, 4)] * 5 + [np.arange(1, 96, 4)])  # class 0 five times as often as class 1, the others never
    problem.train = PreparedSplit(problem.train.images, problem.train.rows, order)
    problem.fit(problem.model(), epochs=1, batch_size=16)
    assert (seen.count(0), seen.count(1), len(seen)) == (120, 24, 144)


def test_ctrl_c_leaves_a_checkpoint_and_the_next_run_goes_on(problem: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = problem.model()
    expected = problem.fit(whole, epochs=3)
    interrupting = Recorder(at_epoch=1, action=lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        problem.fit(problem.model(), Context(tracker=interrupting, scratch=tmp_path), epochs=3)
    again = problem.model()
    with caplog.at_level(logging.INFO):
        result = problem.fit(again, Context(scratch=tmp_path), epochs=3)
    assert "going on from the checkpoint in epoch 2" in caplog.text
    assert same(again, whole)
    assert result.history == expected.history


def test_other_parameters_do_not_go_on_from_this_checkpoint(problem: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    problem.fit(problem.model(), Context(scratch=tmp_path))
    with caplog.at_level(logging.INFO):
        fresh, resumed = problem.model(), problem.model()
        problem.fit(fresh, policy=Policy(rotate=5.0))
        problem.fit(resumed, Context(scratch=tmp_path), policy=Policy(rotate=5.0))
    assert "belongs to other parameters" in caplog.text
    assert same(fresh, resumed)
