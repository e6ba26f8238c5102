"""Detectors by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from components.errors import ConfigError, unknown_name
from components.networks.detection.detector import Detector
from components.networks.detection.faster_rcnn import FasterRCNN
from components.networks.detection.fcos import FCOS
from components.networks.detection.retinanet import RetinaNet
from components.networks.detection.ssd import SSD
from components.networks.detection.yolo import YOLO

FAMILIES: tuple[type[Detector], ...] = (YOLO, SSD, RetinaNet, FCOS, FasterRCNN)
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
    kinds = inspect.signature(family).parameters
    known = set(kinds) - {"num_classes", "channels", *chosen}
    for option, value in options.items():
        if option not in known:
            raise unknown_name(f"option of model {name}", option, known)
        _check(option, value, kinds[option].default)
    detector = family(num_classes, channels, **chosen, **options)
    detector.check_size(name, size_hw)
    return detector


def _check(option: str, value: Any, default: Any) -> None:
    """Look that an option is of its default's kind: a text, or a number above 0 (a whole one where that is whole)."""
    if isinstance(default, str):
        if not isinstance(value, str):
            raise ConfigError(f"model_options.{option}: found {value!r}; expected a name, for example {default}")
        return
    kinds = (int,) if isinstance(default, int) else (int, float)
    if not isinstance(value, kinds) or isinstance(value, bool) or value <= 0:
        raise ConfigError(f"model_options.{option}: found {value!r}; expected a {'whole ' if kinds == (int,) else ''}number above 0")
