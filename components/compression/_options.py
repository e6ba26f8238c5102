"""The section `compress` of params.yaml."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from components.config import Section
from components.datasets.policy import Policy
from components.training.options import DistillOptions, FitOptions


class RecoveryOptions(FitOptions):
    """How a network is trained after channels were removed; the network before is its teacher."""

    policy: Policy | None = Field(default=None, description="a random policy of its own; null: augment.policy")
    distill: DistillOptions = Field(default=DistillOptions(), description="learning from the network that was pruned, beside the targets")


class CompressConfig(Section):
    """Which variants of the tuned model are made, and how small."""

    section: ClassVar[str] = "compress"
    variants: list[str] = Field(min_length=1, description="files of components/compression")
    target_macs: float = Field(default=0.5, gt=0, lt=1, description="share of the multiply-adds that stays at most")
    importance: Literal["magnitude", "taylor"] = Field(default="taylor", description="what makes a channel worth keeping")
    recovery: RecoveryOptions = Field(default=RecoveryOptions(epochs=3), description="training after channels were removed")
