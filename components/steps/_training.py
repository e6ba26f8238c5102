"""How train and finetune end alike: learn, write."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.datasets.policy import Policy
from components.protocols import Context
from components.records import TrainRecord

if TYPE_CHECKING:
    from components.training.options import FitOptions
    from components.training.problem import Problem


def train_into(out: Path, problem: Problem, options: FitOptions, policy: Policy, *, context: Context, loaded: str, **keywords: Any) -> TrainRecord:
    """Train a network and write all that a training leaves: weights.safetensors, spec.json, summary.json, history.csv.

    Args:
        out: The folder; complete or as it was before.
        problem: The network, what it learns and who judges it.
        options: How.
        policy: The random policy of the training images.
        context: Hears the metrics; its scratch folder holds what a killed training goes on from.
        loaded: What the weights started from.
        keywords: More for `training.loop.fit`.

    Returns:
        What the training came to.
    """
    from components.training.loop import fit
    from components.training.model_files import write_training

    spec = problem.spec
    context.tracker.set_tags({"dataset": spec.dataset.name, "dataset_version": spec.dataset.version, "model": spec.model})
    result = fit(problem, options, policy, context=context, **keywords)
    return write_training(out, result, problem.model, spec, loaded)
