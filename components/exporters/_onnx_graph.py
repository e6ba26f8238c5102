"""A torch graph as one ONNX file that holds nothing of the machine it was written on."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import onnx
import torch
from torch import nn

from components.errors import InputError

INPUT = "images"

_captured: WeakKeyDictionary[nn.Module, bytes] = WeakKeyDictionary()


def write_onnx(graph: nn.Module, example_NHWC: torch.Tensor, metadata: Mapping[str, str], path: Path) -> None:
    """Write `graph` as ONNX with a free batch size; equal weights and metadata give equal bytes.

    The capture is kept as long as the graph lives: an INT8 export needs it as its source, and its measurement as the float
    model that it is compared with. The graph's weights must not change in between.

    Raises:
        InputError: torch cannot export the graph.
    """
    if graph not in _captured:
        _captured[graph] = _capture(graph, example_NHWC)
    save(onnx.load_model_from_string(_captured[graph]), metadata, path)


def _capture(graph: nn.Module, example_NHWC: torch.Tensor) -> bytes:
    batch = {0: torch.export.Dim("batch")}
    try:
        with _quiet(), torch.inference_mode():
            program = torch.onnx.export(
                graph.eval(),
                (example_NHWC,),
                input_names=[INPUT],
                output_names=output_names(graph),
                dynamic_shapes=(batch,),
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except (torch.onnx.OnnxExporterError, RuntimeError) as error:
        raise InputError(f"torch cannot write this network as ONNX: {reason(error)}") from error
    if program is None:
        raise InputError("torch cannot write this network as ONNX: the exporter returned nothing")
    content: bytes = program.model_proto.SerializeToString()
    return content


def save(model: onnx.ModelProto, metadata: Mapping[str, str], path: Path) -> None:
    """Write a model with `metadata` inside, without doc strings, traces and source paths."""
    del model.metadata_props[:]
    model.doc_string = model.graph.doc_string = ""
    del model.graph.metadata_props[:]
    _strip(model.graph)
    for key in sorted(metadata):
        model.metadata_props.add(key=key, value=metadata[key])
    path.write_bytes(model.SerializeToString(deterministic=True))


def output_names(graph: nn.Module) -> list[str]:
    """Return the names of a deploy graph's outputs, as the graph itself says."""
    return [str(name) for name in getattr(graph, "output_names")]  # noqa: B009 - a module's attributes are typed as tensors


def reason(error: BaseException) -> str:
    """Return the first line of what lies at the bottom of an exporter's error."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__


def _strip(graph: Any) -> None:
    for item in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del item.metadata_props[:]
        item.doc_string = ""
    for node in graph.node:
        for attribute in node.attribute:
            attribute.doc_string = ""
            if attribute.type == onnx.AttributeProto.GRAPH:
                _strip(attribute.g)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's own remarks off the terminal; what matters it raises."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
