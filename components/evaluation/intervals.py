"""Intervals of metrics: the percentile bootstrap over images (Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from components.progress import bar
from components.protocols import Evaluator
from components.records import Interval

FloatArray = npt.NDArray[np.float64]

#: Both ends of a two-sided 95% interval.
_ENDS = (0.025, 0.975)


def resample_weights(num_images: int, num_resamples: int, seed: int) -> Iterator[FloatArray]:
    """Yield how often each image was drawn in each of the resamples, float64 (N,), summing to N."""
    generator = np.random.default_rng(seed)
    for _ in range(num_resamples):
        drawn = generator.integers(0, num_images, num_images)
        yield np.bincount(drawn, minlength=num_images).astype(np.float64)


def interval(value: float, resampled: Sequence[float] | FloatArray) -> Interval:
    """Return `value` with the 95% percentile interval of the same figure over resamples.

    A resampled figure that is not defined (NaN) is left out.
    """
    low, high = np.nanquantile(np.asarray(resampled, dtype=np.float64), _ENDS)
    return Interval(value=value, low=float(low), high=float(high))


def bootstrap(evaluator: Evaluator, statistics: FloatArray, num_resamples: int = 1000, seed: int = 0) -> dict[str, Interval]:
    """Return the metrics with their 95% intervals: those that are defined, and that the evaluator scores with weights too.

    Args:
        evaluator: Gives the metrics.
        statistics: What each image adds to them, float64 (N, K).
        num_resamples: How often the images are drawn anew.
        seed: Of the draws.

    Raises:
        DataError: There is no image.
    """
    values = evaluator.score(statistics)
    resampled: list[dict[str, float]] = []
    with bar("intervals", num_resamples, "resamples") as progress:
        for weights in resample_weights(len(statistics), num_resamples, seed):
            resampled.append(evaluator.score(statistics, weights))
            progress.update()
    drawn = {metric: value for metric, value in values.items() if metric in resampled[0] and not np.isnan(value)}
    return {metric: interval(value, [scores[metric] for scores in resampled]) for metric, value in drawn.items()}
