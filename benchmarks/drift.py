"""Drift between two versions of a dataset: how often it is told where there is none, and where there is some."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.cifar10 import jpegs
from benchmarks.rows import Row
from components.datasets.checks.drift import DriftConfig, Finding, drift
from components.datasets.checks.embedding import embed
from components.datasets.checks.roles import Version, offsets_of_labels
from components.datasets.probes import measure
from components.progress import bar

NUM_TRIES = 100
DARKER = 0.8
MOVED = 0.1


def version_of(images: list[Image.Image], labels: np.ndarray) -> Version:
    """Measure images as `validate` does."""
    offsets, given = offsets_of_labels(pd.Series(labels, dtype=object))
    rows = [{**measure(image)._asdict(), "height": image.height, "width": image.width} for image in images]
    names = np.array([f"{index}" for index in range(len(images))], dtype=object)
    return Version(names, offsets, given, pd.DataFrame(rows), np.stack([embed(image) for image in images]).astype(np.float16))


def digits() -> tuple[list[Image.Image], np.ndarray]:
    """Return scikit-learn's 1,797 digits and their labels."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return [Image.fromarray(np.rint(pixels * (255 / 16)).astype(np.uint8)) for pixels in found.images], found.target.astype(str).astype(object)


def cifar10() -> tuple[list[Image.Image], np.ndarray]:
    """Return CIFAR-10's 50,000 training images and their labels."""
    paths = sorted((jpegs() / "train").glob("*/*.jpg"))
    images = []
    for path in paths:
        with Image.open(path) as image:
            images.append(image.convert("RGB"))
    return images, np.array([path.parent.name for path in paths], dtype=object)


def darkened(images: list[Image.Image]) -> list[Image.Image]:
    """Return the images, every pixel's value times 0.8."""
    return [Image.fromarray(np.rint(np.asarray(image) * DARKER).astype(np.uint8)) for image in images]


def take(version: Version, index: np.ndarray) -> Version:
    """Return some images of a version of one label each."""
    embeddings = None if version.embeddings is None else version.embeddings[index]
    measures = version.measures.iloc[index].reset_index(drop=True)
    return Version(version.sha256[index], np.arange(len(index) + 1), version.labels[index], measures, embeddings)


def halves(version: Version, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw a random half, and the other one."""
    first, second = np.array_split(rng.permutation(len(version)), 2)
    return first, second


def moved(version: Version, index: np.ndarray, name: str, by: float) -> np.ndarray:
    """Return as many of `index` as leave the class `name` a share that is `by` more (or less) than it was."""
    of_class = version.labels[index] == name
    inside, outside = index[of_class], index[~of_class]
    share = of_class.mean() + by
    if by < 0:
        return np.concatenate([inside[: round(max(0.0, share) / (1 - max(0.0, share)) * len(outside))], outside])
    return np.concatenate([inside, outside[: round(len(inside) * (1 - share) / share)]])


Pairs = Iterator[tuple[Version, Version, Callable[[list[Finding]], bool]]]


def unchanged(version: Version, rng: np.random.Generator) -> Pairs:
    """A random half against the other; anything flagged is a false alarm."""
    while True:
        first, second = halves(version, rng)
        yield take(version, first), take(version, second), lambda found: any(finding.flagged for finding in found)


def darker(version: Version, dark: Version, rng: np.random.Generator) -> Pairs:
    """A random half against the other, darkened; what is to be flagged is the brightness."""
    while True:
        first, second = halves(version, rng)
        changed = replace(take(dark, second), sha256=version.sha256[second] + "d")
        yield take(version, first), changed, lambda found: any(finding.flagged and finding.name == "brightness" for finding in found)


def moved_share(version: Version, rng: np.random.Generator) -> Pairs:
    """A random half against the other, one class's share ten points more, or less; what is to be flagged is that class."""
    classes = sorted(set(version.labels))
    turn = 0
    while True:
        first, second = halves(version, rng)
        name, by = classes[turn // 2 % len(classes)], MOVED * (-1) ** turn
        turn += 1
        wanted = f"class {name}"
        changed = take(version, moved(version, second, name, by))
        yield take(version, first), changed, lambda found, wanted=wanted: any(finding.flagged and finding.name == wanted for finding in found)


def grown(version: Version, rng: np.random.Generator, share: float = 0.01) -> Pairs:
    """A version against itself with 1% more images of the same kind; anything flagged is a false alarm."""
    while True:
        order = rng.permutation(len(version))
        old = order[: round(len(version) / (1 + share))]
        yield take(version, old), take(version, order), lambda found: any(finding.flagged for finding in found)


def grown_dark(version: Version, dark: Version, rng: np.random.Generator, share: float = 0.01) -> Pairs:
    """A version against itself with 1% more images, all darkened; to be flagged among the added, and not of the version."""
    while True:
        order = rng.permutation(len(version))
        num_old = round(len(version) / (1 + share))
        old, new = take(version, order[:num_old]), take(dark, order[num_old:])
        current = joined(old, replace(new, sha256=new.sha256 + "d"))
        yield old, current, lambda found: {finding.scope for finding in found if finding.flagged} == {"added"}


def joined(a: Version, b: Version) -> Version:
    """Return the images of both."""
    assert a.embeddings is not None
    assert b.embeddings is not None
    return Version(
        np.concatenate([a.sha256, b.sha256]),
        np.concatenate([a.offsets, a.offsets[-1] + b.offsets[1:]]),
        np.concatenate([a.labels, b.labels]),
        pd.concat([a.measures, b.measures], ignore_index=True),
        np.concatenate([a.embeddings, b.embeddings]),
    )


def judged(pairs: Pairs, num_tries: int, config: DriftConfig) -> list[tuple[list[Finding], bool]]:
    """Return for each try the findings, and whether what is looked for is flagged."""
    outcomes = []
    with bar("drift", num_tries, "tries") as progress:
        for seed, (reference, current, wanted) in zip(range(num_tries), pairs, strict=False):
            found = drift(reference, current, config, seed)
            outcomes.append((found, wanted(found)))
            progress.update()
    return outcomes


def flagged(pairs: Pairs, num_tries: int, config: DriftConfig) -> int:
    """Return in how many tries what is looked for was flagged."""
    return sum(told for _, told in judged(pairs, num_tries, config))


def rows() -> list[Row]:
    """Measure."""
    return [row for name, load in (("digits", digits), ("CIFAR-10", cifar10)) for row in rows_of(name, *load())]


def rows_of(name: str, images: list[Image.Image], labels: np.ndarray) -> list[Row]:
    """Measure on one dataset."""
    print(f"{name}: {len(images)} images", file=sys.stderr)
    version, dark = version_of(images, labels), version_of(darkened(images), labels)
    config = DriftConfig()
    share = 0.01 if len(images) > 10000 else 0.05  # 1% of the digits are too few to compare
    halved = judged(unchanged(version, np.random.default_rng(1)), NUM_TRIES, config)
    by_chance = sum(any(finding.p_value <= config.level for finding in found) for found, _ in halved)
    by_light = flagged(darker(version, dark, np.random.default_rng(2)), NUM_TRIES, config)
    by_class = flagged(moved_share(version, np.random.default_rng(3)), NUM_TRIES, config)
    by_growth = flagged(grown(version, np.random.default_rng(4), share), NUM_TRIES, config)
    by_added = flagged(grown_dark(version, dark, np.random.default_rng(5), share), NUM_TRIES, config)
    more, half, grew = f"{share:.0%} more images", "a random half against the other", "the version and the new images against the version"
    return [
        at_most(5, sum(told for _, told in halved), f"drift, {name}: a random half against the other", f"{by_chance} by their p-values alone"),
        at_least(90, by_light, f"drift, {name}: pixels × 0.8, the brightness", half),
        at_least(90, by_class, f"drift, {name}: a class's share ten points up, or down, that class", half),
        at_most(5, by_growth, f"drift, {name}: {more} of the same kind", grew),
        at_least(90, by_added, f"drift, {name}: {more}, darkened: the added are, the version is not", grew),
    ]


def at_most(bound: int, count: int, name: str, note: str) -> Row:
    """Return the row of something that is not to be flagged."""
    return Row(name, f"flagged in {count} of {NUM_TRIES}", f"at most {bound}", None, count <= bound, note)


def at_least(bound: int, count: int, name: str, note: str) -> Row:
    """Return the row of something that is to be flagged."""
    return Row(name, f"flagged in {count} of {NUM_TRIES}", f"at least {bound}", count / bound, count >= bound, note)
