"""Classification: the answer is the predicted class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn

from components.explanation.features import last_feature_layer
from components.protocols import Answer, Support


class ClassificationAnswers:
    """The `Answers` of classification."""

    have_places = False

    def of(self, prediction: Any, classes: Sequence[str]) -> Sequence[Answer]:  # noqa: ARG002 - the seam's signature
        """Return the likeliest class of probabilities (C,)."""
        return [Answer(int(prediction.argmax()), prediction)]

    def support(self, model: nn.Module, images_NCHW: torch.Tensor, answer: Answer) -> Support:
        """Return logit and probability of the class."""
        logits = cast(torch.Tensor, model(images_NCHW)).float()
        return Support(logits[:, answer.label], logits.softmax(dim=1)[:, answer.label])

    def feature_layers(self, model: nn.Module, images_NCHW: torch.Tensor) -> Sequence[str]:
        """Return the last feature map that still says where."""
        return [last_feature_layer(model, images_NCHW)]


plugin = ClassificationAnswers()
