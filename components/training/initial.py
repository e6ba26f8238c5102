"""The weights a training starts from: random, torchvision's, a file's, or a registered model's."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from components.errors import ConfigError, DataError, InputError
from components.networks.first_layer import first_convolution
from components.protocols import Task
from components.records import ModelSpec
from components.training.model_files import SPEC, WEIGHTS, load_spec, read_weights
from components.training.pretrained import torchvision_weights

log = logging.getLogger(__name__)

_NAMED = 3
_LEAST_SHARE = 0.25
#: The first row of a head that also tells "nothing".
_BACKGROUND = "__background__"
#: How many batches a normalisation has seen: no weight; torchvision's own files lack it where statistics were frozen.
_COUNTER = "num_batches_tracked"


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
        DataError: A file of weights is damaged.
        TransientError: Weights have to be downloaded and cannot be.
    """
    kind, _, name = init.partition(":")
    state: Mapping[str, torch.Tensor] = {}
    classes: Sequence[str] = spec.classes
    if kind == "torchvision" and name:
        weights = torchvision_weights(spec.model, name)
        state, classes = weights.state, weights.classes
        if spec.preprocess.channels == 3:
            spec = spec.model_copy(update={"mean": weights.mean, "std": weights.std})
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

    A first convolution for colour is summed over its channels for a model of one channel. The head's rows go to the classes of the same name; a
    head without such rows stays random.

    Args:
        model: The model.
        state: Tensors by name: of the model, or of a network that is part of it or that it is part of.
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
    head, first = set(head_names), first_convolution(model)
    state = _renamed(own, state)
    missing: list[str] = []
    num_loaded = 0
    for name, tensor in own.items():
        given = state.pop(name, None)
        found = "not there" if given is None else f"{tuple(given.shape)} for {tuple(tensor.shape)}"
        if given is not None and name in head and list(its_classes) != list(classes):
            given = _rows_by_class(tensor, given, its_classes, classes)
            found = "of other classes" if found.startswith(f"{tuple(tensor.shape)} for") else found
        if given is not None and name == first and (tensor.shape[1], given.shape[1]) == (1, 3):
            given = given.sum(1, keepdim=True)
        if given is not None and given.shape == tensor.shape:
            tensor.copy_(given)
            num_loaded += 1
        elif not name.endswith(_COUNTER):
            missing.append(f"{name} {found}")
    if not num_loaded:
        raise ConfigError(f"nothing of {source} fits the model: {_some(missing)}. It belongs to another network; see train.model")
    parts = [f"{num_loaded} of {len(own)} tensors loaded"]
    shared = [name for name in classes if name in its_classes]
    if list(its_classes) != list(classes) and head - {entry.partition(" ")[0] for entry in missing}:
        parts.append(f"of its last layer the rows of {len(shared)} of {len(classes)} classes, by name")
    if missing:
        parts.append(f"not loaded, so random: {_some(missing)}")
    if unused := sorted(name for name in state if not name.endswith(_COUNTER)):
        parts.append(f"not used: {_some(unused)}")
    return "; ".join(parts)


def _renamed(own: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return `state` under the model's names: one beginning is taken off its names and one put before them, those by which most tensors fit.

    A network's tensors stand in ours under ``network.``, a backbone's under more than that, and a classifier may have called them ``features.``.
    Where hardly any would fit, the names stay.
    """
    stripped = {"".join(f"{part}." for part in name.split(".")[:depth]) for name in state for depth in range(min(3, name.count(".") + 1))}
    fits: Counter[tuple[str, str]] = Counter({("", ""): 0})
    for strip in stripped:
        given = {name.removeprefix(strip): tensor.shape for name, tensor in state.items() if name.startswith(strip)}
        for name, tensor in own.items():
            for start in (0, *(place + 1 for place, letter in enumerate(name) if letter == ".")):
                fits[strip, name[:start]] += given.get(name[start:]) == tensor.shape
    strip, prefix = max(fits, key=lambda pair: (fits[pair], -len(pair[0]) - len(pair[1]), pair))
    if fits[strip, prefix] < _LEAST_SHARE * min(len(own), len(state)):  # by chance: a layer like any other of that size
        return dict(state)
    return {prefix + name.removeprefix(strip) if name.startswith(strip) else name: tensor for name, tensor in state.items()}


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _rows_by_class(own: torch.Tensor, given: torch.Tensor, its_classes: Sequence[str], classes: Sequence[str]) -> torch.Tensor | None:
    """Return the head's rows with those of the classes that both know, None where there is none or a row stands for no single class."""
    ours, theirs = _rows(len(own), classes), _rows(len(given), its_classes)
    if given.shape[1:] != own.shape[1:] or not set(ours) & set(theirs) - {_BACKGROUND}:
        return None
    rows = own.clone()
    for row, name in enumerate(ours):
        if name in theirs:
            rows[row] = given[theirs.index(name)]
    return rows


def _rows(num: int, classes: Sequence[str]) -> list[str]:
    """Return which class each row of a head stands for: one each, perhaps after the background; nothing where it is otherwise."""
    names = list(classes)
    return names if num == len(names) else [_BACKGROUND, *names] if num == len(names) + 1 else []


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
    """Return the spec with normalisation and structure of the model in `folder`, and that model's classes.

    Unless the model `must` be the same network, it may be another one that is part of ours: a classifier that becomes a backbone.
    """
    if not must and not (folder / SPEC).is_file():
        return spec, spec.classes
    its = load_spec(folder)
    same = (its.model, its.model_options, its.preprocess.channels) == (spec.model, spec.model_options, spec.preprocess.channels)
    if must and not same:
        found, wanted = (f"{s.model} {s.model_options or ''} for {s.preprocess.channels} channels" for s in (its, spec))
        raise ConfigError(f"train.init: {folder} holds {found}, train.model asks for {wanted}. Make model, model_options and task.channels equal")
    if its.structure is not None and (not same or its.classes != spec.classes):
        what = "of other classes" if same else "of another network"
        raise InputError(f"train.init: {folder} is a pruned model {what}; start from one that is not pruned, or train.init: random")
    update: dict[str, Any] = {"structure": its.structure}
    if its.preprocess.channels == spec.preprocess.channels:
        update |= {"mean": its.mean, "std": its.std}
    return spec.model_copy(update=update), its.classes
