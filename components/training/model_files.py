"""Models as folders: weights.safetensors, and the spec that rebuilds the network in a fresh process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from components.errors import DataError, InputError
from components.files import replacing
from components.protocols import Task, plugin
from components.records import ModelSpec, TrainRecord
from components.training.history import write_history
from components.training.multiply_adds import multiply_adds

if TYPE_CHECKING:
    from components.training.loop import Fit

WEIGHTS, SPEC, SUMMARY, HISTORY = "weights.safetensors", "spec.json", "summary.json", "history.csv"


def save_model(out: Path, model: nn.Module, spec: ModelSpec) -> None:
    """Write weights.safetensors and spec.json; the same weights give the same bytes.

    Args:
        out: The folder, made if it is missing.
        model: Its state dict is stored, on the CPU.
        spec: What rebuilds it.

    Raises:
        InputError: The disk is full.
    """
    out.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}
    try:
        save_file(state, out / WEIGHTS)
    except SafetensorError as error:
        if "No space left" in str(error) or "os error 28" in str(error):
            raise InputError(f"the disk is full: {out / WEIGHTS} could not be written. Free some space and run again") from None
        raise
    spec.save(out / SPEC)


def load_spec(path: Path) -> ModelSpec:
    """Return a model's spec.

    Raises:
        DataError: There is none.
    """
    return ModelSpec.load(path / SPEC)


def load_model(path: Path) -> tuple[nn.Module, ModelSpec]:
    """Return a stored model, float32 on the CPU in evaluation mode, and its spec.

    Raises:
        DataError: Files are missing, damaged, or do not belong together.
        ConfigError: The spec names a task or model that does not exist.
    """
    spec = load_spec(path)
    task: Task = plugin("components.tasks", "task", spec.task)
    state = read_weights(path / WEIGHTS)
    model = task.build_model(spec)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise DataError(f"{path / WEIGHTS} does not fit {path / SPEC}: {' '.join(str(error).split())[:300]}") from None
    return model.eval(), spec


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a safetensors file.

    Raises:
        DataError: It is missing or is no safetensors file.
    """
    try:
        return dict(load_file(path))
    except FileNotFoundError:
        raise DataError(f"{path} not found; the step that writes it has not run") from None
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} is no safetensors file: {error}") from None


def train_record(fit: Fit, model: nn.Module, spec: ModelSpec, loaded: str) -> TrainRecord:
    """Return the summary of a training.

    Args:
        fit: What the loop returned.
        model: The trained model.
        spec: Its spec.
        loaded: What the weights started from, and what of it fitted.
    """
    return TrainRecord(
        best_epoch=fit.best_epoch,
        num_epochs=fit.num_epochs,
        metric=fit.metric,
        value=fit.value,
        start_value=fit.start_value,
        settings=fit.settings,
        loaded=loaded,
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
        multiply_adds=multiply_adds(model, spec.preprocess),
    )


def write_training(out: Path, fit: Fit, model: nn.Module, spec: ModelSpec, loaded: str) -> TrainRecord:
    """Write all that a training leaves: weights.safetensors, spec.json, summary.json, history.csv.

    Args:
        out: The folder; complete or as it was before.
        fit: What the loop returned.
        model: The trained model.
        spec: Its spec.
        loaded: What the weights started from.

    Raises:
        InputError: The disk is full.
    """
    record = train_record(fit, model, spec, loaded)
    with replacing(out) as folder:
        save_model(folder, model, spec)
        record.save(folder / SUMMARY)
        write_history(folder / HISTORY, fit.history, fit.metric)
    return record
