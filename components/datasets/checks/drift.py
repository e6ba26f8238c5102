"""drift: is a version of a dataset another population than the one before, by more than chance and by more than a trifle?

Compared are the share of each class, the distribution of each measured column (Kolmogorov-Smirnov distance), and the
embeddings (maximum mean discrepancy, MMD: Gretton et al. 2012, "A kernel two-sample test", JMLR 13; Gaussian kernel, its width the
median distance, each dimension scaled to one standard deviation).

**What is compared.** Versions share most of their images, so their two samples are not independent. An image is in one of three
roles: in both versions, in the reference alone (removed), in the current alone (added); a relabelled image is removed and added. If
nothing drifted, the roles are exchangeable: which image plays which says nothing of what is on it. So each statistic is compared with
itself after the roles were shuffled over all images, their numbers kept. Where the versions share nothing this is the usual permutation
test. Two questions are asked: `version`, all of the current against all of the reference, which is what a model will feel; and `added`,
the added images alone against the reference, which finds 1% of new images that are all dark long before the version as a whole has
changed. Images that belong together (video frames, a patient) are not exchangeable one by one: many of one kind added at once are
flagged as `added`, and rightly so.

**When something is flagged.** Its p-value, corrected for all statistics of both questions together (Holm 1979; the classes among
themselves by the largest of their standardised changes: Westfall and Young 1993), is at most `level`; and its effect is at least its floor,
since among a million images every trifle is significant. Effects are figures of all images; p-values are of a seeded sample of each role.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field

from components.config import Section
from components.datasets.checks.roles import ADDED, BOTH, REMOVED, Floats, Roles, Version, pooled, shuffle_roles
from components.progress import bar

Scope = Literal["version", "added"]

#: Differences below this are the rounding of sums.
_ROUNDING = 1e-9


class DriftConfig(Section):
    """When a version counts as drifted from the one before."""

    section: ClassVar[str] = "drift"
    level: float = Field(default=0.05, gt=0, lt=1, description="share of comparisons without drift in which anything at all may be flagged")
    min_class_shift: float = Field(default=0.1, ge=0, description="Cohen's h of a class's share: 0.1 is 10% → 13%, 1% → 2.2%, 50% → 55%")
    min_column_shift: float = Field(default=0.1, ge=0, le=1, description="share of the images that would have to move (Kolmogorov-Smirnov)")
    min_embedding_shift: float = Field(default=0.1, ge=0, description="MMD in standard deviations of the embedded images")
    min_images: int = Field(default=20, ge=2, description="fewer on one side are not compared")
    max_images: int = Field(default=2000, ge=100, description="sampled of each role for the p-values; a quarter for the embeddings")
    num_permutations: int = Field(default=999, ge=99)


@dataclass(frozen=True)
class Finding:
    """One statistic of one question.

    Attributes:
        scope: `version`: all of the current against all of the reference; `added`: the images that only the current has.
        name: "class NAME", the column's name, or "embeddings".
        statistic: What the p-value is of: the class's standardised change, the KS distance, or the squared MMD (biased) of the sample.
        p_value: Corrected for all findings together.
        effect: Cohen's h, KS distance, or MMD in standard deviations; what the floors are about.
        change: The effect for people, such as "brightness 0.47 → 0.38".
        flagged: It is more than chance and more than a trifle.
    """

    scope: Scope
    name: str
    statistic: float
    p_value: float
    effect: float
    change: str
    flagged: bool


def drift(reference: Version, current: Version, config: DriftConfig, seed: int = 0) -> list[Finding]:
    """Compare a version of a dataset with the one before.

    Args:
        reference: The version before: the last approved one.
        current: The version that is judged.
        config: Level, floors and effort.
        seed: Of the samples and permutations.

    Returns:
        A finding for each class, column and for the embeddings, of each question that can be asked: `added` is left out where
        the versions share no image (it would ask the same again), and a question with fewer than `min_images` on a side.
    """
    roles, pool = pooled(reference, current)
    generator = np.random.default_rng(seed)
    asked: list[tuple[Scope, npt.NDArray[np.int8]]] = [("version", roles)]
    if (roles == BOTH).any():
        asked.append(("added", np.where(roles == ADDED, ADDED, REMOVED).astype(np.int8)))
    tests = []
    with bar("drift", len(asked) * (len(pool.measures.columns) + 2), "statistics") as progress:
        for scope, of_scope in asked:
            for test in _tests(scope, of_scope, pool, config, generator):
                tests.append(test)
                progress.update()
    return _findings(tests, config)


class _Effect(NamedTuple):
    """A finding before the correction; `p_value` is corrected within its test alone."""

    name: str
    statistic: float
    p_value: float
    effect: float
    floor: float
    change: str


class _Test(NamedTuple):
    """A hypothesis of Holm's procedure, with one effect or, for the classes, several."""

    scope: Scope
    effects: list[_Effect]


def _tests(scope: Scope, roles: npt.NDArray[np.int8], pool: Version, config: DriftConfig, rng: np.random.Generator) -> Iterator[_Test]:
    def enough(usable: npt.NDArray[np.bool_]) -> bool:
        return all(int((usable & (roles != absent)).sum()) >= config.min_images for absent in (REMOVED, ADDED))

    if enough(labelled := np.diff(pool.offsets) > 0):
        sample = shuffle_roles(roles, labelled, config.max_images, config.num_permutations, rng)
        yield _Test(scope, _class_effects(roles, pool, sample, config))
    if len(pool.measures.columns) and enough(measured := pool.measures.notna().all(axis=1).to_numpy()):
        sample = shuffle_roles(roles, measured, config.max_images, config.num_permutations, rng)
        for name in pool.measures:
            values = pool.measures[name].to_numpy(dtype=np.float64)
            old, new = (values[measured & (roles != absent)] for absent in (ADDED, REMOVED))
            yield _Test(scope, [_column_effect(str(name), old, new, values[sample.images], sample, config)])
    if pool.embeddings is not None and enough(described := np.isfinite(pool.embeddings).all(axis=1)):
        sample = shuffle_roles(roles, described, config.max_images // 4, config.num_permutations, rng)
        yield _Test(scope, [_embedding_effect(pool.embeddings[sample.images].astype(np.float64), sample, config)])


def _class_effects(roles: npt.NDArray[np.int8], pool: Version, sample: Roles, config: DriftConfig) -> list[_Effect]:
    from scipy.sparse import csr_array

    codes, classes = pd.factorize(pool.labels, sort=True)
    image = np.repeat(np.arange(len(pool)), np.diff(pool.offsets))
    by_role = np.bincount(roles[image].astype(np.int64) * len(classes) + codes, minlength=3 * len(classes)).reshape(3, -1)
    before, after = _shares(by_role[BOTH] + by_role[[REMOVED, ADDED]])
    every = csr_array((np.ones(len(codes)), (image, codes)), shape=(len(pool), len(classes)))
    sampled = every[sample.images]
    standardised = np.abs(_shares((sampled.T @ sample.current.T).T) - _shares((sampled.T @ sample.reference.T).T))
    spread = np.sqrt((standardised**2).mean(axis=0))
    standardised /= np.where(spread > 0, spread, 1)
    largest = standardised.max(axis=1)
    shift = np.abs(_angle(after) - _angle(before))
    return [
        _Effect(
            f"class {name}",
            float(standardised[0, number]),
            _p_value(standardised[0, number], largest[1:]),
            float(shift[number]),
            config.min_class_shift,
            f"class {name} {_percent(before[number])} → {_percent(after[number])}",
        )
        for number, name in enumerate(classes)
    ]


def _shares(counts: npt.NDArray[Any]) -> Floats:
    return np.asarray(counts / np.maximum(counts.sum(axis=-1, keepdims=True), _ROUNDING))


def _angle(shares: Floats) -> Floats:
    """Cohen 1988, "Statistical power analysis for the behavioral sciences": h is the difference of these."""
    return np.asarray(2 * np.arcsin(np.sqrt(np.clip(shares, 0, 1))))


def _column_effect(name: str, old: Floats, new: Floats, sampled: Floats, sample: Roles, config: DriftConfig) -> _Effect:
    distances, _ = _ks(sampled, sample.current - sample.reference)
    weights = np.concatenate([np.full(len(old), -1 / len(old)), np.full(len(new), 1 / len(new))])
    effect, place = (found[0] for found in _ks(np.concatenate([old, new]), weights[None]))
    middles = np.median(old), np.median(new)
    change = f"{name} {middles[0]:.3g} → {middles[1]:.3g}"
    if effect >= config.min_column_shift and f"{middles[0]:.2g}" == f"{middles[1]:.2g}":  # the middle stayed, the rest did not
        change = f"{name} at most {place:.3g}: {_percent((old <= place).mean())} → {_percent((new <= place).mean())} of the images"
    return _Effect(name, float(distances[0]), _p_value(distances[0], distances[1:]), float(effect), config.min_column_shift, change)


def _ks(values: Floats, differences: Floats) -> tuple[Floats, Floats]:
    """Return the largest distance between two distribution functions, (B,), and the value at which it is.

    Args:
        values: (n,).
        differences: (B, n): what each value weighs in the one sample less what it weighs in the other.
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    if len(last) == 1:  # all the same, such as the height of images of one size
        return np.zeros(len(differences)), np.repeat(ordered[:1], len(differences))
    distances = np.abs(np.cumsum(np.take(differences, order, axis=1), axis=1)[:, last])
    return distances.max(axis=1), ordered[last][distances.argmax(axis=1)]


def _embedding_effect(embeddings: Floats, sample: Roles, config: DriftConfig) -> _Effect:
    spread = embeddings.std(axis=0)
    scaled = (embeddings - embeddings.mean(axis=0)) / np.where(spread > _ROUNDING, spread, 1)
    squares = (scaled**2).sum(axis=1)
    distances = np.maximum(squares[:, None] + squares - 2 * scaled @ scaled.T, 0)
    pairs = np.triu_indices(len(distances), 1)
    kernel = np.exp(-distances / max(2 * np.median(distances[pairs]), _ROUNDING))
    differences = sample.current - sample.reference
    discrepancies = np.einsum("bn,bn->b", differences @ kernel, differences)
    # What shuffled roles give on the average is chance; the rest is the effect, held against how far images are from their mean.
    beyond_chance = max(0.0, discrepancies[0] - discrepancies[1:].mean())
    effect = np.sqrt(beyond_chance / max(1 - kernel[pairs].mean(), _ROUNDING))
    change = f"embeddings moved by {effect:.2f} standard deviations"
    p_value = _p_value(discrepancies[0], discrepancies[1:])
    return _Effect("embeddings", float(discrepancies[0]), p_value, float(effect), config.min_embedding_shift, change)


def _p_value(observed: float, shuffled: Floats) -> float:
    """Return the p-value of a permutation test (Phipson and Smyth 2010: the arrangement as it was is one of them)."""
    return float((1 + (shuffled >= observed - _ROUNDING).sum()) / (1 + len(shuffled)))


def _findings(tests: Sequence[_Test], config: DriftConfig) -> list[Finding]:
    """Correct by Holm's procedure over the tests; an effect of a test is never surer than its test."""
    smallest = np.array([min(effect.p_value for effect in test.effects) for test in tests])
    factors, floors = np.ones(len(tests)), np.zeros(len(tests))
    floor = 0.0
    for rank, number in enumerate(np.argsort(smallest, kind="stable")):
        factors[number] = len(tests) - rank
        floor = floors[number] = max(floor, factors[number] * smallest[number])
    findings = []
    for test, factor, least in zip(tests, factors, floors, strict=True):
        for effect in test.effects:
            p_value = float(min(1.0, max(least, factor * effect.p_value)))
            flagged = p_value <= config.level and effect.effect >= effect.floor
            findings.append(Finding(test.scope, effect.name, effect.statistic, p_value, effect.effect, effect.change, flagged))
    return findings


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"
