"""Detectors by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from components.errors import ConfigError, unknown_name
from components.networks.detection.yolo import SIZES, STRIDES, YOLO

NAMES = sorted(f"yolo_{size}" for size in SIZES)


def build(name: str, num_classes: int, channels: int, size_hw: tuple[int, int], options: Mapping[str, Any]) -> nn.Module:
    """Return a detector with random weights.

    Args:
        name: One of `NAMES`.
        num_classes: What it tells apart.
        channels: Of the images.
        size_hw: Height and width of the images in pixels.
        options: Of the network's own constructor; there are none yet.

    Raises:
        ConfigError: Unknown name or option, or a size that the network cannot take.
    """
    if name not in NAMES:
        raise unknown_name("model", name, NAMES)
    if options:
        raise ConfigError(f"model {name}: found model_options {dict(options)}; it has none")
    step = STRIDES[-1]
    for side in size_hw:
        if side % step:
            near = max(step, round(side / step) * step)
            raise ConfigError(f"task.image_size: found {side}; {name} takes multiples of {step} pixels, for example {near}")
    return YOLO(num_classes, channels, name.removeprefix("yolo_"))
