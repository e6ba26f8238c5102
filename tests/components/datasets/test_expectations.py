from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from components.datasets.expectations import MAX_LISTED, Rule, judge

TABLES = {"images": pd.DataFrame({"id": ["a", "b", "c"], "height": [8.0, None, 3.0], "note": [None, "torn", None], "side": ["l", "x", None]})}
HEIGHT = Rule("height", "heights", "images", "ExpectColumnValuesToBeBetween", {"column": "height", "min_value": 4}, "at least 4", "warn")
NOTE = Rule("note", "notes", "images", "ExpectColumnValuesToBeNull", {"column": "note"}, "none")
SIDE = Rule("side", "sides", "images", "ExpectColumnValuesToBeInSet", {"column": "side", "value_set": ["l", "r"]}, "l or r")
GIVEN = Rule("given", "given", "images", "ExpectColumnValuesToNotBeNull", {"column": "height"}, "a height")
COLUMNS = Rule("columns", "columns", "images", "ExpectTableColumnsToMatchSet", {"column_set": ["id", "width"], "exact_match": False}, "id, width")


def test_outcomes_name_the_rows_that_break_a_rule_in_the_order_asked_for(tmp_path: Path) -> None:
    columns, height, side, note, given = judge(TABLES, {"images": "id"}, [COLUMNS, HEIGHT, SIDE, NOTE, GIVEN], tmp_path / "docs")
    assert not columns.success
    assert (columns.num_broken, len(columns.broken)) == (0, 0)
    assert not height.success
    assert height.broken.to_dict("records") == [{"key": "c", "found": "3"}]
    assert height.observed == "1 of 3 break it"
    assert side.broken.to_dict("records") == [{"key": "b", "found": "x"}]
    assert note.broken.to_dict("records") == [{"key": "b", "found": "torn"}]
    assert given.broken.to_dict("records") == [{"key": "b", "found": "nothing"}]
    assert [outcome.num_broken for outcome in (height, side, note, given)] == [1, 1, 1, 1]
    assert "heights" in (tmp_path / "docs/expectations/images.html").read_text()
    assert "torn" in next((tmp_path / "docs/validations/images").rglob("*.html")).read_text()


def test_a_flood_is_counted_whole_and_listed_in_part(tmp_path: Path) -> None:
    flood = pd.DataFrame({"id": [str(row) for row in range(MAX_LISTED + 5)], "height": [1.0] * MAX_LISTED + [9.0] * 4 + [1.0]})
    (outcome,) = judge({"images": flood}, {"images": "id"}, [HEIGHT], tmp_path / "docs")
    assert (outcome.num_broken, len(outcome.broken)) == (MAX_LISTED + 1, MAX_LISTED)
    assert outcome.observed == "10,001 of 10,005 break it"


def test_what_is_off_is_not_judged(tmp_path: Path) -> None:
    off = Rule("height", "heights", "images", "ExpectColumnValuesToBeBetween", {"column": "height", "min_value": 4}, "at least 4", "off")
    assert [outcome.rule for outcome in judge(TABLES, {"images": "id"}, [off, NOTE], tmp_path / "docs")] == [NOTE]


def test_a_rule_that_cannot_be_judged_is_no_verdict(tmp_path: Path) -> None:
    nowhere = Rule("blank", "blank", "images", "ExpectColumnValuesToMatchRegex", {"column": "height", "regex": "("}, "blank")
    with pytest.raises(RuntimeError, match="could not judge 'blank'"):
        judge(TABLES, {"images": "id"}, [nowhere], tmp_path / "docs")
