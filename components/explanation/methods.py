"""The ways to a heat map, by name."""

from __future__ import annotations

from collections.abc import Callable

import torch

from components.explanation.gradcam import gradcam
from components.explanation.occlusion import occlusion
from components.explanation.subject import HeatMap, Subject
from components.protocols import Answer

Method = Callable[[Subject, torch.Tensor, Answer], HeatMap]

#: In the order in which they are shown.
METHODS: dict[str, Method] = {"Grad-CAM": gradcam, "Occlusion": occlusion}
