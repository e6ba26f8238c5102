"""Occlusion (Zeiler and Fergus 2014, arXiv:1311.2901), computed by Captum: how much the answer's logit falls when a window is blanked.

It asks for outputs alone, no gradient and no layer, and so checks what Grad-CAM says by other means.
"""

from __future__ import annotations

import torch
from captum.attr import Occlusion

from components.explanation.subject import HeatMap, Subject, as_map
from components.protocols import Answer

#: The window's side as a share of the image's, and how far it moves as a share of its own.
_WINDOW, _STEP = 1 / 4, 1 / 2


def occlusion(subject: Subject, image: torch.Tensor, answer: Answer) -> HeatMap:
    """Return where an answer is lost when the image is blanked there: of each pixel the mean over the windows that hold it.

    Args:
        subject: Who is explained.
        image: Float32 (1, C, H, W) in 0..1.
        answer: What is explained.
    """
    channels = image.shape[1]
    window = [max(1, round(side * _WINDOW)) for side in image.shape[2:]]
    steps = [max(1, round(side * _STEP)) for side in window]
    with torch.no_grad():
        attributions = Occlusion(lambda images: subject.logits(images, answer)).attribute(
            image,
            sliding_window_shapes=(channels, *window),
            strides=(channels, *steps),
            baselines=subject.fill.expand_as(image),
            perturbations_per_eval=subject.at_once(image),
        )
    return as_map(attributions / channels)
