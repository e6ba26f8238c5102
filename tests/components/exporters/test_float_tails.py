from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from components.exporters._float_tails import error, in_float, tails
from components.exporters.onnx_int8 import plugin


def _node(kind: str, source: list[str], target: str) -> onnx.NodeProto:
    return onnx.helper.make_node(kind, source, [target], name=target)


def test_a_tail_is_what_stands_behind_the_last_layers_and_those_layers() -> None:
    nodes = [
        _node("Conv", ["x"], "body"),
        _node("Conv", ["body"], "head"),
        _node("Conv", ["body"], "other"),
        _node("Sigmoid", ["head"], "named"),
        _node("Add", ["named", "other"], "scores"),
    ]
    outputs = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ("scores", "other", "x")]
    found = tails(onnx.helper.make_graph(nodes, "g", [], outputs))
    assert {name: set(tail) for name, tail in found.items()} == {"scores": {"scores", "named", "head", "other"}}  # `other` is a layer's own


def test_a_tail_is_rounded_only_where_that_costs_next_to_nothing() -> None:
    tails_of = {"boxes": ["a", "b"], "scores": ["b", "c"], "exact": ["d"], "nan": ["e"]}

    def errors(nodes: Sequence[str]) -> dict[str, float]:
        return {"boxes": 0.9 if "a" in nodes else 1.0, "scores": 0.98 if "c" in nodes else 1.0, "exact": 0.0, "nan": np.nan}

    assert in_float(tails_of, errors) == ["a", "b"]
    assert in_float({}, errors) == []


def test_an_error_of_classes_is_the_share_that_differs_and_of_numbers_their_distance() -> None:
    assert error(np.array([1, 2, 3, 4], np.uint8), np.array([1, 2, 3, 255], np.uint8)) == 0.25
    assert error(np.array([0.0, 3.0], np.float32), np.array([0.0, -1.0], np.float32)) == np.sqrt(8)


class _Places(nn.Module):
    """Two heads on one body: `places` adds a little to positions that reach far, `shares` is the sigmoid of a sum."""

    output_names = ("places", "shares")

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        layers = [nn.Sequential(nn.Conv2d(number, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()) for number in (3, 8, 8, 8)]
        self.body = nn.Sequential(*layers)
        self.where, self.what = nn.Conv2d(8, 1, 1), nn.Conv2d(8, 1, 1)
        self.register_buffer("positions", torch.arange(0, 1600, 100).float())

    def forward(self, images_NHWC: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.body(images_NHWC.permute(0, 3, 1, 2).to(torch.float32) / 255)
        return self.where(features)[:, 0] + self.positions, self.what(features).sigmoid()


def test_what_calibration_shows_to_need_float_is_left_in_float(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (32, 16, 16, 3), dtype=np.uint8)
    network = _Places()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    network(torch.from_numpy(images))  # the normalisations see what the network is calibrated on
    network.eval()
    plugin.export(network, torch.zeros((2, 16, 16, 3), dtype=torch.uint8), images, {}, tmp_path / "model.onnx")
    tensors = onnx.load(tmp_path / "model.onnx").graph.initializer
    weights = sorted((tuple(tensor.dims), tensor.data_type == onnx.TensorProto.INT8) for tensor in tensors if len(tensor.dims) == 4)
    assert weights == [*[((1, 8, 1, 1), False)] * 2, ((8, 3, 3, 3), True), *[((8, 8, 3, 3), True)] * 3]
    with torch.inference_mode():
        expected = network(torch.from_numpy(images))[0].numpy()
    found = plugin.runner(tmp_path / "model.onnx", 1)(images)["places"]
    assert np.abs(found - expected).max() < 0.1  # in eight bits it would be about three
