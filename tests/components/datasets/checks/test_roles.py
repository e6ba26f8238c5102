from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.datasets.checks.roles import ADDED, BOTH, REMOVED, Version, offsets_of_labels, pooled, shuffle_roles

IMAGES = st.lists(st.tuples(st.sampled_from("pqr"), st.lists(st.sampled_from(["cat", "dog"]), max_size=3)), max_size=8)


def version(images: list[tuple[str, list[str]]]) -> Version:
    """Images by their bytes and labels; one measure, the place in the version."""
    offsets = np.concatenate([[0], np.cumsum([len(labels) for _, labels in images])]).astype(np.int64)
    labels = np.array([label for _, each in images for label in each], dtype=object)
    measures = pd.DataFrame({"place": np.arange(len(images), dtype=float)})
    return Version(np.array([name for name, _ in images], dtype=object), offsets, labels, measures, np.arange(len(images))[:, None] * 1.0)


def described(of: Version) -> list[tuple[str, tuple[str, ...]]]:
    bounds = zip(of.offsets[:-1], of.offsets[1:], strict=True)
    return [(name, tuple(of.labels[start:stop])) for name, (start, stop) in zip(of.sha256, bounds, strict=True)]


@settings(deadline=None, max_examples=60)
@given(IMAGES.filter(len), IMAGES.filter(len))
def test_each_version_is_found_again_in_the_pool(before: list[tuple[str, list[str]]], after: list[tuple[str, list[str]]]) -> None:
    """Copies are images of their own, the order of labels does not matter, and nothing is in two roles."""
    roles, pool = pooled(version(before), version(after))
    images = [(name, tuple(sorted(labels))) for name, labels in described(pool)]

    def plain(given: list[tuple[str, list[str]]]) -> list[tuple[str, tuple[str, ...]]]:
        return sorted((name, tuple(sorted(labels))) for name, labels in given)

    assert sorted(image for image, role in zip(images, roles, strict=True) if role != ADDED) == plain(before)
    assert sorted(image for image, role in zip(images, roles, strict=True) if role != REMOVED) == plain(after)
    removed, added = ({image for image, role in zip(images, roles, strict=True) if role == wanted} for wanted in (REMOVED, ADDED))
    assert not removed & added


def test_measures_and_embeddings_go_with_their_image() -> None:
    roles, pool = pooled(version([("p", ["cat"]), ("q", [])]), version([("r", []), ("q", []), ("p", ["dog"])]))
    assert roles.tolist() == [REMOVED, BOTH, ADDED, ADDED]
    assert pool.sha256.tolist() == ["p", "q", "r", "p"]
    assert pool.measures["place"].tolist() == [0, 1, 0, 2]
    assert pool.embeddings is not None
    assert pool.embeddings.ravel().tolist() == [0, 1, 0, 2]


def test_weights_are_those_of_all_images_whatever_was_sampled() -> None:
    roles = np.repeat(np.array([BOTH, REMOVED, ADDED], np.int8), [600, 200, 50])
    usable = np.ones(850, dtype=bool)
    usable[:100] = False
    sample = shuffle_roles(roles, usable, 100, 20, np.random.default_rng(0))
    assert np.bincount(roles[sample.images]).tolist() == [100, 100, 50]
    assert usable[sample.images].all()
    assert sample.current.sum(axis=1) == pytest.approx(1)
    assert sample.reference.sum(axis=1) == pytest.approx(1)
    assert sample.current[0, roles[sample.images] == ADDED].sum() == pytest.approx(50 / 550)
    assert sample.current[0, roles[sample.images] == REMOVED].sum() == 0
    assert sample.reference[0, roles[sample.images] == REMOVED].sum() == pytest.approx(200 / 700)
    assert not np.array_equal(sample.current[0], sample.current[1])


def test_offsets_of_labels_leave_images_without_a_label_out() -> None:
    offsets, labels = offsets_of_labels(pd.Series(["a", None, "b"], dtype=object))
    assert offsets.tolist() == [0, 1, 1, 2]
    assert labels.tolist() == ["a", "b"]
