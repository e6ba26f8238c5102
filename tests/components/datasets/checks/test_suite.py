from __future__ import annotations

from collections.abc import Callable

import pytest

from components.datasets.checks.suite import Subject, between


@pytest.mark.parametrize(
    ("task", "needed"),
    [
        ("classification", ("label",)),
        ("detection", ("boxes_xyxy", "box_labels")),
        ("segmentation", ("mask_sha256",)),
        ("a task of somebody else's", ("label",)),
    ],
)
def test_a_task_says_which_annotations_it_needs(task: str, needed: tuple[str, ...], make_subject: Callable[..., Subject]) -> None:
    assert make_subject({"label": "cat"}, task=task).needed == needed


def test_bounds_read_like_a_sentence() -> None:
    assert [between(0.5, None), between(1, 8, "bits"), between(0.01, 0.95)] == ["at least 0.5", "1 to 8 bits", "0.01 to 0.95"]
