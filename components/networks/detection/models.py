"""Detectors by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from components.errors import ConfigError, unknown_name
from components.networks.detection.detector import Detector
from components.networks.detection.yolo import YOLO

FAMILIES: tuple[type[Detector], ...] = (YOLO,)
_FAMILY_OF = {name: family for family in FAMILIES for name in family.variants}
NAMES = sorted(_FAMILY_OF)


def build(name: str, num_classes: int, channels: int, size_hw: tuple[int, int], options: Mapping[str, Any]) -> Detector:
    """Return a detector with random weights.

    Args:
        name: One of `NAMES`.
        num_classes: What it tells apart.
        channels: Of the images.
        size_hw: Height and width of the images in pixels.
        options: Of the family's constructor, besides what the name stands for.

    Raises:
        ConfigError: Unknown name or option, or a size that the network cannot take.
    """
    if name not in _FAMILY_OF:
        raise unknown_name("model", name, NAMES)
    family = _FAMILY_OF[name]
    chosen = family.variants[name]
    known = set(inspect.signature(family).parameters) - {"num_classes", "channels", *chosen}
    for option in options:
        if not known:
            raise ConfigError(f"model {name}: found model_options {dict(options)}; it has none")
        if option not in known:
            raise unknown_name(f"option of model {name}", option, known)
    detector = family(num_classes, channels, **chosen, **options)
    detector.check_size(name, size_hw)
    return detector
