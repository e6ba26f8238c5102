"""Two models on the same images: is the second better by more than chance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydantic import Field

from components.errors import DataError
from components.evaluation.intervals import Groups, interval, resample_weights
from components.progress import bar
from components.protocols import Evaluator
from components.records import Interval, Record

FloatArray = npt.NDArray[np.float64]


class PairedComparison(Record):
    """Model b (the challenger) against model a (the champion) on the same images."""

    metric: str
    num_images: int
    num_different: int = Field(description="images that the two models did not treat exactly alike")
    a: Interval
    b: Interval
    gain: Interval = Field(description="b minus a; the interval is two-sided, 95%, of the paired difference")
    class_drops: dict[str, float] = Field(description="a minus b of each class that has images; above 0: b is worse")
    worst_class: str
    worst_class_drop: float

    def superior(self, min_gain: float) -> bool:
        """Tell whether b is better by more than `min_gain` beyond chance: the lower end of the gain's interval is above it."""
        return self.gain.low > min_gain


def compare_paired(
    evaluator: Evaluator, statistics_a: FloatArray, statistics_b: FloatArray, num_resamples: int = 1000, seed: int = 0, groups: Groups = None
) -> PairedComparison:
    """Compare two models by the paired bootstrap: each resample draws the same images for both.

    Models that treat every image alike have a gain of exactly 0 with the interval 0 to 0.

    Args:
        evaluator: Gives the metrics.
        statistics_a: Of the champion, float64 (N, K).
        statistics_b: Of the challenger on the same images in the same order.
        num_resamples: How often the images are drawn anew.
        seed: Of the draws.
        groups: As in `intervals.resample_weights`.

    Raises:
        DataError: The two were not measured on the same number of images, or on none.
    """
    if statistics_a.shape != statistics_b.shape:
        raise DataError(f"the models were measured on {len(statistics_a)} and {len(statistics_b)} images; a paired comparison needs the same ones")
    metric = evaluator.metric
    values, resampled = [], []
    with bar("compare", 2 * num_resamples, "resamples") as progress:
        for statistics in (statistics_a, statistics_b):  # one after the other: an evaluator may keep what it has unpacked of the last it saw
            values.append(evaluator.score(statistics)[metric])
            scores = []
            for weights in resample_weights(len(statistics), num_resamples, seed, groups):
                scores.append(evaluator.score(statistics, weights)[metric])
                progress.update()
            resampled.append(np.array(scores))
    drops = class_drops(evaluator, statistics_a, statistics_b)
    worst = max(drops, key=lambda name: drops[name])
    return PairedComparison(
        metric=metric,
        num_images=len(statistics_a),
        num_different=int((statistics_a != statistics_b).any(axis=1).sum()),
        a=interval(values[0], resampled[0]),
        b=interval(values[1], resampled[1]),
        gain=interval(values[1] - values[0], resampled[1] - resampled[0]),
        class_drops=drops,
        worst_class=worst,
        worst_class_drop=drops[worst],
    )


def class_drops(evaluator: Evaluator, statistics_a: FloatArray, statistics_b: FloatArray) -> dict[str, float]:
    """Return how much each class loses from a to b in the metric that budgets judge; classes without images are left out."""
    of_a, of_b = evaluator.per_class(statistics_a), evaluator.per_class(statistics_b)
    judged = of_a.columns[2]  # after class and support
    drops = of_a.set_index("class")[judged] - of_b.set_index("class")[judged]
    return {str(name): float(drop) for name, drop in drops.dropna().items()}
