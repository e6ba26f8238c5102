"""train: a network learns from the prepared images."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from components.config import Section, TaskConfig
from components.datasets.policy import Policy
from components.datasets.prepared import Prepared
from components.errors import ConfigError
from components.protocols import Context, plugin
from components.records import ModelSpec, Preprocess, TrainRecord
from components.steps._training import train_into
from components.training.options import FitOptions

log = logging.getLogger(__name__)

_INIT = (
    "random | torchvision:WEIGHTS (the network's own, as COCO_V1; its backbone's, as IMAGENET1K_V1; or torchvision's full name of any, "
    "as ResNet18_Weights.IMAGENET1K_V1) | file:PATH (safetensors; DVC does not watch it) | registered"
)


class TrainConfig(FitOptions, Section):
    """The section `train` of params.yaml."""

    section: ClassVar[str] = "train"
    model: str = Field(default="resnet9", description="one of the task's networks, of ours or torchvision's")
    model_options: dict[str, Any] = Field(default={}, description="arguments of the network's constructor")
    init: str = Field(default="random", description=_INIT)


def train(config: TrainConfig, task: TaskConfig, data: Path, start: Path, out: Path, context: Context) -> TrainRecord:
    """Train a network; the best weights by validation are kept.

    Args:
        config: The section `train`.
        task: The section `task`.
        data: The prepared data.
        start: The folder that says which registered model `init: registered` means.
        out: The folder to write: weights.safetensors, spec.json, summary.json, history.csv.
        context: Hears the metrics; its scratch folder holds what a killed training goes on from.

    Returns:
        What the training came to.

    Raises:
        ConfigError: A name that does not exist, or settings that do not go together.
        DataError: The data is missing, or a split is empty.
        InputError: The loss is no number any more, memory ran out, or the disk is full.
    """
    from components.training.initial import initial_model
    from components.training.problem import Problem

    if not config.epochs and config.init == "random":
        raise ConfigError("train.epochs is 0 and train.init is random: nothing would be learnt. Set epochs, or init: registered or file:PATH")
    prepared = Prepared.open(data)
    learnt = plugin("components.tasks", "task", task.name)
    model, spec, loaded = initial_model(learnt, _spec(config, task, prepared), config.init, start, config.seed)
    record = train_into(
        out,
        Problem.of(model, spec, prepared),
        config,
        Policy.model_validate(prepared.policy),
        context=context,
        loaded=loaded,
        description=f"train {config.model}",
        start=config.init == "registered" or config.init.startswith("file:"),
    )
    log.info(
        "%s, %.2f M parameters, %.1f M multiply-adds: %s %.4f on the validation images, from epoch %d of %d (%s)",
        *(config.model, record.num_parameters / 1e6, record.multiply_adds / 1e6, record.metric, record.value, record.best_epoch, record.num_epochs),
        ", ".join(f"{name} {value}" for name, value in record.settings.items()),
    )
    return record


def _spec(config: TrainConfig, task: TaskConfig, prepared: Prepared) -> ModelSpec:
    record = prepared.record
    return ModelSpec(
        task=task.name,
        model=config.model,
        model_options=config.model_options,
        classes=record.classes,
        preprocess=Preprocess(size_hw=task.size_hw, channels=record.channels, resize=record.resize),
        mean=record.mean,
        std=record.std,
        dataset=record.dataset,
        training_digest=record.training_digest,
    )
