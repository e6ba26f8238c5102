from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from components.datasets.checks.entries import examine
from components.datasets.checks.suite import Part, Subject

Make = Callable[..., Subject]
Told = Callable[[Part, str], dict[int, str]]

NOTHING = pd.DataFrame({"image_id": [], "reason": []})


def test_an_id_that_stands_twice_is_told_at_both_places(make_subject: Make, told: Told) -> None:
    assert told(examine(make_subject({"image_id": "a"}, {}, {"image_id": "a"}), NOTHING), "repeated_id") == {
        0: "it stands several times",
        2: "it stands several times",
    }


def test_the_columns_types_and_missing_values_are_a_table_of_their_own(make_subject: Make) -> None:
    subject = make_subject({}, {"sha256": None})
    columns = examine(subject, NOTHING).tables["columns"].set_index("column")
    assert columns.loc["sha256", "missing"] == 1
    assert columns["missing"].sum() == 1
    assert columns["wrong_type"].isna().all()


@pytest.mark.parametrize(("task", "expected"), [("classification", True), ("detection", False), ("segmentation", False)])
def test_only_labels_of_whole_images_need_two_classes(task: str, expected: bool, make_subject: Make) -> None:
    assert ("num_classes" in {rule.key for rule in examine(make_subject({}, task=task), NOTHING).rules}) is expected
