"""What `auto` settings bring on this machine: the loop as it chooses, against the plain loop in float32."""

from __future__ import annotations

from benchmarks.rows import Row
from benchmarks.throughput import measure
from components.training.runtime import cpu_has_bf16

TARGET = 2.5


def rows() -> list[Row]:
    """Measure."""
    pairs = measure("resnet18_small", {}, 64, 3, 5, {"device": "cpu"})
    measured = f"{pairs.ours:,.0f} against {pairs.theirs:,.0f} images/s: {pairs.ratio:.2f}× ({pairs.low:.2f} to {pairs.high:.2f})"
    met = pairs.ratio >= TARGET if cpu_has_bf16() else None
    note = (
        "channels-last and bf16 autocast"
        if cpu_has_bf16()
        else "channels-last; this processor has no bf16 instructions, the target is for those that do"
    )
    return [
        Row(
            "auto settings, resnet18 (first layer 3×3, no pooling) at 32 px on the CPU, against the plain loop in float32",
            measured,
            "2.5×",
            pairs.ratio,
            met,
            note,
        )
    ]
