from __future__ import annotations

import pytest
import torch

from components.errors import DataError
from components.networks.classification.models import build
from components.networks.structure import apply_structure, structure_of


@pytest.mark.parametrize(
    ("name", "narrow"),
    [("resnet9", {"width": 4}), ("mobilenet_v2", {"width_mult": 0.5}), ("resnet18", None)],
)
def test_a_network_takes_the_shapes_of_a_narrower_one_and_then_its_weights(name: str, narrow: dict[str, object] | None) -> None:
    options = narrow or {}
    torch.manual_seed(0)
    small = build(name, 3, 3, (32, 32), options).eval()
    wide = build(name, 3, 3, (32, 32), {"width": 8} if name == "resnet9" else {}).eval()
    apply_structure(wide, structure_of(small))
    images = torch.rand(2, 3, 32, 32)
    assert wide(images).shape == (2, 3)  # runs with its new random weights
    wide.load_state_dict(small.state_dict())
    assert torch.equal(wide(images), small(images))


def test_a_structure_of_another_network_is_refused() -> None:
    with pytest.raises(DataError, match="another network"):
        apply_structure(build("resnet9", 3, 3, (32, 32), {}), structure_of(build("resnet18", 3, 3, (32, 32), {})))
