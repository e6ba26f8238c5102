"""Two things measured in turn, again and again, so that whatever else the machine does falls on both."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from components import progress


@dataclass(frozen=True)
class Pairs:
    """Rates of two contenders, measured in turn.

    Attributes:
        ours: Median rate.
        theirs: Median rate.
        ratio: Median over the pairs of ours over theirs.
        low: Least ratio of a pair.
        high: Largest ratio of a pair.
    """

    ours: float
    theirs: float
    ratio: float
    low: float
    high: float


def interleaved(ours: Callable[[], float], theirs: Callable[[], float], num_pairs: int, description: str) -> Pairs:
    """Measure `num_pairs` pairs, the one that goes first changing each time."""
    rates: list[tuple[float, float]] = []
    with progress.bar(description, num_pairs, "pairs") as bar:
        for number in range(num_pairs):
            if number % 2:
                right = theirs()
                left = ours()
            else:
                left = ours()
                right = theirs()
            rates.append((left, right))
            bar.update(ratio=left / right)
    ratios = [left / right for left, right in rates]
    middles = [statistics.median(rate) for rate in zip(*rates, strict=True)]
    return Pairs(middles[0], middles[1], statistics.median(ratios), min(ratios), max(ratios))
