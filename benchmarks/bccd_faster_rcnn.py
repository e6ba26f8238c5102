"""BCCD: torchvision's Faster R-CNN, on the official split as our YOLO in `bccd`."""

from __future__ import annotations

from pathlib import Path

from benchmarks.bccd import judged, trained
from benchmarks.rows import Row

LONG = True


def rows() -> list[Row]:
    """Train and measure."""
    return [judged(trained(Path(__file__).with_suffix(".yaml")))]
