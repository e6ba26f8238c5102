from __future__ import annotations

import torch
from torch import nn

from components.networks.first_layer import first_convolution, fit_first_convolution


def _network() -> nn.Sequential:
    return nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False), nn.ReLU()), nn.Conv2d(4, 5, 1))


def test_the_first_convolution_takes_other_channels_and_all_else_stays() -> None:
    network = _network()
    before = network(torch.rand(2, 3, 8, 8)).shape
    last = network[1].weight
    fit_first_convolution(network, 1)
    assert first_convolution(network) == "0.0.weight"
    assert network.state_dict()["0.0.weight"].shape == (4, 1, 3, 3)
    assert "0.0.bias" not in network.state_dict()
    assert network(torch.rand(2, 1, 8, 8)).shape == before
    assert network[1].weight is last
