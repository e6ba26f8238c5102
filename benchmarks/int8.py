"""INT8 against float ONNX: resnet18 at 224 px, one thread, in turn."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch import nn

from benchmarks.rows import Row
from components.exporters import onnx, onnx_int8
from components.networks.normalisation import Normalised
from components.parity.benchmark import latencies_ms, speedup
from components.tasks.classification import DeployGraph

TARGET = 3.4
NUM_CALIBRATION = 128
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def images(count: int) -> np.ndarray:
    """Return smooth random pictures, uint8 (N, 224, 224, 3): blurred noise has edges and areas as photographs have."""
    noise = torch.randn(count, 3, 14, 14, generator=torch.Generator().manual_seed(0))
    smooth = nn.functional.interpolate(noise, size=224, mode="bicubic") * 50 + 120
    return smooth.clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def network(pictures: np.ndarray) -> nn.Module:
    """Return a resnet18 with random weights whose normalisations have seen pictures, so that its activations are those of a trained one."""
    torch.manual_seed(0)
    model = Normalised(torchvision.models.resnet18(weights=None), MEAN, STD)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # plain averages over all that is seen
    model.train()
    with torch.no_grad():
        for start in range(0, len(pictures), 16):
            model(torch.from_numpy(pictures[start : start + 16]).permute(0, 3, 1, 2).float() / 255)
    return DeployGraph(model.eval()).eval()


def rows() -> list[Row]:
    """Measure."""
    pictures = images(NUM_CALIBRATION)
    graph = network(pictures[:64])
    example = torch.zeros((2, 224, 224, 3), dtype=torch.uint8)
    with tempfile.TemporaryDirectory() as folder:
        runners, sizes = [], []
        for exporter in (onnx.plugin, onnx_int8.plugin):
            path = Path(folder) / f"{exporter.format}.onnx"
            exporter.export(graph, example, pictures, {}, path)
            runners.append(exporter.runner(path, 1))
            sizes.append(path.stat().st_size / 1e6)
    floating, rounded = runners
    image = pictures[:1]
    faster = speedup(floating, rounded, image, seconds=15)
    milliseconds = [float(np.median(latencies_ms(runner, image))) for runner in runners]
    logits = [runner(pictures[:32])["logits"] for runner in runners]
    error = float(np.sqrt(np.mean((logits[1] - logits[0]) ** 2)) / logits[0].std(axis=0).mean())
    measured = f"{faster.value:.2f}× (95%: {faster.low:.2f} to {faster.high:.2f}); {milliseconds[0]:.1f} → {milliseconds[1]:.1f} ms"
    note = f"{sizes[0]:.1f} → {sizes[1]:.1f} MB; logits differ by {error:.2f} of their spread over images (random weights)"
    return [Row("INT8 resnet18 at 224 px against float ONNX, one thread", measured, f"{TARGET}×", faster.value, faster.value >= TARGET, note)]
