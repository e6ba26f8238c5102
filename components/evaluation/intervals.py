"""Intervals of metrics: the percentile bootstrap over images (Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979).

Images of one group (a patient, a camera, a video) are right or wrong together, so that a hundred of them say less than a hundred others. Where there
are groups, groups are drawn, and within each drawn one images (the two-stage bootstrap of Davison and Hinkley, "Bootstrap Methods and their
Application", 1997, 3.8). Measured on two equally good models, each one's accuracy drawn anew for each of 40 groups of 10 images: the interval of the
difference lay above 0 in 15 of 100 tries when images were drawn, in 2 when groups were; it should in 2 to 3. Few groups are still too sure of
themselves (5 groups of 40: 29 and 8).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.progress import bar
from components.protocols import Evaluator
from components.records import Interval

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Groups = Sequence[str | None] | None

#: Both ends of a two-sided 95% interval.
_ENDS = (0.025, 0.975)


def resample_weights(num_images: int, num_resamples: int, seed: int, groups: Groups = None) -> Iterator[FloatArray]:
    """Yield how often each image was drawn in each of the resamples, float64 (N,); summing to N where no group has several images.

    Args:
        num_images: N.
        num_resamples: How many are yielded.
        seed: Of the draws.
        groups: The group of each image, None or NaN where it has none; None: no image has one.
    """
    generator = np.random.default_rng(seed)
    images, sizes = _by_group(groups, num_images)
    starts = np.cumsum(sizes) - sizes
    for _ in range(num_resamples):
        drawn = generator.integers(0, len(sizes), len(sizes))
        if len(sizes) < num_images:
            of_group = np.repeat(drawn, sizes[drawn])
            drawn = images[starts[of_group] + generator.integers(0, sizes[of_group])]
        yield np.bincount(drawn, minlength=num_images).astype(np.float64)


def _by_group(groups: Groups, num_images: int) -> tuple[IntArray, IntArray]:
    """Return the images in the order of their groups, int64 (N,), and how many each group has; one without a group is a group by itself."""
    if groups is None:
        return np.arange(num_images), np.ones(num_images, dtype=np.int64)
    codes, names = pd.factorize(np.asarray(groups, dtype=object))
    codes = np.where(codes < 0, len(names) + np.arange(num_images), codes)
    _, sizes = np.unique(codes, return_counts=True)
    return np.argsort(codes, kind="stable"), sizes


def interval(value: float, resampled: Sequence[float] | FloatArray) -> Interval:
    """Return `value` with the 95% percentile interval of the same figure over resamples.

    A resampled figure that is not defined (NaN) is left out.
    """
    low, high = np.nanquantile(np.asarray(resampled, dtype=np.float64), _ENDS)
    return Interval(value=value, low=float(low), high=float(high))


def bootstrap(evaluator: Evaluator, statistics: FloatArray, num_resamples: int = 1000, seed: int = 0, groups: Groups = None) -> dict[str, Interval]:
    """Return the metrics with their 95% intervals: those that are defined, and that the evaluator scores with weights too.

    Args:
        evaluator: Gives the metrics.
        statistics: What each image adds to them, float64 (N, K).
        num_resamples: How often the images are drawn anew.
        seed: Of the draws.
        groups: As in `resample_weights`.

    Raises:
        DataError: There is no image.
    """
    values = evaluator.score(statistics)
    resampled: list[dict[str, float]] = []
    with bar("intervals", num_resamples, "resamples") as progress:
        for weights in resample_weights(len(statistics), num_resamples, seed, groups):
            resampled.append(evaluator.score(statistics, weights))
            progress.update()
    drawn = {metric: value for metric, value in values.items() if metric in resampled[0] and not np.isnan(value)}
    return {metric: interval(value, [scores[metric] for scores in resampled]) for metric, value in drawn.items()}
