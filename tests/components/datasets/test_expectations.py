from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from components.datasets.expectations import Broken, Rule, judge

TABLES = {"images": pd.DataFrame({"id": ["a", "b", "c"], "height": pd.array([8, None, 3], dtype="Int32")})}
HEIGHT = Rule("heights", "images", "ExpectColumnValuesToBeBetween", {"column": "height", "min_value": 4}, "at least 4", "warn")
COLUMNS = Rule("columns", "images", "ExpectTableColumnsToMatchSet", {"column_set": ["id", "width"], "exact_match": False}, "id, width")


def test_outcomes_name_the_rows_that_break_a_rule_in_the_order_asked_for(tmp_path: Path) -> None:
    columns, height = judge(TABLES, {"images": "id"}, [COLUMNS, HEIGHT], tmp_path / "docs")
    assert not columns.success
    assert columns.observed == "height, id"
    assert not height.success
    assert height.broken == [Broken("c", "3")]
    assert height.observed == "1 of 3 rows break it"
    assert "heights" in (tmp_path / "docs/expectations/images.html").read_text()


def test_a_rule_that_cannot_be_judged_is_no_verdict(tmp_path: Path) -> None:
    nowhere = Rule("widths", "images", "ExpectColumnValuesToBeBetween", {"column": "width", "min_value": 4}, "at least 4")
    with pytest.raises(RuntimeError, match="could not judge 'widths'"):
        judge(TABLES, {"images": "id"}, [nowhere], tmp_path / "docs")
