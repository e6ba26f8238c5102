"""Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391), computed by Captum: which cells of the last feature map raise the answer's logit.

Where an answer is about one place, gradients are not averaged over the map but weigh each cell by itself (Draelos and Carin 2020,
arXiv:2011.08891; for boxes as in Zhao et al. 2024, arXiv:2304.06354): an average knows what the box shows, not which of several it is. On
the composed digits 72% of a map then lay in its box, 44% with averages.
"""

from __future__ import annotations

import torch
from captum.attr import LayerGradCam, LayerGradientXActivation
from torch.nn import functional

from components.explanation.subject import HeatMap, Subject, as_map
from components.protocols import Answer

#: A layer that an answer does not depend on has a gradient of zero: that is no error.
_GRADIENTS = {"allow_unused": True, "materialize_grads": True}


def gradcam(subject: Subject, image: torch.Tensor, answer: Answer) -> HeatMap:
    """Return where in the image the network's features speak for an answer.

    Args:
        subject: Who is explained. The maps of several layers are added up: each is in units of the logit.
        image: Float32 (1, C, H, W) in 0..1.
        answer: What is explained.
    """
    layers = [subject.model.get_submodule(name) for name in subject.answers.feature_layers(subject.model, image)]

    def logits(images: torch.Tensor) -> torch.Tensor:
        return subject.logits(images, answer)

    if subject.answers.have_places:
        levels = LayerGradientXActivation(logits, layers).attribute(image, grad_kwargs=_GRADIENTS)
    else:
        levels = [LayerGradCam(logits, layer).attribute(image, grad_kwargs=_GRADIENTS) for layer in layers]
    total = torch.zeros_like(image[:, :1])
    for level in levels:
        cells = level.detach().sum(dim=1, keepdim=True).clamp(min=0)
        total += functional.interpolate(cells, size=image.shape[2:], mode="bilinear", align_corners=False)
    return as_map(total)
