"""Optimisers, and which parameters learn at which rate from which epoch on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from components.errors import ConfigError
from components.training.options import FitOptions


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that learn alike.

    Attributes:
        names: As in the model's state dict.
        lr: At the peak of the schedule.
        from_epoch: The first epoch (1-based) in which they learn; frozen before.
    """

    names: tuple[str, ...]
    lr: float
    from_epoch: int = 1


ParameterPlan = list[ParameterGroup]


def everything(model: nn.Module, lr: float) -> ParameterPlan:
    """Return the plan in which all parameters learn at one rate from the start."""
    return [ParameterGroup(tuple(name for name, _ in model.named_parameters()), lr)]


def gradual(model: nn.Module, head: Collection[str], lr_head: float, lr_backbone: float, unfreeze_epochs: int) -> ParameterPlan:
    """Return the plan of a fine-tuning: the head learns at once, the backbone joins from the head downwards.

    Args:
        model: Its parameters in the order in which images pass them.
        head: Names of the head's parameters.
        lr_head: Peak rate of the head.
        lr_backbone: Peak rate of all others.
        unfreeze_epochs: Into as many parts of about equal numbers of layers is the backbone cut; one more learns in each epoch after the
            first (Howard and Ruder 2018, arXiv:1801.06146). 0: all learn from the start.
    """
    backbone = [name for name, _ in model.named_parameters() if name not in head]
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in backbone))
    plan = [ParameterGroup(tuple(name for name, _ in model.named_parameters() if name in head), lr_head)]
    parts = max(unfreeze_epochs, 1)
    for part in range(parts):  # part 0 lies under the head
        chosen = set(layers[len(layers) * (parts - 1 - part) // parts : len(layers) * (parts - part) // parts])
        names = tuple(name for name in backbone if name.rpartition(".")[0] in chosen)
        plan.append(ParameterGroup(names, lr_backbone, from_epoch=part + 2 if unfreeze_epochs else 1))
    return plan


def build_optimizer(options: FitOptions, model: nn.Module, plan: ParameterPlan) -> torch.optim.Optimizer:
    """Return the optimiser; each of its groups has its peak rate under ``"peak_lr"``.

    Weight decay is left out for norms and biases (all parameters with one dimension), as is usual since Goyal et al. 2017, arXiv:1706.02677.
    """
    parameters = dict(model.named_parameters())
    groups: list[dict[str, Any]] = []
    for group in plan:
        for decays in (True, False):
            members = [parameters[name] for name in group.names if (parameters[name].ndim >= 2) is decays]
            if members:
                groups.append({"params": members, "lr": group.lr, "peak_lr": group.lr, "weight_decay": options.weight_decay if decays else 0.0})
    if options.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=options.lr, momentum=options.momentum, nesterov=options.momentum > 0, fused=True)
    if options.optimizer == "adam":
        return torch.optim.Adam(groups, lr=options.lr, fused=True)
    if options.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=options.lr, fused=True)
    return torch.optim.RMSprop(groups, lr=options.lr, momentum=options.momentum)


def freeze(model: nn.Module, plan: ParameterPlan, epoch: int) -> None:
    """Let those parameters learn whose epoch has come; norms whose weights are frozen keep their statistics too.

    A norm without weights goes with the parameters before it, the first one with those behind it.

    Args:
        model: In training mode.
        plan: Who learns from when.
        epoch: 1-based.
    """
    learns = {name: group.from_epoch <= epoch for group in plan for name in group.names}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(learns.get(name, False))
    learning = next(model.parameters()).requires_grad
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            learning = parameter.requires_grad
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train(learning)


def norms_to_freeze(model: nn.Module) -> list[nn.Module]:
    """Return the batch normalisations that have statistics: they came with trained weights. In a new one all means are 0.

    As constant scale and shift of each channel they are how He et al. 2016 (arXiv:1512.03385, A) train detectors: statistics of a few images
    are noise.

    Raises:
        ConfigError: There is none.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    trained: list[nn.Module] = [norm for norm in norms if norm.running_mean is not None and bool(norm.running_mean.any())]
    if not trained:
        raise ConfigError("batch_norm: found frozen; no norm here has seen an image. Start from trained weights (train.init), or set it to train")
    return trained
