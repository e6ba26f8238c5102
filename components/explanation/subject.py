"""Who is explained: a network, what its task's answers are, and what stands for nothing to see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from components.protocols import Answer, Answers, Task, plugin, plugin_names
from components.records import ModelSpec

#: Float32 (H, W), not negative, in the network's pixels: how much each pixel speaks for an answer. Maps have no common scale.
HeatMap = npt.NDArray[np.float32]

SEAM = "components.explanation.answers"
#: Pixels of images that go through at once, and images. A processor's caches hold few: U-Net at 128 pixels took 26 ms an image in batches of
#: 8, 39 in one of 49 (one core).
_PIXELS_AT_ONCE, _PIXELS_AT_ONCE_ON_CPU, _IMAGES_AT_ONCE = 2**22, 2**17, 64


@dataclass(frozen=True)
class Subject:
    """A network that is explained; made by `Subject.of`.

    Attributes:
        answers: Of its task.
        model: In evaluation mode, on its device.
        spec: Of the model.
        fill: What blanked pixels become: the training images' mean, float32 (1, C, 1, 1).
    """

    answers: Answers
    model: nn.Module
    spec: ModelSpec
    fill: torch.Tensor

    @classmethod
    def of(cls, model: nn.Module, spec: ModelSpec, device: torch.device | None = None) -> Subject:
        """Return a trained network as a subject.

        Args:
            model: It; moved to the device.
            spec: Of the model.
            device: None: where the model is.
        """
        device = next(model.parameters()).device if device is None else device
        model = model.to(device).to(memory_format=torch.channels_last).eval()  # U-Net at 128 pixels: 18 ms in place of 26
        fill = torch.tensor(spec.mean, dtype=torch.float32, device=device).view(1, -1, 1, 1)
        return cls(plugin(SEAM, "task", spec.task), model, spec, fill)

    def untrained(self, seed: int) -> Subject:
        """Return the same network with random weights."""
        task: Task = plugin("components.tasks", "task", self.spec.task)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Subject.of(task.build_model(self.spec), self.spec, self.fill.device)

    def image(self, pixels: npt.NDArray[np.uint8]) -> torch.Tensor:
        """Return an image as the network takes it, float32 (1, C, H, W) in 0..1, from uint8 (H, W, C)."""
        return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].to(self.fill.device, torch.float32) / 255

    def logits(self, images_NCHW: torch.Tensor, answer: Answer) -> torch.Tensor:
        """Return what gradients are taken of, (N,)."""
        return self.answers.support(self.model, images_NCHW, answer).logits

    def scores(self, images_NCHW: torch.Tensor, answer: Answer) -> npt.NDArray[np.float64]:
        """Return how far images bear an answer out, 0..1, float64 (N,)."""
        with torch.no_grad():
            parts = [self.answers.support(self.model, part, answer).scores for part in torch.split(images_NCHW, self.at_once(images_NCHW))]
        scores: npt.NDArray[np.float64] = torch.cat(parts).double().cpu().numpy()
        return scores

    def at_once(self, images_NCHW: torch.Tensor) -> int:
        """Return how many images of this size go through the network at once."""
        pixels = _PIXELS_AT_ONCE_ON_CPU if images_NCHW.device.type == "cpu" else _PIXELS_AT_ONCE
        return max(1, min(_IMAGES_AT_ONCE, pixels // (images_NCHW.shape[2] * images_NCHW.shape[3])))


def can_be_explained(task: str) -> bool:
    """Tell whether a task says what its answers are."""
    return task in plugin_names(SEAM)


def as_map(attributions: Any) -> HeatMap:
    """Return attributions (1, channels, H, W) as one map: what speaks for the answer, summed over the channels."""
    heat: HeatMap = attributions.detach().sum(dim=1)[0].clamp(min=0).cpu().numpy().astype(np.float32)
    return heat
