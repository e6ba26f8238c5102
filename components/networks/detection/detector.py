"""What the task asks of every detector; one file a family.

Legend: N images, P points or anchors of an image, C classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import nn

from components.networks.detection.objects import Objects


class Detector(nn.Module, ABC):
    """A network that names and boxes what is on images. Its constructor takes `num_classes`, `channels`, a variant's arguments, and options."""

    variants: ClassVar[Mapping[str, Mapping[str, Any]]]
    """The names that `train.model` takes, each with the constructor's arguments that it stands for."""
    loss_weights: ClassVar[Mapping[str, float]] = {"label": 1.0, "box": 1.0}
    """What the two parts of the loss weigh where nothing else is asked for."""

    @abstractmethod
    def forward(self, images_NCHW: torch.Tensor) -> Any:
        """Return what the network says, before it is read as boxes: what `loss` and `decode` take."""

    @abstractmethod
    def anchors(self, size_hw: tuple[int, int], device: torch.device | None = None) -> torch.Tensor:
        """Return what the boxes of images of this size are measured from, float32 (P, D); what D numbers say is the family's own."""

    @abstractmethod
    def loss(self, raw: Any, objects: Objects, size_hw: tuple[int, int], weights: Mapping[str, float]) -> torch.Tensor:
        """Return the training loss of a batch, a scalar; a batch without any object gives a finite one.

        Args:
            raw: What `forward` returned.
            objects: What is on the images, in the network's pixels.
            size_hw: Height and width of the images.
            weights: Of the parts `label` and `box`; those that are missing weigh as in `loss_weights`.
        """

    @abstractmethod
    def decode(self, raw: Any, anchors: torch.Tensor, size_hw: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Read what the network said; free of decisions that depend on the data, so that an exported graph can hold it.

        Args:
            raw: What `forward` returned.
            anchors: What `anchors` returned for this size.
            size_hw: Height and width of the images.

        Returns:
            Boxes in the network's pixels, float32 (N, P, 4) as x0, y0, x1, y1, and scores in 0..1, float32 (N, P, C).
        """

    @abstractmethod
    def head_names(self) -> list[str]:
        """Return the names of the parameters that have rows for each class."""

    @abstractmethod
    def feature_layers(self) -> list[str]:
        """Return the names of the modules whose outputs (N, channels, h, w) the heads read, the finest first: where explanations look."""

    def check_size(self, name: str, size_hw: tuple[int, int]) -> None:
        """Refuse images of a size that the network cannot take.

        Args:
            name: What the user calls the network.
            size_hw: Height and width of the images.

        Raises:
            ConfigError: It cannot; says what it takes.
        """
