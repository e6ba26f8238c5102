from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from components.datasets.checks.labels import examine, examine_suspects
from components.datasets.checks.suite import Part, Subject

Make = Callable[..., Subject]
Told = Callable[[Part, str], dict[int, str]]


def counts(part: Part) -> dict[str, Any]:
    return part.tables["classes"].set_index("class")["images"].to_dict()


def test_labels_are_held_against_classes_and_copies(make_subject: Make, told: Told) -> None:
    rows = [{"label": "cat", "sha256": "ab"}, {"label": "dog", "sha256": "ab"}, {"label": "cow"}, {"label": None}, {"label": "dog"}]
    part = examine(make_subject(*rows))
    assert told(part, "unlabelled") == {3: "without a label"}
    assert told(part, "undeclared_class") == {2: "cow"}
    assert told(part, "labels_of_copies") == {0: "labels cat and dog", 1: "labels cat and dog"}
    assert counts(part) == {"cat": 1, "dog": 2}
    assert part.tables["classes"]["share"].tolist() == [0.2, 0.4]


def test_a_label_conflict_needs_whole_images(make_subject: Make, told: Told) -> None:
    rows = [{"label": "cat", "sha256": "ab"}, {"label": "dog", "sha256": "ab", "decodes": False}]
    assert told(examine(make_subject(*rows)), "labels_of_copies") == {}


def test_detection_counts_images_by_class_and_shares_by_box(make_subject: Make, told: Told) -> None:
    rows = [
        {"boxes_xyxy": [[0, 0, 9, 9]] * 3, "box_labels": ["cat", "cat", "dog"]},
        {"boxes_xyxy": [[0, 0, 9, 9]] * 3, "box_labels": ["cat", "cow", "pig"]},
        {"boxes_xyxy": [], "box_labels": []},
        {},
    ]
    part = examine(make_subject(*rows, task="detection"))
    assert counts(part) == {"cat": 2, "dog": 1}
    assert part.tables["classes"]["share"].tolist() == [3 / 6, 1 / 6]
    assert told(part, "undeclared_class") == {1: "box 1: cow"}
    assert told(part, "unlabelled") == {3: "without boxes"}


def test_segmentation_needs_a_mask_and_counts_the_classes_on_it(make_subject: Make, told: Told) -> None:
    rows: list[dict[str, Any]] = [{"mask_sha256": "1", "mask_classes": [0, 1]}, {"mask_sha256": "2", "mask_classes": [1]}, {}]
    part = examine(make_subject(*rows, task="segmentation"))
    assert told(part, "unlabelled") == {2: "without a mask"}
    assert counts(part) == {"cat": 1, "dog": 2}
    assert "class_share" not in {rule.key for rule in part.rules}


def test_suspects_are_told_and_refuse_nothing(make_subject: Make, told: Told) -> None:
    suspects = pd.DataFrame({"index": [1, 0], "label": ["cat", "cat"], "suggested": ["dog", "cat"], "quality": [0.02, 0.9], "issue": [True, False]})
    part = examine_suspects(make_subject({"label": "cat"}, {"label": "cat"}), suspects)
    assert told(part, "label_error") == {1: "cat, rather dog (2.0% for its label)"}
    assert [rule.level for rule in part.rules] == ["off"]
