"""The sections register, promote and publish of params.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from components.config import DataConfig, Section, read_params, section_of


class RegisterConfig(Section):
    """Under which name a bundle becomes a model version, and which of its artifacts serves."""

    section: ClassVar[str] = "register"
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="null: the dataset's name")
    artifact: str = Field(default="dense-onnx", description="VARIANT-FORMAT of the one that serves")


class PromoteConfig(Section):
    """What a challenger has to show."""

    section: ClassVar[str] = "promote"
    min_gain: float = Field(default=0.0, ge=-1.0, le=1.0, description="the lower end of the 95% interval of the gain has to be above it")
    max_class_drop: float = Field(default=0.05, ge=0.0, le=1.0, description="what any class may lose")
    min_accuracy: float = Field(default=0.5, ge=0.0, le=1.0, description="floor of the primary metric for a model without a champion before it")
    num_resamples: int = Field(default=2000, ge=100, le=100_000, description="of the bootstrap")
    seed: int = Field(default=0, ge=0, description="of the bootstrap")


class PublishConfig(Section):
    """Where released bundles go."""

    section: ClassVar[str] = "publish"
    uri: str = Field(default="file://.darkroom/releases", description="an object store: file:// or s3://")


def model_name(config: RegisterConfig, data_name: str) -> str:
    """Return the name under which models of a dataset are registered."""
    return config.name or data_name


def model_name_of(project: Path) -> str:
    """Return the name under which a project's models are registered.

    Raises:
        ConfigError: params.yaml is missing or wrong.
    """
    params = read_params(project / "params.yaml")
    return model_name(section_of(params, RegisterConfig), section_of(params, DataConfig).name)
