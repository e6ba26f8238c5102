"""What a checkpoint belongs to."""

from __future__ import annotations

import hashlib
import json

import torch
from torch import nn

from components.datasets.policy import Policy
from components.datasets.prepared import PreparedSplit
from components.records import ModelSpec
from components.training.distillation import Distillation
from components.training.optimizers import ParameterPlan
from components.training.options import FitOptions


def fingerprint(
    model: nn.Module,
    spec: ModelSpec,
    options: FitOptions,
    policy: Policy,
    plan: ParameterPlan,
    train: PreparedSplit,
    distillation: Distillation | None,
) -> str:
    """Return a digest of all that decides on the weights; how often checkpoints are written does not."""
    digest = hashlib.sha256()
    settings = [
        spec.model_dump(mode="json"),
        options.model_dump(exclude={"checkpoint_minutes"}),
        policy.model_dump(),
        [(group.names, group.lr, group.from_epoch) for group in plan],
        len(train.images),
        distillation.options.model_dump() if distillation else None,
    ]
    digest.update(json.dumps(settings, sort_keys=True).encode())
    digest.update(train.order.tobytes())
    for network in (model, *([distillation.teacher] if distillation else [])):
        for name, tensor in sorted(network.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
