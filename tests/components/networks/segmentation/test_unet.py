from __future__ import annotations

import pytest
import torch

from components.networks.segmentation.unet import unet


@pytest.mark.parametrize("size", [(32, 32), (37, 50), (16, 64)])
def test_the_output_has_the_size_of_the_input(size: tuple[int, int]) -> None:
    logits = unet(3, 1, width=4, depth=3)(torch.rand(2, 1, *size))
    assert logits.shape == (2, 3, *size)


def test_what_is_learnt_depends_on_far_pixels() -> None:
    torch.manual_seed(0)
    model = unet(2, 1, width=4, depth=4).eval()
    images = torch.rand(1, 1, 64, 64, requires_grad=True)
    model(images)[0, 0, 32, 32].backward()
    assert images.grad is not None
    assert (images.grad[0, 0].abs() > 0).any(dim=0).sum() > 48
