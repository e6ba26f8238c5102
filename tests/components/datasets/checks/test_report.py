from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from components.datasets.checks.report import failures_of, headline, line_of, refusal_of, worst_first, write_page
from components.datasets.expectations import Outcome, Rule
from components.records import DatasetRef, Verdict


def outcome(
    key: str, num_broken: int, num_rows: int, table: str = "images", level: Any = "fail", success: bool = False, found: str = "torn"
) -> Outcome:
    rule = Rule(key, f"rule {key}", table, "ExpectColumnValuesToBeNull", {"column": key}, "whole ones", level)
    broken = pd.DataFrame({"key": [f"{number}.jpg" for number in range(num_broken)], "found": found})
    return Outcome(rule, success, f"{num_broken} found", num_broken, num_rows, broken)


def verdict(passed: bool = False, num_images: int = 1797) -> Verdict:
    ref = DatasetRef(name="pets", version="1.0.0", manifest_digest="ab", num_images=num_images)
    return Verdict(passed=passed, dataset=ref, expectations=[], class_counts={})


GOOD = outcome("good", 0, 1797, success=True)


def test_a_line_counts_in_words_and_names_the_first() -> None:
    assert line_of(outcome("a", 12, 1797)) == "rule a: broken by 12 of 1,797 images: 0.jpg (torn), 1.jpg (torn) …; expected whole ones"
    assert line_of(outcome("a", 1, 1)) == "rule a: broken by 1 of 1 image: 0.jpg (torn); expected whole ones"
    assert line_of(outcome("a", 1, 1, "classes")) == "rule a: broken by 1 of 1 class: 0.jpg (torn); expected whole ones"
    assert line_of(outcome("a", 1, 1, "dataset")) == "rule a: found 1 found; expected whole ones"
    assert len(line_of(outcome("a", 1, 9, found="x" * 500))) < 150


def test_a_refusal_has_the_worst_first_and_says_what_to_do_in_six_lines() -> None:
    outcomes = [
        GOOD,
        outcome("few", 1, 100),
        outcome("most", 90, 100),
        outcome("told", 100, 100, level="warn"),
        outcome("half", 50, 100),
        outcome("two", 2, 100),
    ]
    lines = refusal_of(verdict(), outcomes, Path("reports/validation")).splitlines()
    assert len(lines) == 6
    assert lines[0] == "pets 1.0.0 may not be trained on: 4 of 6 rules failed. See reports/validation/index.html"
    assert [line.split(":")[0] for line in lines[1:4]] == ["  rule most", "  rule half", "  rule two"]
    assert lines[4] == "  also failed: rule few"
    assert lines[5].endswith("params.yaml: validate.levels: most, half, two …")


def test_a_rule_about_the_whole_stands_before_rows() -> None:
    whole = Outcome(GOOD.rule, False, "a, b", 0, 19, pd.DataFrame({"key": [], "found": []}))
    assert worst_first([outcome("most", 90, 100), whole])[0] is whole


def test_the_headline_counts_one_and_many() -> None:
    assert headline(verdict(True), [GOOD]) == "pets 1.0.0: 1,797 images checked, no rule of 1 failed"
    found = [outcome("a", 1, 1), outcome("b", 1, 1, level="warn"), outcome("c", 1, 9, success=True), GOOD]
    assert headline(verdict(num_images=1), found) == "pets 1.0.0: 1 image checked, 1 rule of 4 failed; 2 things to look at"


def test_failures_are_a_row_each_and_tolerated_ones_warn() -> None:
    failures = failures_of([outcome("a", 2, 9), outcome("b", 1, 3, "classes", success=True), GOOD])
    assert failures[["image_id", "level"]].to_numpy().tolist() == [["0.jpg", "fail"], ["1.jpg", "fail"], ["class 0.jpg", "warn"]]
    assert list(failures_of([GOOD]).columns) == list(failures.columns)


def test_what_a_file_is_called_is_no_html(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    outcomes = [outcome("a", 1, 9, found="<script>alert(1)</script>")]
    write_page(verdict(), outcomes, failures_of(outcomes), tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
