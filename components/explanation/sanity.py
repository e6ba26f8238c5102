"""Do heat maps say more than chance?

Blanking what a map highlights has to cost more of the score than blanking as much at random: the deletion test (Samek et al. 2017,
arXiv:1509.06321; Petsiuk et al. 2018, arXiv:1806.07421) at one share of the image. At random means the same region at a random place, so that
shape and area are alike. And a map has to depend on what was learnt: it is compared with that of the same network with random weights (Adebayo
et al. 2018, arXiv:1810.03292).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from components.evaluation.intervals import interval, resample_weights
from components.explanation.methods import Method
from components.explanation.record import Sanity
from components.explanation.subject import HeatMap, Subject
from components.progress import Progress
from components.protocols import Answer

Region = npt.NDArray[np.bool_]

_NUM_RANDOM = 10
_NUM_RESAMPLES = 1000
#: The mean of so many rank correlations is sure enough; all of them would double the time.
_NUM_UNTRAINED = 8


class Case(NamedTuple):
    """One answer to one image, float32 (1, C, H, W) in 0..1."""

    image: torch.Tensor
    answer: Answer


class Fall(NamedTuple):
    """The score of an image as it is, with the highlighted region blanked, and the mean with as much blanked at random."""

    score: float
    highlighted: float
    random: float


def measure(subject: Subject, cases: Sequence[Case], method: Method, blanked: float, seed: int, progress: Progress) -> Sanity:
    """Measure a method's heat maps.

    Args:
        subject: Who is explained.
        cases: At least one.
        method: The way to a map.
        blanked: Share of the image that is blanked, 0..1.
        seed: Of the random regions, the random weights and the bootstrap over the images.
        progress: Told of each image.
    """
    draws, untrained = np.random.default_rng(seed), subject.untrained(seed)
    falls, alike = [], []
    for number, case in enumerate(cases):
        heat = method(subject, *case)
        falls.append(fall(subject, case, region(heat, blanked), draws))
        if number < _NUM_UNTRAINED:
            alike.append(rank_correlation(heat, method(untrained, *case)))
        progress.update()
    score, highlighted, random = np.array(falls).T
    gains = random - highlighted
    resampled = [float(weights @ gains) / len(gains) for weights in resample_weights(len(gains), _NUM_RESAMPLES, seed)]
    return Sanity(
        score=float(score.mean()),
        highlighted=float(highlighted.mean()),
        random=float(random.mean()),
        gain=interval(float(gains.mean()), resampled),
        untrained=float(np.mean(alike)),
    )


def region(heat: HeatMap, share: float) -> Region:
    """Return the pixels that a map highlights most, bool (H, W): this share of them, without those that it does not highlight at all."""
    order = np.argsort(-heat.ravel(), kind="stable")[: round(share * heat.size)]
    chosen = np.zeros(heat.size, dtype=np.bool_)
    chosen[order[heat.ravel()[order] > 0]] = True
    return chosen.reshape(heat.shape)


def fall(subject: Subject, case: Case, highlighted: Region, draws: np.random.Generator) -> Fall:
    """Return what blanking a region costs, and what blanking it elsewhere costs: moved at random, around the edges."""
    height, width = highlighted.shape
    moves = [(int(draws.integers(height)), int(draws.integers(width))) for _ in range(_NUM_RANDOM)]
    regions = [np.zeros_like(highlighted), highlighted, *(np.roll(highlighted, move, axis=(0, 1)) for move in moves)]
    blank = torch.from_numpy(np.stack(regions))[:, None].to(case.image.device)
    scores = subject.scores(torch.where(blank, subject.fill, case.image), case.answer)
    return Fall(float(scores[0]), float(scores[1]), float(scores[2:].mean()))


def rank_correlation(one: HeatMap, other: HeatMap) -> float:
    """Return Spearman's rank correlation of two maps' pixels; 0 where a map says the same everywhere."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    ranks = [pd.Series(heat.ravel()).rank().to_numpy() for heat in (one, other)]  # importing scipy.stats would take longer than all else here
    return float(np.asarray(np.corrcoef(ranks))[0, 1])
