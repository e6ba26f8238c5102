from __future__ import annotations

import pytest
import torch

from components.networks.classification.whitened import Decorrelated, FastBias, WhitenedVGG, whitened_vgg


@pytest.mark.parametrize("channels", [1, 3])
def test_the_first_layer_gives_components_of_variance_one_in_both_signs(channels: int) -> None:
    torch.manual_seed(0)
    smooth = torch.nn.functional.avg_pool2d(torch.randn(16, channels, 40, 40), 5, stride=1)
    layer = Decorrelated(channels)
    components = layer(3 * smooth)
    assert components.shape == (16, 8 * channels, 35, 35)
    torch.testing.assert_close(components[:, : 4 * channels], -components[:, 4 * channels :])
    assert components.var(dim=(0, 2, 3)).min() > 0.8
    assert not list(layer.parameters())
    grey = torch.full((1, channels, 8, 8), 0.5)
    assert layer.eval()(grey)[:, channels : 4 * channels].std() < 1e-2, "a plain image has no edges"


def test_a_plain_image_stays_finite() -> None:
    assert torch.isfinite(WhitenedVGG(4, 3)(torch.zeros(4, 3, 32, 32))).all()


@pytest.mark.parametrize("side", [17, 28, 32, 64])
def test_it_takes_small_images_of_any_size(side: int) -> None:
    assert whitened_vgg(7, 1, width=8)(torch.rand(2, 1, side, side)).shape == (2, 7)


def test_a_bias_moves_sixty_four_times_as_far_as_a_plain_one() -> None:
    layer, slope = FastBias(3), torch.tensor([1.0, -2.0, 0.5])
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    (layer(torch.zeros(1, 3, 1, 1)).flatten() @ slope).backward()
    optimizer.step()
    torch.testing.assert_close(layer(torch.zeros(1, 3, 1, 1)).flatten(), -64 * 0.1 * slope)
