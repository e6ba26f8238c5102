from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from PIL import Image

from components.datasets.checks.config import Levels, ValidateConfig
from components.datasets.checks.copies import examine, find_pairs
from components.datasets.checks.duplicates import fingerprint
from components.datasets.checks.suite import Part, Subject

Make = Callable[..., Subject]
Told = Callable[[Part, str], dict[int, str]]

NONE = pd.DataFrame({"first": [], "second": [], "how": []}).astype({"first": "int64", "second": "int64"})


def pairs(*found: tuple[int, int]) -> pd.DataFrame:
    return pd.DataFrame({"first": [pair[0] for pair in found], "second": [pair[1] for pair in found], "how": "resized"})


def test_copies_name_the_first_and_where_both_stand(make_subject: Make, told: Told) -> None:
    same = {"sha256": "ab"}
    part = examine(make_subject({**same, "split": "train"}, {}, {**same, "split": "train"}, {**same, "split": "test"}, same), NONE)
    assert told(part, "copy") == {2: "as 0.jpg", 3: "as 0.jpg", 4: "as 0.jpg"}
    assert told(part, "copy_across") == {
        0: "in train, as 3.jpg in test",
        2: "in train, as 3.jpg in test",
        3: "in test, as 0.jpg in train",
    }


def test_damaged_files_with_the_same_bytes_are_damaged_not_copies(make_subject: Make, told: Told) -> None:
    row = {"sha256": "ab", "decodes": False, "damage": "the file is empty"}
    part = examine(make_subject({**row, "split": "train"}, {**row, "split": "test"}), NONE)
    assert told(part, "copy") == told(part, "copy_across") == {}


def test_near_duplicates_are_told_once_within_a_side_and_across_sides(make_subject: Make, told: Told) -> None:
    rows = [{"split": side} for side in ("train", "train", "test", None)]
    part = examine(make_subject(*rows), pairs((0, 1), (0, 2), (1, 2), (2, 3)))
    assert told(part, "near_duplicate") == {1: "as 0.jpg (resized)", 3: "as 2.jpg (resized)"}
    assert told(part, "near_duplicate_across") == {2: "in test, as 0.jpg in train (resized); 1 more"}


def test_a_pair_of_the_same_bytes_is_a_copy_and_no_near_duplicate(make_subject: Make, told: Told) -> None:
    part = examine(make_subject({"sha256": "ab"}, {"sha256": "ab"}), pairs((0, 1)))
    assert told(part, "near_duplicate") == {}
    assert told(part, "copy") == {1: "as 0.jpg"}


def test_a_group_on_two_sides_is_named(make_subject: Make, told: Told) -> None:
    rows = [{"group": "p1", "split": "train"}, {"group": "p1", "split": "val"}, {"group": "p2", "split": "val"}, {"group": None, "split": "train"}]
    part = examine(make_subject(*rows), NONE)
    assert told(part, "group_across") == {0: "in train, as 1.jpg in val", 1: "in val, as 0.jpg in train"}


def test_leaks_may_be_tolerated_by_count_and_rules_switched_off(make_subject: Make) -> None:
    rows = [{"split": "train"}, {"split": "test"}, {}, {}]
    by_key = {rule.key: rule for rule in examine(make_subject(*rows, max_leaks=1), NONE).rules}
    assert by_key["copies_across_splits"].options["mostly"] == 0.75
    off = Levels(near_duplicates="off", near_duplicates_across_splits="off")
    assert not {"near_duplicates", "near_duplicates_across_splits"} & {rule.key for rule in examine(make_subject(*rows, levels=off), NONE).rules}


def test_pairs_are_row_numbers_of_whole_images() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 24, 3)).astype(np.uint8)).resize((96, 96), Image.Resampling.BICUBIC)
    smaller = noise.resize((80, 80), Image.Resampling.BICUBIC)
    found = find_pairs(ValidateConfig(), [fingerprint(noise), None, fingerprint(smaller)])
    assert found[["first", "second"]].to_numpy().tolist() == [[0, 2]]
