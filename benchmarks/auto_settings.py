"""What `auto` settings bring on this machine: the loop as it chooses, against the plain loop in float32."""

from __future__ import annotations

import time

import torch

from benchmarks.pairs import interleaved
from benchmarks.rows import Row
from benchmarks.throughput import apart, measure
from components.training.runtime import cpu_has_bf16, threads

TARGET = 2.5


def products(dtype: torch.dtype) -> float:
    """Return the multiply-adds per second of large matrix products on one thread: no convolution of this dtype can be much faster."""
    with threads(1):
        left, right = (torch.randn(1024, 1024).to(dtype) for _ in range(2))
        best = float("inf")
        for _ in range(30):
            began = time.thread_time()
            left @ right
            best = min(best, time.thread_time() - began)
    return float(1024**3 / best)


def rows() -> list[Row]:
    """Measure."""
    pairs = measure("resnet18_small", {}, 64, 3, 5, {"device": "cpu"})
    measured = f"{pairs.ours:,.0f} against {pairs.theirs:,.0f} images/s: {pairs.ratio:.2f}× ({pairs.low:.2f} to {pairs.high:.2f})"
    met, note = None, "channels-last; this processor has no bf16 instructions, the target is for those that do"
    if cpu_has_bf16():
        met = pairs.ratio >= TARGET
        limit = interleaved(lambda: apart(lambda: products(torch.bfloat16)), lambda: apart(lambda: products(torch.float32)), 3, "matrix products")
        note = f"channels-last and bf16 autocast; large matrix products alone gain {limit.ratio:.2f}× from bf16 on this processor"
    name = "auto settings, resnet18 (first layer 3×3, no pooling) at 32 px on the CPU, against the plain loop in float32"
    return [Row(name, measured, "2.5×", pairs.ratio, met, note)]
