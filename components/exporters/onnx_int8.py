"""ONNX in eight bits: static quantisation, weights signed and per channel, activations unsigned, calibrated on training images.

Unsigned activations with signed weights are what the integer dot products of x86 (VNNI) and Arm take directly; measured on a
resnet18 at 224 px, one thread of a Zen 4 core: 9.4 ms, against 25 ms with signed activations and 33 ms in float32.
Processors with AVX2 or AVX-512 but no VNNI can saturate on them (ONNX Runtime's documentation, "Quantize ONNX models").
Scheme: quantise-dequantise pairs (QDQ); Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import nn

from components import progress
from components.errors import InputError
from components.exporters._float_tails import error, in_float, tails
from components.exporters._onnx_graph import INPUT, save, write_onnx
from components.serving.onnx_runner import OnnxRunner

if TYPE_CHECKING:
    from components.protocols import Array

Floats = npt.NDArray[np.float64]

_BATCH = 16
#: Calibration images on which the error of a tail is measured.
_NUM_TRIED = 32
#: Normalisations that no convolution absorbed, and softmax, have no integer form that is faster, and lose much in one.
_IN_FLOAT = {"BatchNormalization", "InstanceNormalization", "LayerNormalization", "Softmax"}


class OnnxInt8:
    """An `Exporter` through ONNX Runtime's static quantiser."""

    format = "onnx_int8"
    file_name = "model.onnx"
    needs_calibration = True

    def export(self, graph: nn.Module, example_NHWC: torch.Tensor, calibration_NHWC: Array | None, metadata: Mapping[str, str], path: Path) -> None:
        """Write the graph in float32, fuse it, let it read bytes, quantise it but for the tails that need float; see `Exporter.export`."""
        if calibration_NHWC is None or not len(calibration_NHWC):
            raise InputError("INT8 needs training images to calibrate on; there are none")
        with TemporaryDirectory(dir=path.parent) as folder:
            plain, fused = (Path(folder) / f"{name}.onnx" for name in ("plain", "fused"))
            write_onnx(graph, example_NHWC, {}, plain)
            quant_pre_process(str(plain), str(fused), skip_symbolic_shape=True)
            model = read_uint8(onnx.load(fused))
            onnx.save(model, fused)
            with progress.bar("calibrate INT8", len(calibration_NHWC)) as bar:
                attempt = _Attempt(Path(folder), _Batches(calibration_NHWC, bar))
                attempt.quantise(())
            some = calibration_NHWC[:: -(-len(calibration_NHWC) // _NUM_TRIED)]
            expected = OnnxRunner(fused)(some)

            def errors(nodes: Sequence[str]) -> dict[str, float]:
                found = OnnxRunner(attempt.quantise(nodes))(some)
                return {name: error(found[name], expected[name]) for name in expected}

            save(onnx.load(attempt.quantise(in_float(tails(model.graph), errors))), metadata, path)

    def runner(self, path: Path, num_threads: int) -> OnnxRunner:
        """Load a written file; see `Exporter.runner`."""
        return OnnxRunner(path, num_threads)


@dataclass(frozen=True)
class _Attempt:
    """Quantises the fused graph of a folder, calibrating once.

    Attributes:
        folder: Holds fused.onnx; takes the ranges and what is written.
        images: To calibrate on.
    """

    folder: Path
    images: _Batches

    def quantise(self, in_float: Sequence[str]) -> Path:
        """Return the graph in eight bits but for the nodes of these names."""
        out = self.folder / "quantised.onnx"
        quantize_static(
            str(self.folder / "fused.onnx"),
            str(out),
            self.images,
            quant_format=QuantFormat.QDQ,
            nodes_to_exclude=list(in_float),
            op_types_to_quantize=sorted((set(QDQRegistry) | set(QLinearOpsRegistry)) - _IN_FLOAT),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            calibration_cache_path=self.folder / "ranges.json",
        )
        return out


class _Batches(CalibrationDataReader):  # type: ignore[misc]
    """Calibration images, a batch at a time."""

    def __init__(self, images_NHWC: Array, bar: progress.Progress) -> None:
        self._images, self._bar, self._next = images_NHWC, bar, 0

    def get_next(self) -> dict[str, Array] | None:
        batch = self._images[self._next : self._next + _BATCH]
        self._next += len(batch)
        self._bar.update(len(batch))
        return {INPUT: batch} if len(batch) else None


@dataclass(frozen=True)
class _Fold:
    """New weights of the first convolution: (O, C, kH, kW) or (O, C + 1, kH, kW), bias (O,), zero point, the further channel's value."""

    weights: Floats
    bias: Floats
    zero_point: int
    constant: int | None


def read_uint8(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with the normalisation inside its first convolution, or as it is if it begins in another way.

    A deploy graph begins with uint8 → float → normalise → convolution. Quantised as it stands, the normalised image would be
    computed in float and rounded to eight bits again. But with x in 0..255 the normalised value is a·x + b for each channel,
    so the convolution can take x itself, as an eight-bit number with zero point z, and its weights take the a and b:

        a·x + b = 255·a · (x - z)/255 + (a·z + b)

    The last term is a constant, which the convolution's bias takes; except at the border, where padding stands for a normalised
    0, that is x = -b/a, and not for x = z. Where the channels' -b/a differ by more than rounding, a further input channel that
    is constant inside the image and z in the padding carries the term, so that the result is exact there too.

    Args:
        model: uint8 NHWC input of a fixed image size, one input.
    """
    graph = model.graph
    conv = next((node for node in graph.node if node.op_type == "Conv"), None)
    if conv is None or not _alone(graph, conv):
        return model
    affine = _affine(model, conv.input[0])
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    if affine is None or conv.input[1] not in constants or (len(conv.input) > 2 and conv.input[2] not in constants):
        return model
    weights = constants[conv.input[1]].astype(np.float64)
    bias = constants[conv.input[2]].astype(np.float64) if len(conv.input) > 2 else np.zeros(len(weights))
    pads = next((list(attribute.ints) for attribute in conv.attribute if attribute.name == "pads"), [])
    folded = onnx.ModelProto()
    folded.CopyFrom(model)
    _rewrite(folded.graph, conv.name, _fold(weights, bias, *affine, padded=any(pads)))
    return folded


def _alone(graph: Any, conv: Any) -> bool:
    """Tell whether the image reaches the network through this convolution alone, and all its channels."""
    plain = all(attribute.i == 1 for attribute in conv.attribute if attribute.name == "group")
    plain &= all(attribute.s in (b"NOTSET", b"VALID") for attribute in conv.attribute if attribute.name == "auto_pad")
    return plain and sum(conv.input[0] in node.input for node in graph.node) == 1


def _affine(model: onnx.ModelProto, tensor: str) -> tuple[Floats, Floats] | None:
    """Return a and b (C,) with `tensor` NCHW = a·images + b by trying it, or None if it is no such function."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.output.append(helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"])
    height, width, channels = (dimension.dim_value for dimension in model.graph.input[0].type.tensor_type.shape.dim[1:])
    noise = np.random.default_rng(0).integers(0, 256, (1, height, width, channels), dtype=np.uint8)
    black, white = np.zeros_like(noise), np.full_like(noise, 255)
    at_black, at_white, at_noise = (
        session.run([tensor], {model.graph.input[0].name: images})[0].astype(np.float64) for images in (black, white, noise)
    )
    if at_black.shape != (1, channels, height, width):
        return None
    shift = at_black[0, :, 0, 0]
    gain = (at_white[0, :, 0, 0] - shift) / 255
    expected = gain[:, None, None] * noise[0].transpose(2, 0, 1) + shift[:, None, None]
    return (gain, shift) if np.all(gain) and np.allclose(at_noise[0], expected, rtol=0, atol=1e-3 * np.abs(gain).min()) else None


def _fold(weights: Floats, bias: Floats, gain: Floats, shift: Floats, *, padded: bool) -> _Fold:
    zero_point = int(np.clip(np.round(np.mean(-shift / gain)), 0, 255))
    rest = gain * zero_point + shift  # of a pixel that is zero_point
    scaled = weights * 255 * gain[:, None, None]
    offsets = np.einsum("ochw,c->ohw", weights, rest)
    if not padded or np.all(np.abs(rest / gain) <= 0.5):
        return _Fold(scaled, bias + offsets.sum((1, 2)), zero_point, None)
    constant = 255 if zero_point < 128 else 0
    return _Fold(np.concatenate([scaled, offsets[:, None] * 255 / (constant - zero_point)], axis=1), bias, zero_point, constant)


def _rewrite(graph: Any, conv_name: str, fold: _Fold) -> None:
    image = graph.input[0]
    height, width = (dimension.dim_value for dimension in image.type.tensor_type.shape.dim[1:3])
    nodes = [helper.make_node("Transpose", [image.name], ["pixels"], perm=[0, 3, 1, 2])]
    pixels = "pixels"
    values: dict[str, npt.NDArray[Any]] = {
        "pixels_scale": np.array(1 / 255, np.float32),
        "pixels_zero_point": np.array(fold.zero_point, np.uint8),
        "pixels_weight": fold.weights.astype(np.float32),
        "pixels_bias": fold.bias.astype(np.float32),
    }
    if fold.constant is not None:
        values |= {"inside": np.full((1, 1, height, width), fold.constant, np.uint8), "inside_dims": np.ones(3, np.int64)}
        nodes += [
            helper.make_node("Shape", [image.name], ["inside_batch"], start=0, end=1),
            helper.make_node("Concat", ["inside_batch", "inside_dims"], ["inside_shape"], axis=0),
            helper.make_node("Expand", ["inside", "inside_shape"], ["inside_all"]),
            helper.make_node("Concat", ["pixels", "inside_all"], ["pixels_inside"], axis=1),
        ]
        pixels = "pixels_inside"
    nodes.append(helper.make_node("DequantizeLinear", [pixels, "pixels_scale", "pixels_zero_point"], ["pixels_float"]))
    for node in graph.node:
        if node.name == conv_name:
            node.input[:] = ["pixels_float", "pixels_weight", "pixels_bias"]
    used = [*nodes, *graph.node]
    while used != (kept := _without_dead(graph, used)):
        used = kept
    del graph.node[:]
    graph.node.extend(used)
    del graph.value_info[:]
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.items())
    needed = {name for node in used for name in node.input}
    tensors = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(tensors)


def _without_dead(graph: Any, nodes: list[Any]) -> list[Any]:
    needed = {name for node in nodes for name in node.input} | {output.name for output in graph.output}
    return [node for node in nodes if any(name in needed for name in node.output)]


plugin = OnnxInt8()
