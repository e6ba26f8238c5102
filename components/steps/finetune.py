"""finetune: a trained network goes on, gently, perhaps at another resolution; the better of before and after goes on."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field, model_validator

from components.config import Section, TaskConfig
from components.datasets.policy import Policy
from components.datasets.prepared import Prepared
from components.errors import DataError
from components.protocols import Context, plugin
from components.records import TrainRecord
from components.steps._training import train_into
from components.training.options import FitOptions, LoopOptions

log = logging.getLogger(__name__)


class FinetuneConfig(LoopOptions, Section):
    """The section `finetune` of params.yaml."""

    section: ClassVar[str] = "finetune"
    epochs: int = Field(default=2, ge=0, description="0: the model passes through")
    lr_head: float = Field(default=5e-4, gt=0, le=100, description="of the last layer, at the peak of the schedule")
    lr_backbone: float = Field(default=1e-4, gt=0, le=100, description="of all others")
    unfreeze_epochs: int = Field(default=0, ge=0, description="the backbone joins in as many parts, one an epoch after the first; 0: at once")
    policy_strength: float = Field(default=0.5, ge=0, le=1, description="how much of the random policy stays; 1: all")
    policy: Policy | None = Field(default=None, description="a random policy of its own, as it is; null: augment.policy at policy_strength")

    @model_validator(mode="after")
    def _all_thaw(self) -> Self:
        if self.epochs and self.unfreeze_epochs >= self.epochs:
            raise ValueError(f"unfreeze_epochs {self.unfreeze_epochs} of {self.epochs} epochs: a part would never learn; make it smaller")
        return self

    def fit_options(self) -> FitOptions:
        """Return what the loop reads."""
        return FitOptions(**self.model_dump(include=set(LoopOptions.model_fields)), lr=self.lr_head)


def finetune(config: FinetuneConfig, task: TaskConfig, data: Path, model: Path, out: Path, context: Context) -> TrainRecord:
    """Go on from a trained model.

    Args:
        config: The section `finetune`.
        task: The section `task`; `finetune_image_size` is the size from here on.
        data: The prepared data.
        model: The folder of the trained model.
        out: The folder to write: weights.safetensors, spec.json, summary.json, history.csv.
        context: Hears the metrics; its scratch folder holds what a killed training goes on from.

    Returns:
        What the training came to; `start_value` is the model's value before.

    Raises:
        ConfigError: Settings that do not go together.
        DataError: The data or the model is missing, or they have different classes.
        InputError: The loss is no number any more, memory ran out, or the disk is full.
    """
    from components.augmentation.random_policy import scaled
    from components.training.model_files import load_model
    from components.training.optimizers import gradual
    from components.training.problem import Problem
    from components.training.resizing import resized

    prepared = Prepared.open(data)
    learnt = plugin("components.tasks", "task", task.name)
    network, spec = load_model(model)
    if spec.classes != prepared.record.classes:
        raise DataError(f"{model} knows the classes {', '.join(spec.classes)}; {data} has {', '.join(prepared.record.classes)}. Run train again")
    network, spec = resized(learnt, network, spec, task.finetune_size_hw)
    record = train_into(
        out,
        Problem.of(network, spec, prepared),
        config.fit_options(),
        config.policy or scaled(Policy.model_validate(prepared.policy), config.policy_strength),
        context=context,
        loaded="the trained model",
        description=f"finetune {spec.model}",
        plan=gradual(network, learnt.head_names(network), config.lr_head, config.lr_backbone, config.unfreeze_epochs),
        start=True,
    )
    verdict = f"epoch {record.best_epoch} of {record.num_epochs} goes on" if record.best_epoch else "the model before goes on"
    log.info("%s on the validation images: %.4f before, %.4f after; %s", record.metric, record.start_value or 0.0, record.value, verdict)
    return record
