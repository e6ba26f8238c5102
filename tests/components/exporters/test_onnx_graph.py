from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from components.errors import InputError
from components.exporters.onnx import plugin as onnx_exporter
from components.exporters.torch_export import plugin as torch_exporter


class DependsOnPixels(nn.Module):
    output_names = ("logits",)

    def forward(self, images_NHWC: torch.Tensor) -> torch.Tensor:
        means = images_NHWC.float().mean((1, 2))
        return means if means.max() > 3 else means * 2


@pytest.mark.parametrize("exporter", [onnx_exporter, torch_exporter], ids=lambda exporter: exporter.format)
def test_a_network_that_cannot_be_captured_is_an_error_for_people(exporter: object, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="this network") as caught:
        exporter.export(DependsOnPixels(), torch.zeros((2, 8, 8, 3), dtype=torch.uint8), None, {}, tmp_path / exporter.file_name)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
