from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from components.datasets.checks.objects import examine
from components.datasets.checks.suite import Part, Subject

Make = Callable[..., Subject]
Told = Callable[[Part, str], dict[int, str]]


def boxes(*corners: list[float], labels: str = "cat", polygons: list[Any] | None = None) -> dict[str, Any]:
    return {"boxes_xyxy": list(corners), "box_labels": [labels] * len(corners), "polygons": polygons}


FINE = boxes([5, 5, 20, 20])


@pytest.mark.parametrize(
    ("row", "column", "text"),
    [
        pytest.param(boxes([5, 5, 20, 20], [7, 9, 7, 30]), "empty_boxes", "box 1 (cat): 0×21 pixels", id="zero width"),
        pytest.param(boxes([20, 5, 5, 20]), "empty_boxes", "box 0 (cat): -15×15 pixels", id="negative width"),
        pytest.param(boxes([0, 0, float("nan"), 4]), "empty_boxes", "box 0 (cat): nan×nan pixels", id="no number"),
        pytest.param(boxes([30, 5, 64, 20]), "boxes_outside", "box 0 (cat): 4 pixels outside", id="beyond the right edge"),
        pytest.param(boxes([-3, 5, 20, 20]), "boxes_outside", "box 0 (cat): 3 pixels outside", id="beyond the left edge"),
        pytest.param(boxes([5, 5, 20, 20], [5, 5, 20, 20], [5, 5, 20, 20]), "repeated_boxes", "box 1 (cat) is box 0; 1 more", id="three times"),
        pytest.param(boxes([5, 5, 6, 20]), "small_boxes", "box 0 (cat): 1×15 pixels", id="unlikely small"),
        pytest.param(boxes([0, 0, 60, 40]), "large_boxes", "box 0 (cat): 100% of the image", id="unlikely large"),
        pytest.param(boxes(), "no_objects", "no box", id="annotated as empty"),
        pytest.param(boxes([5, 5, 20, 20], polygons=[[[5, 5, 20, 20]]]), "short_polygons", "outline of box 0: 2 points", id="two points"),
        pytest.param(boxes([5, 5, 20, 20], polygons=[[[5, 5, 20, 20, 5]]]), "short_polygons", "outline of box 0: not pairs of numbers", id="odd"),
        pytest.param(boxes([5, 5, 20, 20], polygons=[[[5, 5, 20, 20, 20, 5, 5, 20]]]), "crossing_polygons", "outline of box 0", id="a bow tie"),
    ],
)
def test_each_fault_is_named_in_its_column_alone(row: dict[str, Any], column: str, text: str, make_subject: Make, told: Told) -> None:
    part = examine(make_subject(FINE, row, FINE, task="detection"))
    faults = {name: found for name in part.columns if (found := told(part, name))}
    assert faults == {column: {1: text}}
    assert column in {rule.options["column"] for rule in part.rules}


def test_rounding_is_no_fault_and_bounds_are_those_of_the_configuration(make_subject: Make, told: Told) -> None:
    row = boxes([-0.5, 0, 20, 40.9])
    assert told(examine(make_subject(row, task="detection")), "boxes_outside") == {}
    assert told(examine(make_subject(row, task="detection", max_outside=0.4)), "boxes_outside") == {0: "box 0 (cat): 0.9 pixels outside"}


def test_an_image_that_nobody_annotated_is_not_one_without_objects(make_subject: Make, told: Told) -> None:
    assert told(examine(make_subject(FINE, {}, task="detection")), "no_objects") == {}


def test_where_nothing_is_drawn_nothing_is_judged(make_subject: Make) -> None:
    assert examine(make_subject({"label": "cat"})) == Part()
