"""Which of a graph's tails stay in float when the rest is quantised: those whose rounding, measured on calibration images, makes an output worse.

A tail is what an output is computed by behind the last layers with weights, and those layers. A detector's distances reach from a fraction of a pixel
to half the image, its scores crowd near zero, and the class of a pixel hangs on which of two logits is larger: in 256 steps much of that may be lost,
and the layers that make them are cheap. So a tail is rounded only where that costs next to nothing. Where the last layers give the output themselves,
as a classifier's do, there is no tail.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from components.protocols import Array

log = logging.getLogger(__name__)

#: A tail is rounded if its output's error then is at most this many times as large as with all tails in float.
TOLERATED = 1.05
_WEIGHTED = {"Conv", "ConvTranspose", "Gemm", "MatMul"}


def tails(graph: Any) -> dict[str, list[str]]:
    """Return by output the names of the nodes of its tail; outputs that a layer with weights gives itself are left out."""
    makers = {name: node for node in graph.node for name in node.output}
    found: dict[str, list[str]] = {}
    for output in graph.output:
        ahead, tail = [makers[output.name]] if output.name in makers else [], dict[str, None]()
        if all(node.op_type in _WEIGHTED for node in ahead):
            continue
        while ahead:
            node = ahead.pop()
            if node.name in tail:
                continue
            tail[node.name] = None
            if node.op_type not in _WEIGHTED:
                ahead += [makers[name] for name in node.input if name in makers]
        found[output.name] = list(tail)
    return found


def in_float(tails: Mapping[str, Sequence[str]], errors: Callable[[Sequence[str]], Mapping[str, float]]) -> list[str]:
    """Return the names of the nodes that stay in float.

    Args:
        tails: By output the names of its tail's nodes.
        errors: Takes the names of nodes and returns by output how wrong it is when these alone stay in float.
    """
    if not tails:
        return []
    every = list(dict.fromkeys(node for nodes in tails.values() for node in nodes))
    least = errors(every)
    chosen: dict[str, None] = {}
    for output, nodes in tails.items():
        rounded = errors([node for node in every if node not in set(nodes)])[output]
        if rounded > TOLERATED * least[output]:
            chosen |= dict.fromkeys(nodes)
            log.info("%s: computed in float behind the last layers, rounded it would be %.2g wrong instead of %.2g", output, rounded, least[output])
    return list(chosen)


def error(found: Array, expected: Array) -> float:
    """Return how wrong an output is: the root of the mean squared difference; of whole numbers (classes) the share that differ."""
    if np.issubdtype(expected.dtype, np.integer):
        return float(np.mean(found != expected))
    return float(np.sqrt(np.mean((found.astype(np.float64) - expected) ** 2)))
