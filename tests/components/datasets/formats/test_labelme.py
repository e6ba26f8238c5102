from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.errors import DataError
from components.protocols import ImportedImage
from tests.components.datasets.formats.conftest import (
    SAMPLES,
    base64_png,
    labelme_json,
    labelme_shape,
    masks,
    picture,
    read,
    reasons,
    rows,
    text,
)


def _files(*shapes: dict[str, Any], **more: Any) -> dict[str, bytes]:
    return {"a.png": picture(1), "b.png": picture(2), "a.json": text(labelme_json(list(shapes), **more))}


def test_corners_may_come_in_any_order(tmp_path: Path) -> None:
    reading = read(tmp_path, SAMPLES["labelme"]["shapes"], "labelme")
    assert (reading.task, reading.classes) == ("detection", ["cat", "dog"])
    row = {"boxes_xyxy": [[1, 2, 5, 4], [0, 0, 4, 3]], "box_labels": ["cat", "dog"], "polygons": [[], [[0, 0, 4, 0, 4, 3]]]}
    assert rows(reading) == {"a.png": row, "b.png": {}}  # no file: not annotated


def test_masks_are_filled_rectangles_circles_and_pictures_in_their_place(tmp_path: Path) -> None:
    shapes = [
        labelme_shape("cat", "rectangle", [[1, 2], [3, 4]]),
        labelme_shape("dog", "mask", [[5, 0], [6, 1]], mask=base64_png([[255, 0], [0, 255]])),
        labelme_shape("__ignore__", "circle", [[1, 5], [1, 5.8]]),
    ]
    reading = read(tmp_path, _files(*shapes), "labelme", "segmentation")
    assert reading.classes == ["background", "__ignore__", "cat", "dog"]
    expected = np.zeros((6, 8))
    expected[2:4, 1:3] = 2
    expected[0, 5] = expected[1, 6] = 3
    expected[4:6, 0:2] = 255
    np.testing.assert_array_equal(masks(reading)["a.png"], expected)
    assert rows(reading)["a.png"]["boxes_xyxy"][1:] == [
        [5, 0, 7, 2],
        [pytest.approx(0.2), pytest.approx(4.2), pytest.approx(1.8), pytest.approx(5.8)],
    ]


def test_flags_label_the_whole_image(tmp_path: Path) -> None:
    reading = read(tmp_path, _files(flags={"good": True, "bad": False}), "labelme")
    assert (reading.task, reading.classes, rows(reading)["a.png"]) == ("classification", ["good"], {"label": "good"})


def test_the_image_inside_is_taken_only_where_the_file_is_missing(tmp_path: Path) -> None:
    inside = base64.b64encode(picture(9)).decode()
    there = read(tmp_path / "there", _files(imageData=inside), "labelme")
    assert {image.image_id: image.content for image in there.images if isinstance(image, ImportedImage)}["a.png"] == picture(1)
    files = {"x/a.json": text(labelme_json([labelme_shape("cat", "rectangle", [[0, 0], [1, 1]])], "..\\\\pictures\\\\c.png", imageData=inside))}
    alone = read(tmp_path / "alone", files, "labelme")
    assert [(image.image_id, image.content) for image in alone.images if isinstance(image, ImportedImage)] == [("pictures/c.png", picture(9))]


def test_the_web_tools_xml(tmp_path: Path) -> None:
    row = rows(read(tmp_path, SAMPLES["labelme"]["xml"], "labelme"))["Images/x/a.png"]
    assert row == {"boxes_xyxy": [[1, 1, 4, 5]], "box_labels": ["cat"], "polygons": [[[1, 1, 4, 1, 4, 5]]]}


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        pytest.param(_files(labelme_shape("x", "cuboid", [[0, 0], [1, 1]])), "is a 'cuboid'", id="unknown shape"),
        pytest.param(_files(labelme_shape("x", "circle", [[0, 0]])), "has 1 points; expected 2", id="half a circle"),
        pytest.param(_files(image="c.png"), "there is no such image", id="no image"),
        pytest.param(_files(image="../../a.png"), "leads outside", id="outside"),
        pytest.param(_files() | {"a.json": b"{}"}, "shapes: found an object of 0; expected: Field required", id="another shape"),
        pytest.param(_files() | {"b.json": text(labelme_json([]))}, "as a.json does", id="twice"),
    ],
)
def test_what_cannot_be_taken_is_told(tmp_path: Path, files: dict[str, bytes], reason: str) -> None:
    found = reasons(read(tmp_path, files, "labelme"))
    assert len(found) == 1
    assert reason in next(iter(found.values()))


@pytest.mark.parametrize("mask", ["?", base64_png([[1] * 20]), ""])
def test_a_mask_that_is_damaged_or_leaves_the_image_quarantines_it(tmp_path: Path, mask: str) -> None:
    reading = read(tmp_path, _files(labelme_shape("x", "mask", [[0, 0], [1, 1]], mask=mask)), "labelme", "segmentation")
    assert list(reasons(reading)) == ["a.png"]


def test_a_source_without_annotations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found no JSON"):
        read(tmp_path, {"a.png": picture()}, "labelme")
