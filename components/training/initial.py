"""The weights a training starts from: random, torchvision's, a file's, or a registered model's."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import nn

from components.errors import ConfigError, DataError, InputError, TransientError, unknown_name
from components.networks.models import first_convolution
from components.protocols import Task
from components.records import ModelSpec
from components.training.model_files import SPEC, WEIGHTS, load_spec, read_weights

log = logging.getLogger(__name__)

_NAMED = 3
#: Under these names a network's tensors stand in ours: a model of ours, a network, a network of torchvision that is wrapped.
_PREFIXES = ("", "network.", "network.model.")


def initial_model(task: Task, spec: ModelSpec, init: str, start: Path, seed: int) -> tuple[nn.Module, ModelSpec, str]:
    """Return the model that a training starts from.

    Args:
        task: What is learnt.
        spec: Of the model to be; mean, deviation and a pruned structure are taken over from the weights where those bring their own.
        init: ``random``, ``torchvision:WEIGHTS``, ``file:PATH`` or ``registered``.
        start: The folder `models/start`, read for ``registered``.
        seed: Of the random weights.

    Returns:
        The model on the CPU, its spec, and what was loaded, in words.

    Raises:
        ConfigError: `init` names nothing there is, or nothing of the weights fits the model.
        TransientError: Weights have to be downloaded and cannot be.
    """
    kind, _, name = init.partition(":")
    state: Mapping[str, torch.Tensor] = {}
    classes: Sequence[str] = spec.classes
    if kind == "torchvision" and name:
        state, spec = _torchvision_weights(spec, name)
    elif kind == "file" and name:
        path = Path(name)
        if not path.is_file():
            raise ConfigError(f"train.init: {path} not found; file:PATH names a safetensors file")
        spec, classes = _as_its_own(spec, path.parent)
        state = read_weights(path)
    elif init == "registered":
        spec, classes = _as_its_own(spec, _registered(start), must=True)
        state = read_weights(start / WEIGHTS)
    elif init != "random":
        raise ConfigError(f"train.init: found '{init}'; expected random, torchvision:WEIGHTS, file:PATH or registered")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = task.build_model(spec)
    if init == "random":
        return model, spec, "random weights"
    loaded = f"{init}: {load_what_fits(model, state, classes, spec.classes, init, task.head_names(model))}"
    log.info("start weights %s", loaded)
    return model, spec, loaded


def load_what_fits(
    model: nn.Module, state: Mapping[str, torch.Tensor], its_classes: Sequence[str], classes: Sequence[str], source: str, head_names: Sequence[str]
) -> str:
    """Load the tensors whose name and shape fit, in place.

    A first convolution for colour is summed over its channels for a model of one channel; the head's rows go to the classes of the same name.

    Args:
        model: The model.
        state: Tensors by name, with or without the prefixes that normalisation and wrapping give them.
        its_classes: The classes that the head's rows in `state` stand for.
        classes: Those of the model.
        source: For the error.
        head_names: The parameters that have a row for each class.

    Returns:
        How many were loaded and which were not, in words.

    Raises:
        ConfigError: None fits.
    """
    own = model.state_dict()
    head = set(head_names)
    prefix = max(_PREFIXES, key=lambda prefix: sum(f"{prefix}{name}" in own for name in state))
    state = {f"{prefix}{name}": tensor for name, tensor in state.items()}
    missing: list[str] = []
    num_loaded = 0
    for name, tensor in own.items():
        given = state.pop(name, None)
        if given is not None and name in head and list(its_classes) != list(classes):
            given = _rows_by_class(tensor, given, its_classes, classes)
        if given is not None and name == first_convolution(model) and (tensor.shape[1], given.shape[1]) == (1, 3):
            given = given.sum(1, keepdim=True)
        if given is None or given.shape != tensor.shape:
            found = "not there" if given is None else f"{tuple(given.shape)} for {tuple(tensor.shape)}"
            missing.append(f"{name} {found}")
            continue
        tensor.copy_(given)
        num_loaded += 1
    if not num_loaded:
        raise ConfigError(f"nothing of {source} fits the model: {_some(missing)}. It belongs to another network; see train.model")
    parts = [f"{num_loaded} of {len(own)} tensors loaded"]
    if missing:
        parts.append(f"not loaded, so random: {_some(missing)}")
    if state:
        parts.append(f"not used: {_some(sorted(state))}")
    return "; ".join(parts)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _rows_by_class(own: torch.Tensor, given: torch.Tensor, its_classes: Sequence[str], classes: Sequence[str]) -> torch.Tensor:
    if given.shape[1:] != own.shape[1:] or len(given) != len(its_classes):
        return given
    rows = own.clone()
    for row, name in enumerate(classes):
        if name in its_classes:
            rows[row] = given[list(its_classes).index(name)]
    return rows


def _torchvision_weights(spec: ModelSpec, name: str) -> tuple[Mapping[str, torch.Tensor], ModelSpec]:
    import torchvision

    names = torchvision.models.list_models()
    if spec.model not in names:
        raise ConfigError(f"train.init: torchvision has no weights for {spec.model}. It knows: {', '.join(names)}")
    known = torchvision.models.get_model_weights(spec.model)
    if name not in known.__members__:
        raise unknown_name(f"weights of {spec.model}", name, known.__members__)
    weights = known[name]
    try:
        state: Mapping[str, torch.Tensor] = weights.get_state_dict(progress=False, check_hash=True)
    except (URLError, OSError) as error:
        place = Path(torch.hub.get_dir()) / "checkpoints"
        raise TransientError(
            f"train.init: {weights.url} could not be downloaded ({error}). Try again with a network, or put the file into {place}"
        ) from None
    transforms = weights.transforms()
    update = {"mean": list(transforms.mean), "std": list(transforms.std)} if spec.preprocess.channels == 3 else {}
    return state, spec.model_copy(update=update)


def _registered(start: Path) -> Path:
    try:
        source = json.loads((start / "start.json").read_bytes())["source"]
    except (OSError, ValueError, KeyError):
        raise DataError(f"{start / 'start.json'} not found or not readable; it says which registered model train.init: registered means") from None
    if source is None:
        raise ConfigError(
            f"train.init is registered, but no registered model was written to {start}. "
            "`darkroom run` writes the champion there; without one, set train.init: random"
        )
    return start


def _as_its_own(spec: ModelSpec, folder: Path, must: bool = False) -> tuple[ModelSpec, Sequence[str]]:
    """Return the spec with normalisation and structure of the model in `folder`, and that model's classes."""
    if not must and not (folder / SPEC).is_file():
        return spec, spec.classes
    its = load_spec(folder)
    if (its.model, its.model_options, its.preprocess.channels) != (spec.model, spec.model_options, spec.preprocess.channels):
        found, wanted = (f"{s.model} {s.model_options or ''} for {s.preprocess.channels} channels" for s in (its, spec))
        raise ConfigError(f"train.init: {folder} holds {found}, train.model asks for {wanted}. Make model, model_options and task.channels equal")
    update: dict[str, Any] = {"mean": its.mean, "std": its.std}
    if its.structure is not None and its.classes != spec.classes:
        raise InputError(f"train.init: {folder} is a pruned model of other classes; start from one that is not pruned, or train.init: random")
    return spec.model_copy(update=update | {"structure": its.structure}), its.classes
