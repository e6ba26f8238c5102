"""Segmentation: an answer is a class with the pixels that were given it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import nn

from components.datasets.masks import Mask
from components.networks.segmentation.unet import UNet
from components.protocols import Answer, Support

BACKGROUND = "background"


class SegmentationAnswers:
    """The `Answers` of segmentation."""

    have_places = False

    def of(self, prediction: Mask, classes: Sequence[str]) -> Sequence[Answer]:
        """Return the classes in a mask, the largest first; one that is called background only where there is no other."""
        values, counts = np.unique(prediction, return_counts=True)
        found = [int(value) for value in values[np.argsort(-counts, kind="stable")]]
        things = [label for label in found if classes[label] != BACKGROUND]
        return [Answer(label, prediction) for label in things or found]

    def support(self, model: nn.Module, images_NCHW: torch.Tensor, answer: Answer) -> Support:
        """Return the sum of the class's logits over the pixels that were given it, and their mean probability."""
        logits = cast(torch.Tensor, model(images_NCHW)).float()
        pixels = torch.from_numpy(answer.part == answer.label).to(logits)
        of_class, probabilities = logits[:, answer.label], logits.softmax(dim=1)[:, answer.label]
        return Support((of_class * pixels).sum(dim=(1, 2)), (probabilities * pixels).sum(dim=(1, 2)) / pixels.sum())

    def feature_layers(self, model: nn.Module, images_NCHW: torch.Tensor) -> Sequence[str]:  # noqa: ARG002 - other tasks need the images
        """Return the encoder's last feature map, as Seg-Grad-CAM does (Vinogradova et al. 2020, arXiv:2002.11434)."""
        network = cast(nn.Module, model.network)
        if isinstance(network, UNet):
            return [f"network.down.{len(network.down) - 1}"]
        stages = [name for name, _ in network.get_submodule("model.backbone").named_children()]
        return [f"network.model.backbone.{stages[-1]}"]


plugin = SegmentationAnswers()
