import numpy as np
import pytest
import torch
from torch import nn

from components.explanation.answers.segmentation import plugin
from components.networks.segmentation.models import build
from components.protocols import Answer

CLASSES = ["background", "cat", "dog"]


class Wrapped(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network(images)


def test_a_class_is_borne_out_by_its_own_pixels_alone():
    mask = np.zeros((4, 4), np.uint8)
    mask[:2, :2] = 1
    logits = torch.zeros(1, 3, 4, 4)
    logits[0, 1, :2, :2], logits[0, 1, 2:, 2:] = 5.0, -7.0
    found = plugin.support(lambda images: logits, logits, Answer(1, mask))
    assert found.logits.item() == pytest.approx(20.0)
    assert found.scores.item() == pytest.approx(np.exp(5) / (np.exp(5) + 2), rel=1e-5)


@pytest.mark.parametrize(("name", "options"), [("unet", {"width": 4, "depth": 3}), ("lraspp_mobilenet_v3_large", {})])
def test_the_features_are_the_coarsest_that_the_encoder_has(name, options):
    model = Wrapped(build(name, 3, 1, (64, 64), options)).eval()
    sides = {}
    for layer, module in model.named_modules():
        module.register_forward_hook(lambda _module, _inputs, output, layer=layer: sides.update({layer: getattr(output, "shape", [0])[-1]}))
    with torch.no_grad():
        model(torch.rand(1, 1, 64, 64))
    [layer] = plugin.feature_layers(model, torch.rand(1, 1, 64, 64))
    assert sides[layer] == min(side for side in sides.values() if side > 1)
