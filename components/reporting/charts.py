"""Charts as inline SVG in the page's own colours; they follow light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from components.records import Interval


@dataclass(frozen=True)
class Line:
    """A named curve; `kind` is its class in the style sheet (a, b or c)."""

    name: str
    kind: str
    points: Sequence[tuple[float, float]]


def interval_chart(rows: Sequence[tuple[str, str, Interval]], zero: float | None = None) -> str:
    """Return one line a row with a dot and the interval around it, on one axis: of percents, or of percentage points where there is a zero.

    Args:
        rows: Name, class in the style sheet, interval.
        zero: The rows are differences of shares, and a dashed line stands here.
    """
    values = [value for _, _, interval in rows for value in (interval.low, interval.high)] + ([] if zero is None else [zero])
    low, high = min(values), max(values)
    room = max(high - low, 0.002) * 0.12
    low, high = low - room, high + room
    left, width, step = min(84 + 7 * max(0, max(len(name) for name, _, _ in rows) - 11), 240), 400, 28  # a letter is some 7 wide
    height = step * len(rows) + 30

    def x(value: float) -> float:
        return left + (width - left - 14) * (value - low) / (high - low)

    told = _percent if zero is None else _points
    parts = [f'<svg class="chart" viewBox="0 0 {width} {height}" role="img">']
    for tick in ticks(low, high, 5):
        parts.append(f'<line class="grid" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="4" y2="{height - 22}"/>')
        parts.append(f'<text class="tick" x="{x(tick):.1f}" y="{height - 8}" text-anchor="middle">{told(tick)}</text>')
    if zero is not None:
        parts.append(f'<line class="zero" x1="{x(zero):.1f}" x2="{x(zero):.1f}" y1="2" y2="{height - 22}"/>')
    for place, (name, kind, interval) in enumerate(rows):
        y = step * place + 20
        parts.append(f'<text class="label" x="0" y="{y + 4}">{escape(name)}</text>')
        parts.append(f'<line class="whisker {kind}" x1="{x(interval.low):.1f}" x2="{x(interval.high):.1f}" y1="{y}" y2="{y}"/>')
        parts.append(f'<circle class="dot {kind}" cx="{x(interval.value):.1f}" cy="{y}" r="5.5"/>')
    return "".join([*parts, "</svg>"])


def line_chart(lines: Sequence[Line], percent: bool) -> str:
    """Return curves over epochs.

    Args:
        lines: At least one point between them.
        percent: The values are shares.
    """
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points]
    low, high = min(ys), max(ys)
    room = max(0.08 * (high - low), 0.01 * max(abs(low), abs(high)), 1e-6)  # a single point has no spread
    low, high = (low - room, min(high + room, 1.0) if percent else high + room)
    first = min(xs)
    last = max(first + 1, *xs)
    left, right, top, width, height = 44, 10, 8, 400, 190

    def place(x: float, y: float) -> tuple[float, float]:
        return left + (width - left - right) * (x - first) / (last - first), top + (height - top - 26) * (high - y) / (high - low)

    parts = [f'<svg class="chart" viewBox="0 0 {width} {height}" role="img">']
    for tick in ticks(low, high, 4):
        _, y = place(first, tick)
        parts.append(f'<line class="grid" x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{left - 6}" y="{y + 3.5:.1f}" text-anchor="end">{_percent(tick) if percent else f"{tick:.3g}"}</text>')
    for tick in ticks(first, last, 6):
        if tick == int(tick):
            x, _ = place(tick, low)
            parts.append(f'<text class="tick" x="{x:.1f}" y="{height - 6}" text-anchor="middle">{tick:.0f}</text>')
    for line in lines:
        points = [place(x, y) for x, y in line.points]
        if len(points) > 1:
            parts.append(f'<polyline class="curve {line.kind}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>')
        if points:
            parts.append(f'<circle class="dot {line.kind}" cx="{points[-1][0]:.1f}" cy="{points[-1][1]:.1f}" r="3.5"/>')
    return "".join([*parts, "</svg>"])


def ticks(low: float, high: float, count: int) -> list[float]:
    """Return about `count` round numbers between `low` and `high`."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw)
    first = math.ceil(low / step)
    return [round(place * step, 12) for place in range(first, math.floor(high / step) + 1)]


def _percent(share: float) -> str:
    return f"{100 * share:.4g}%"


def _points(difference: float) -> str:
    return f"{100 * difference:+.3g}"
