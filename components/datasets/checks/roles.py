"""Two versions of a dataset as one set of images, each in one of three roles: in both, in the reference alone, in the current alone.

If nothing drifted, the roles are exchangeable: which image plays which says nothing of what is on it. Shuffled roles tell what chance does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

#: An image is in both versions, in the reference alone, in the current alone.
BOTH, REMOVED, ADDED = 0, 1, 2

Floats = npt.NDArray[np.float64]

_ODD = np.uint64(0x9E3779B97F4A7C15)


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


class Roles(NamedTuple):
    """A sample of images, their roles shuffled: row 0 is as it was.

    Attributes:
        images: int64 (n,) the sampled images' places in the pool.
        current: (B + 1, n) what each image weighs in the current version.
        reference: (B + 1, n) what each image weighs in the reference.
    """

    images: npt.NDArray[np.int64]
    current: Floats
    reference: Floats


def pooled(reference: Version, current: Version) -> tuple[npt.NDArray[np.int8], Version]:
    """Put two versions together; a relabelled image is one that was removed and one that was added.

    Returns:
        The role of each image, int8 (P,), and the images: those of the reference, then those added. Of the measures the columns
        that both have.
    """
    of_reference, of_current = _identities(reference), _identities(current)
    added = np.flatnonzero(~np.isin(of_current, of_reference))
    shared = np.isin(of_reference, of_current)
    roles = np.concatenate([np.where(shared, BOTH, REMOVED), np.full(len(added), ADDED)]).astype(np.int8)
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


def shuffle_roles(
    roles: npt.NDArray[np.int8], usable: npt.NDArray[np.bool_], max_images: int, num_permutations: int, rng: np.random.Generator
) -> Roles:
    """Sample images of each role and shuffle their roles; an image weighs as much as its role has images for each that was sampled.

    Args:
        roles: Of P images.
        usable: Which of them may be sampled, bool (P,); at least one on either side.
        max_images: Of each role.
        num_permutations: B.
        rng: For the sample and the permutations.
    """
    of_role = [np.flatnonzero(usable & (roles == role)) for role in (BOTH, REMOVED, ADDED)]
    drawn = [images if len(images) <= max_images else rng.choice(images, max_images, replace=False) for images in of_role]
    sizes = np.array([len(images) for images in of_role])
    weights = sizes / np.maximum(1, [len(images) for images in drawn])
    codes = np.repeat(np.array([BOTH, REMOVED, ADDED], np.int8), [len(images) for images in drawn])
    shuffled = np.concatenate([codes[None], rng.permuted(np.tile(codes, (num_permutations, 1)), axis=1)])
    in_current, in_reference = (np.where(np.arange(3) == absent, 0, weights) / sizes[np.arange(3) != absent].sum() for absent in (REMOVED, ADDED))
    return Roles(np.concatenate(drawn), in_current[shuffled], in_reference[shuffled])
