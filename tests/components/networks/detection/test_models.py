from __future__ import annotations

import pytest
import torch

from components.errors import ConfigError
from components.networks.detection.models import build


def test_every_detector_says_where_and_what_of_each_point() -> None:
    for name in ("yolo_nano", "yolo_small"):
        raw = build(name, 5, 1, (64, 96), {}).eval()(torch.zeros(1, 1, 64, 96))
        assert raw.distances.shape == (1, 96 + 24 + 6, 4)
        assert raw.logits.shape == (1, 96 + 24 + 6, 5)


@pytest.mark.parametrize(
    ("name", "size_hw", "options", "message"),
    [
        ("yolo_tiny", (64, 64), {}, "unknown model 'yolo_tiny'"),
        ("yolo_nano", (64, 70), {}, "found 70; yolo_nano takes multiples of 32 pixels, for example 64"),
        ("yolo_nano", (64, 64), {"width": 3}, "it has none"),
    ],
)
def test_what_cannot_be_built_is_said(name: str, size_hw: tuple[int, int], options: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(name, 5, 1, size_hw, options)
