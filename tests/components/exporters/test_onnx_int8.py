from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from components.errors import InputError
from components.exporters.onnx_int8 import plugin, read_uint8
from components.serving.onnx_runner import OnnxRunner

MEANS, STDS = [0.2, 0.5, 0.9], [0.1, 0.2, 0.3]


class Network(nn.Module):
    """uint8 NHWC → normalised → convolutions → logits."""

    output_names = ("logits",)

    def __init__(self, means: list[float], padding: int, skip: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        channels = len(means)
        self.register_buffer("mean", torch.tensor(means).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(STDS[:channels]).view(1, -1, 1, 1))
        self.first = nn.Conv2d(channels, 8, 3, padding=padding)
        self.second = nn.Conv2d(8 + (channels if skip else 0), 8, 3)
        self.head = nn.Linear(8, 5)
        self.skip = skip

    def forward(self, images_NHWC: torch.Tensor) -> torch.Tensor:
        images = (images_NHWC.permute(0, 3, 1, 2).to(torch.float32) / 255 - self.mean) / self.std
        features = self.first(images).relu()
        if self.skip:
            features = torch.cat([features, images], dim=1)
        return self.head(self.second(features).relu().mean((2, 3)))


def float_model(network: nn.Module, channels: int, folder: Path) -> onnx.ModelProto:
    from components.exporters.onnx import plugin as exporter

    exporter.export(network, torch.zeros((2, 12, 12, channels), dtype=torch.uint8), None, {}, folder / "float.onnx")
    return onnx.load(folder / "float.onnx")


@pytest.mark.parametrize(
    ("means", "padding", "input_channels", "tolerance"),
    [
        pytest.param(MEANS, 1, 4, 2e-5, id="colour, padded: one channel more says where the image is"),
        pytest.param(MEANS, 0, 3, 2e-5, id="colour, not padded"),
        pytest.param([0.5, 0.5, 0.5], 1, 3, 5e-4, id="all channels alike: padding is right but for rounding"),
        pytest.param([0.3], 1, 1, 5e-3, id="gray: the same"),
    ],
)
def test_first_convolution_reads_bytes(means: list[float], padding: int, input_channels: int, tolerance: float, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 12, 12, len(means)), dtype=np.uint8)
    model = float_model(Network(means, padding).eval(), len(means), tmp_path)
    folded = read_uint8(model)
    onnx.checker.check_model(folded)
    onnx.save(folded, tmp_path / "folded.onnx")
    expected = OnnxRunner(tmp_path / "float.onnx")(images)["logits"]
    np.testing.assert_allclose(OnnxRunner(tmp_path / "folded.onnx")(images)["logits"], expected, atol=tolerance)
    assert not {"Sub", "Div", "Cast"} & {node.op_type for node in folded.graph.node}
    first = next(node for node in folded.graph.node if node.op_type == "Conv")
    weights = next(tensor for tensor in folded.graph.initializer if tensor.name == first.input[1])
    assert list(weights.dims) == [8, input_channels, 3, 3]


def test_a_graph_that_uses_the_image_twice_is_left_alone(tmp_path: Path) -> None:
    model = float_model(Network(MEANS, 1, skip=True).eval(), 3, tmp_path)
    assert read_uint8(model) is model


def test_weights_are_eight_bits_per_channel(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (32, 12, 12, 3), dtype=np.uint8)
    network = Network(MEANS, 1).eval()
    plugin.export(network, torch.zeros((2, 12, 12, 3), dtype=torch.uint8), images, {}, tmp_path / "model.onnx")
    graph = onnx.load(tmp_path / "model.onnx").graph
    weights = [tensor for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 4]
    scales = {tensor.name: list(tensor.dims) for tensor in graph.initializer if tensor.name.endswith("_scale")}
    assert [list(tensor.dims) for tensor in weights] == [[8, 4, 3, 3], [8, 8, 3, 3]]
    assert all(scales[tensor.name.replace("_quantized", "_scale")] == [8] for tensor in weights)
    with torch.inference_mode():
        expected = network(torch.from_numpy(images)).numpy()
    assert np.abs(plugin.runner(tmp_path / "model.onnx", 1)(images)["logits"] - expected).max() < 0.05 * np.ptp(expected)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_no_calibration_images_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="training images to calibrate"):
        plugin.export(Network(MEANS, 1), torch.zeros((2, 12, 12, 3), dtype=torch.uint8), None, {}, tmp_path / "model.onnx")
