from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from components.protocols import Context, Distiller
from components.training.distillation import Distillation
from components.training.options import DistillOptions, FitOptions


def taught(problem: Any, **options: float) -> Distillation:
    """A teacher that has learnt the problem."""
    teacher = problem.model()
    problem.fit(teacher, epochs=4)
    found = Distillation.of(problem.task, teacher, DistillOptions(**options))
    assert found is not None
    return found


def distance(problem: Any, model: nn.Module, teacher: nn.Module, temperature: float = 1.0) -> float:
    images = torch.from_numpy(problem.val.images).permute(0, 3, 1, 2) / 255
    targets = problem.task.collate(problem.evaluator.targets(problem.val.rows), torch.device("cpu"))
    options = problem.task.loss_options(FitOptions().model_dump(), targets, problem.spec.classes)
    distiller = problem.task
    assert isinstance(distiller, Distiller)
    with torch.no_grad():
        loss, apart = distiller.distillation_losses(model.eval(), teacher, images, targets, options, temperature)
        assert float(loss) == pytest.approx(float(problem.task.loss(model, images, targets, options)))
    return float(apart)


def test_a_student_comes_to_think_as_its_teacher_even_where_the_labels_say_otherwise(problem: Any) -> None:
    distillation = taught(problem, weight=1.0)
    before = {name: tensor.clone() for name, tensor in distillation.teacher.state_dict().items()}
    student = problem.model(seed=1)
    started = distance(problem, student, distillation.teacher)
    labels = problem.train.rows["label"].sample(frac=1, random_state=0).to_list()
    problem.train = type(problem.train)(problem.train.images, problem.train.rows.assign(label=labels), problem.train.order)
    result = problem.fit(student, epochs=6, distillation=distillation)
    assert result.value > 0.9  # by the validation images, whose labels are right
    assert distance(problem, student, distillation.teacher) < started / 4
    assert all(torch.equal(tensor, before[name]) for name, tensor in distillation.teacher.state_dict().items())


def test_a_training_without_a_teacher_is_not_gone_on_with(problem: Any, tmp_path: Path) -> None:
    distillation = taught(problem, weight=1.0)
    fresh, resumed = problem.model(seed=1), problem.model(seed=1)
    problem.fit(problem.model(seed=1), Context(scratch=tmp_path))
    problem.fit(fresh, distillation=distillation)
    problem.fit(resumed, Context(scratch=tmp_path), distillation=distillation)
    assert all(torch.equal(tensor, resumed.state_dict()[name]) for name, tensor in fresh.state_dict().items())


def test_no_weight_is_no_teacher(problem: Any) -> None:
    assert Distillation.of(problem.task, problem.model(), DistillOptions(weight=0.0)) is None


def test_a_task_that_cannot_be_taught_learns_from_its_targets_and_says_so(problem: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Untaught:
        name = "untaught"

    with caplog.at_level(logging.INFO):
        assert Distillation.of(Untaught(), problem.model(), DistillOptions(weight=0.5)) is None  # type: ignore[arg-type]
    assert "the task untaught has no distillation loss" in caplog.text


def test_the_temperature_leaves_the_scale_of_the_distance(problem: Any) -> None:
    torch.manual_seed(0)
    model, teacher = problem.model(seed=1), problem.model(seed=2).eval()
    assert distance(problem, teacher, teacher) == pytest.approx(0.0, abs=1e-6)
    cool, hot = distance(problem, model, teacher, 2.0), distance(problem, model, teacher, 50.0)
    assert 0 < cool < 4 * hot < 16 * cool


def test_a_killed_recovery_with_a_teacher_ends_with_the_same_bits(problem: Any, tmp_path: Any) -> None:
    from components.protocols import Context, NullTracker

    class Impatient(NullTracker):
        def log_metrics(self, metrics: Any, step: int) -> None:
            raise KeyboardInterrupt

    distillation = taught(problem, weight=0.5)
    whole, killed = problem.model(seed=1), problem.model(seed=1)
    problem.fit(whole, distillation=distillation)
    with pytest.raises(KeyboardInterrupt):
        problem.fit(killed, Context(tracker=Impatient(), scratch=tmp_path), distillation=distillation, checkpoint_minutes=1e-6)
    killed = problem.model(seed=1)
    problem.fit(killed, Context(scratch=tmp_path), distillation=distillation, checkpoint_minutes=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), killed.state_dict().values(), strict=True))
