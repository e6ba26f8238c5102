"""Networks whose weights are set by hand, so that what speaks for an answer is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from components.explanation.answers.classification import plugin as classification
from components.explanation.answers.detection import plugin as detection
from components.explanation.subject import HeatMap, Subject
from components.networks.detection.detector import Detector
from components.networks.detection.objects import Objects
from components.networks.normalisation import Normalised
from components.protocols import Answer
from components.records import DatasetRef, ModelSpec, Preprocess
from components.serving.detections import Detections

SIDE = 32
UPPER_LEFT, LOWER_RIGHT = (slice(0, 16), slice(0, 16)), (slice(16, 32), slice(16, 32))


class Known(NamedTuple):
    """Two things on one image, and where each is."""

    subject: Subject
    pixels: npt.NDArray[np.uint8]
    first: Answer
    second: Answer

    @property
    def image(self) -> torch.Tensor:
        return self.subject.image(self.pixels)


def spec_of(task: str, model: str, classes: list[str], **options: Any) -> ModelSpec:
    return ModelSpec(
        task=task,
        model=model,
        model_options=options,
        classes=classes,
        preprocess=Preprocess(size_hw=(SIDE, SIDE), channels=1, resize="stretch"),
        mean=[0.5],
        std=[1.0],
        dataset=DatasetRef(name="d", version="1", manifest_digest="0", num_images=0),
        training_digest="0",
    )


def share(heat: HeatMap, where: tuple[slice, slice]) -> float:
    """Return how much of a map lies there."""
    return float(heat[where].sum() / heat.sum())


@pytest.fixture
def stripes() -> Known:
    """Upright stripes in the upper left quadrant, level ones in the lower right; the class is which there are more of."""
    conv, linear = nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.Linear(4, 2, bias=False)
    edge = torch.tensor([[-1.0, 0, 1]]).expand(3, 3)
    with torch.no_grad():
        conv.weight.copy_(torch.stack([edge, -edge, edge.T, -edge.T])[:, None])
        linear.weight.copy_(torch.tensor([[20.0, 20, -20, -20], [-20, -20, 20, 20]]))
    network = nn.Sequential(conv, nn.ReLU(), nn.AvgPool2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear)
    pixels = np.full((SIDE, SIDE, 1), 128, np.uint8)
    pixels[2:14, 2:14:4], pixels[2:14, 3:14:4] = 255, 255
    pixels[18:30:4, 18:30], pixels[19:30:4, 18:30] = 255, 255
    spec = spec_of("classification", "resnet9", ["upright", "level"], width=4)
    subject = Subject(classification, Normalised(network, [0.5], [1.0]).eval(), spec, torch.full((1, 1, 1, 1), 128 / 255))
    return Known(subject, pixels, Answer(0, np.array([1.0, 0.0])), Answer(1, np.array([0.0, 1.0])))


class Bright(Detector):
    """Says of each cell of 4 × 4 pixels that there is a box of 16 pixels around it, as sure as it is bright."""

    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.features, self.head = nn.Conv2d(1, 1, 12, stride=4, padding=4, bias=False), nn.Conv2d(1, 1, 1)
        nn.init.constant_(self.features.weight, 1 / 144)
        nn.init.constant_(self.head.weight, 20.0)
        nn.init.constant_(self.head.bias, -8.0)

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.features(images_NCHW))
        return logits

    def anchors(self, size_hw: tuple[int, int], device: torch.device | None = None) -> torch.Tensor:
        y, x = torch.meshgrid(torch.arange(2.0, size_hw[0], 4), torch.arange(2.0, size_hw[1], 4), indexing="ij")
        return torch.stack([x - 8, y - 8, x + 8, y + 8], dim=-1).reshape(-1, 4)

    def loss(self, raw: Any, objects: Objects, size_hw: tuple[int, int], weights: Mapping[str, float]) -> torch.Tensor:
        return raw.sum() * 0  # it knows everything already

    def decode(self, raw: torch.Tensor, anchors: torch.Tensor, size_hw: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        return anchors.expand(len(raw), -1, -1), raw.flatten(2).transpose(1, 2).sigmoid()

    def head_names(self) -> list[str]:
        return ["head.weight", "head.bias"]

    def feature_layers(self) -> list[str]:
        return ["features"]


@pytest.fixture
def blobs() -> Known:
    """Two bright squares of one class, and the box of each."""
    pixels = np.zeros((SIDE, SIDE, 1), np.uint8)
    pixels[4:14, 4:14], pixels[20:30, 18:28] = 255, 255
    boxes = np.array([[2, 2, 18, 18], [14, 14, 30, 30]], np.float32)
    first, second = (Answer(0, Detections(box[None], np.zeros(1, np.int64), np.ones(1, np.float32))) for box in boxes)
    spec = spec_of("detection", "yolo_nano", ["blob"])
    return Known(Subject(detection, Normalised(Bright(), [0.0], [1.0]).eval(), spec, torch.zeros(1, 1, 1, 1)), pixels, first, second)
