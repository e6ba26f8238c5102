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
from components.progress import bar

Floats = npt.NDArray[np.float64]
Scope = Literal["version", "added"]

_BOTH, _REMOVED, _ADDED = 0, 1, 2
#: Differences below this are the rounding of sums.
_ROUNDING = 1e-9
_ODD = np.uint64(0x9E3779B97F4A7C15)


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
class Version:
    """What is compared of a version of a dataset; N images, M labels.

    Attributes:
        sha256: Of the bytes of each image, N texts.
        offsets: int64 (N + 1,): the labels of image n are `offsets[n]` to `offsets[n + 1]`, as in `annotations.FlatBoxes`.
        labels: M class names: one an image for classification, one a box for detection.
        measures: One row an image, a column for each number measured of it (`probes.Measures`, height, width); NaN: not measured.
        embeddings: (N, D) of `embedding.embed`, NaN rows: not measured; None: there are none.
    """

    sha256: npt.NDArray[np.object_]
    offsets: npt.NDArray[np.int64]
    labels: npt.NDArray[np.object_]
    measures: pd.DataFrame
    embeddings: npt.NDArray[np.floating[Any]] | None = None

    def __len__(self) -> int:
        return len(self.sha256)


def offsets_of_labels(labels: pd.Series) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.object_]]:
    """Return `offsets` and `labels` of a `Version` from the manifest's column `label`; null is an image without a label."""
    given = labels.notna().to_numpy()
    return np.concatenate([[0], np.cumsum(given)]), labels[given].to_numpy(dtype=object)


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
    roles, pool = _pooled(reference, current)
    generator = np.random.default_rng(seed)
    asked: list[tuple[Scope, npt.NDArray[np.int8]]] = [("version", roles)]
    if (roles == _BOTH).any():
        asked.append(("added", np.where(roles == _ADDED, _ADDED, _REMOVED).astype(np.int8)))
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


class _Roles(NamedTuple):
    """A sample of images, their roles shuffled: row 0 is as it was.

    Attributes:
        images: int64 (n,) the sampled images' places in the pool.
        current: (B + 1, n) what each image weighs in the current version.
        reference: (B + 1, n) what each image weighs in the reference.
    """

    images: npt.NDArray[np.int64]
    current: Floats
    reference: Floats


def _pooled(reference: Version, current: Version) -> tuple[npt.NDArray[np.int8], Version]:
    """Return the role of each image of either version, and all of them as one: those of the reference, then those added."""
    of_reference, of_current = _identities(reference), _identities(current)
    added = np.flatnonzero(~np.isin(of_current, of_reference))
    shared = np.isin(of_reference, of_current)
    roles = np.concatenate([np.where(shared, _BOTH, _REMOVED), np.full(len(added), _ADDED)]).astype(np.int8)
    columns = [name for name in reference.measures if name in current.measures]
    columns = [name for name in columns if reference.measures[name].notna().any() and current.measures[name].notna().any()]
    measures = pd.concat([reference.measures[columns], current.measures[columns].iloc[added]], ignore_index=True)
    counts = np.diff(current.offsets)[added]
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    labels = current.labels[np.repeat(current.offsets[added], counts) + within]
    embeddings = None
    if reference.embeddings is not None and current.embeddings is not None:
        embeddings = np.concatenate([reference.embeddings, current.embeddings[added]])
    pool = Version(
        sha256=np.concatenate([reference.sha256, current.sha256[added]]),
        offsets=np.concatenate([reference.offsets, reference.offsets[-1] + np.cumsum(counts)]),
        labels=np.concatenate([reference.labels, labels]),
        measures=measures,
        embeddings=embeddings,
    )
    return roles, pool


def _identities(version: Version) -> npt.NDArray[np.uint64]:
    """Return a number for each image that is the same for the same bytes with the same labels; copies count on."""
    # Sums of 64-bit hashes wrap around; among two million images two differ by chance with a probability of 1e-7.
    of_labels = np.concatenate([np.zeros(1, np.uint64), np.cumsum(pd.util.hash_array(version.labels, categorize=True), dtype=np.uint64)])
    of_bytes: npt.NDArray[np.uint64] = pd.util.hash_array(version.sha256, categorize=False) * _ODD
    identities = of_bytes + of_labels[version.offsets[1:]] - of_labels[version.offsets[:-1]]
    copies = pd.Series(identities).groupby(identities).cumcount().to_numpy().astype(np.uint64)
    return np.asarray(identities + copies * _ODD)


def _shuffled(roles: npt.NDArray[np.int8], usable: npt.NDArray[np.bool_], max_images: int, config: DriftConfig, rng: np.random.Generator) -> _Roles:
    """Sample images of each role and shuffle their roles; an image weighs as much as its role has images for each that was sampled."""
    of_role = [np.flatnonzero(usable & (roles == role)) for role in (_BOTH, _REMOVED, _ADDED)]
    drawn = [images if len(images) <= max_images else rng.choice(images, max_images, replace=False) for images in of_role]
    sizes = np.array([len(images) for images in of_role])
    weights = sizes / np.maximum(1, [len(images) for images in drawn])
    codes = np.repeat(np.array([_BOTH, _REMOVED, _ADDED], np.int8), [len(images) for images in drawn])
    shuffled = np.concatenate([codes[None], rng.permuted(np.tile(codes, (config.num_permutations, 1)), axis=1)])
    in_current, in_reference = (np.where(np.arange(3) == absent, 0, weights) / sizes[np.arange(3) != absent].sum() for absent in (_REMOVED, _ADDED))
    return _Roles(np.concatenate(drawn), in_current[shuffled], in_reference[shuffled])


def _tests(scope: Scope, roles: npt.NDArray[np.int8], pool: Version, config: DriftConfig, rng: np.random.Generator) -> Iterator[_Test]:
    def enough(usable: npt.NDArray[np.bool_]) -> bool:
        return all(int((usable & (roles != absent)).sum()) >= config.min_images for absent in (_REMOVED, _ADDED))

    if enough(labelled := np.diff(pool.offsets) > 0):
        sample = _shuffled(roles, labelled, config.max_images, config, rng)
        yield _Test(scope, _class_effects(roles, pool, sample, config))
    if len(pool.measures.columns) and enough(measured := pool.measures.notna().all(axis=1).to_numpy()):
        sample = _shuffled(roles, measured, config.max_images, config, rng)
        for name in pool.measures:
            values = pool.measures[name].to_numpy(dtype=np.float64)
            old, new = (values[measured & (roles != absent)] for absent in (_ADDED, _REMOVED))
            yield _Test(scope, [_column_effect(str(name), old, new, values[sample.images], sample, config)])
    if pool.embeddings is not None and enough(described := np.isfinite(pool.embeddings).all(axis=1)):
        sample = _shuffled(roles, described, config.max_images // 4, config, rng)
        yield _Test(scope, [_embedding_effect(pool.embeddings[sample.images].astype(np.float64), sample, config)])


def _class_effects(roles: npt.NDArray[np.int8], pool: Version, sample: _Roles, config: DriftConfig) -> list[_Effect]:
    from scipy.sparse import csr_array

    codes, classes = pd.factorize(pool.labels, sort=True)
    image = np.repeat(np.arange(len(pool)), np.diff(pool.offsets))
    by_role = np.bincount(roles[image].astype(np.int64) * len(classes) + codes, minlength=3 * len(classes)).reshape(3, -1)
    before, after = _shares(by_role[_BOTH] + by_role[[_REMOVED, _ADDED]])
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


def _column_effect(name: str, old: Floats, new: Floats, sampled: Floats, sample: _Roles, config: DriftConfig) -> _Effect:
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
    distances = np.abs(np.cumsum(differences[:, order], axis=1)[:, last])
    return distances.max(axis=1), ordered[last][distances.argmax(axis=1)]


def _embedding_effect(embeddings: Floats, sample: _Roles, config: DriftConfig) -> _Effect:
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
