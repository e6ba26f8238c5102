"""The shapes of a network that is no longer as its constructor made it: how a pruned one is rebuilt without the pruning library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import nn

from components.errors import DataError
from components.networks.normalisation import Normalised
from components.records import ModelSpec


def structure_of(model: nn.Module) -> dict[str, list[int]]:
    """Return the shape of every parameter and stored buffer by its name, sorted."""
    return {name: list(tensor.shape) for name, tensor in sorted(model.state_dict().items())}


def as_in(spec: ModelSpec, network: nn.Module) -> Normalised:
    """Return a freshly made network as the spec describes it: its normalisation in front, of its structure if it was pruned."""
    model = Normalised(network, spec.mean, spec.std)
    if spec.structure is not None:
        apply_structure(model, spec.structure)
    return model


def apply_structure(model: nn.Module, structure: Mapping[str, Sequence[int]]) -> None:
    """Give a network's layers the shapes of `structure`, in place; layers that change get new random weights.

    Args:
        model: The network as its constructor makes it.
        structure: What `structure_of` returned.

    Raises:
        DataError: The names differ: the structure belongs to another network.
    """
    state = model.state_dict()
    if set(state) != set(structure):
        odd = sorted(set(state) ^ set(structure))
        raise DataError(f"the spec's structure belongs to another network: {len(odd)} names differ, for example {odd[0]}")
    for name, module in list(model.named_modules()):
        prefix = f"{name}." if name else ""
        shapes = {
            key: tuple(structure[prefix + key])
            for key, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
            if prefix + key in structure and tuple(structure[prefix + key]) != tuple(tensor.shape)
        }
        if shapes:
            _reshape(module, shapes)


def _reshape(module: nn.Module, shapes: Mapping[str, tuple[int, ...]]) -> None:
    weight = shapes.get("weight")
    if isinstance(module, nn.Conv2d) and weight is not None:
        if module.groups > 1 and weight[1] == 1 and module.weight.shape[1] == 1:
            module.groups = weight[0] // (module.out_channels // module.groups)  # depthwise: as many groups as inputs
        module.out_channels, module.in_channels = weight[0], weight[1] * module.groups
    elif isinstance(module, nn.Linear) and weight is not None:
        module.out_features, module.in_features = weight
    elif isinstance(module, nn.modules.batchnorm._BatchNorm):
        module.num_features = next(shape[0] for shape in shapes.values() if shape)
    elif isinstance(module, nn.LayerNorm) and weight is not None:
        module.normalized_shape = weight
    for key, shape in shapes.items():
        old = cast(torch.Tensor, getattr(module, key))
        fresh = torch.ones(shape) if len(shape) < 2 and key != "bias" else torch.randn(shape) * 0.02
        fresh = torch.zeros(shape) if key in ("bias", "running_mean") else fresh.to(old.dtype)
        if isinstance(old, nn.Parameter):
            setattr(module, key, nn.Parameter(fresh, requires_grad=old.requires_grad))
        else:
            module.register_buffer(key, fresh)
