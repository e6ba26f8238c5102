import pytest
import torch
from torch import nn

from components.errors import InputError
from components.explanation.features import last_feature_layer
from components.networks.classification.models import build

IMAGES = torch.rand(1, 1, 16, 16)


def test_the_last_map_that_still_says_where_is_taken():
    network = build("resnet9", 3, 1, (16, 16), {"width": 4}).eval()
    assert last_feature_layer(network, IMAGES) == "stage3.0"  # 4 × 4 cells; behind it are 2 × 2 and the pool
    assert last_feature_layer(network, IMAGES, least_side=8) == "stage2.0"


def test_where_all_are_small_the_last_of_the_largest_is_taken():
    network = nn.Sequential(nn.Conv2d(1, 4, 8, stride=8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    assert last_feature_layer(network, IMAGES) == "1"


def test_a_map_with_its_channels_last_is_none():
    class ChannelsLast(nn.Module):
        def forward(self, features):
            return features.permute(0, 2, 3, 1)

    network = nn.Sequential(nn.Conv2d(1, 64, 4, stride=4), ChannelsLast(), nn.Flatten())
    assert last_feature_layer(network, IMAGES) == "0"


def test_a_network_without_a_map_is_refused_in_one_line():
    with pytest.raises(InputError, match="has no feature map"):
        last_feature_layer(nn.Sequential(nn.Flatten(), nn.Linear(256, 2)), IMAGES)


def test_what_is_in_a_block_is_a_branch_of_it_and_not_taken():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.down, self.beside = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 2, stride=2)

        def forward(self, features):
            return nn.functional.max_pool2d(self.down(features), 2) + self.beside(features)

    network = nn.Sequential(nn.Conv2d(1, 4, 4, stride=4), nn.Sequential(nn.ReLU()), Block(), nn.Flatten(), nn.Linear(16, 2))
    assert last_feature_layer(network, IMAGES) == "1"  # not the block's own convolution, whose map is as large
