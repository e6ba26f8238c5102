from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from components.errors import DataError
from tests.components.datasets.formats.conftest import HEIGHT, SAMPLES, WIDTH, masks, picture, read, reasons, rows, text

TWO = {"images/a.png": picture(1), "images/b.png": picture(2)}


def _xml(shapes: str, name: str = "a.png", meta: str = "") -> bytes:
    return text(f'<annotations><meta>{meta}</meta><image id="0" name="{name}" width="{WIDTH}" height="{HEIGHT}">{shapes}</image></annotations>')


def test_shapes_are_in_pixels_from_the_edge_and_drawn_by_their_height(tmp_path: Path) -> None:
    reading = read(tmp_path, SAMPLES["cvat"]["shapes"], "cvat", "segmentation")
    assert reading.classes == ["background", "dog", "cat"]
    assert rows(reading)["images/a.png"] == {
        "split": "train",
        "boxes_xyxy": [[4, 1, 7, 3], [2, 4, 4, 6], [1, 1.5, 3, 4]],
        "box_labels": ["dog", "dog", "cat"],
        "polygons": [[[4, 1, 7, 1, 7, 3]], [], []],
    }
    mask = masks(reading)["images/a.png"]
    # the mask's runs: 1 off, 2 on, 1 off in a square of 2 by 2 at column 2, row 4
    np.testing.assert_array_equal(mask[4:6, 2:4], [[0, 1], [1, 0]])
    np.testing.assert_array_equal(mask[2:4, 1:3], [[255, 255], [255, 255]])  # a box says where, not which pixels
    assert rows(reading)["images/b.png"] == {"boxes_xyxy": [], "box_labels": []}


def test_a_box_turned_by_a_quarter_stands_upright(tmp_path: Path) -> None:
    files = TWO | {"annotations.xml": _xml('<box label="x" xtl="2" ytl="2" xbr="6" ybr="4" rotation="90"/>')}
    row = rows(read(tmp_path, files, "cvat"))["images/a.png"]
    np.testing.assert_allclose(row["boxes_xyxy"], [[3, 1, 5, 5]], atol=1e-12)
    np.testing.assert_allclose(row["polygons"][0][0], [5, 1, 5, 5, 3, 5, 3, 1], atol=1e-12)  # clockwise: the left upper corner goes right


def test_tags_label_the_whole_image(tmp_path: Path) -> None:
    files = TWO | {"annotations.xml": _xml('<tag label="sunny"/>', meta="<labels><label><name>rain</name></label></labels>")}
    reading = read(tmp_path, files, "cvat")
    assert (reading.task, reading.classes, rows(reading)["images/a.png"]) == ("classification", ["rain", "sunny"], {"label": "sunny"})
    both = TWO | {"annotations.xml": _xml('<tag label="x"/><tag label="y"/>')}
    assert "tagged x and y" in reasons(read(tmp_path / "both", both, "cvat"))["images/a.png"]


def test_shapes_without_a_place_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = TWO | {"annotations.xml": _xml('<polyline label="x" points="1,2;3,4"/><box label="x" xtl="1" ytl="1" xbr="2" ybr="2"/>')}
    assert len(rows(read(tmp_path, files, "cvat"))["images/a.png"]["boxes_xyxy"]) == 1
    assert "1 shapes <polyline>" in caplog.text


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        pytest.param('<box label="x" xtl="1" ytl="one" xbr="2" ybr="2"/>', "ytl of a <box> is 'one'", id="no number"),
        pytest.param('<box xtl="1" ytl="1" xbr="2" ybr="2"/>', "a <box> without a label", id="no label"),
        pytest.param('<polygon label="x" points="1,2;3"/>', "expected x,y;x,y", id="half a point"),
        pytest.param('<mask label="x" rle="1,2" left="0" top="0" width="2" height="2"/>', "gives 3 pixels; expected 4", id="runs too short"),
        pytest.param('<mask label="x" rle="0,99999999999" left="0" top="0" width="9" height="9"/>', "leaves the image", id="too large"),
    ],
)
def test_an_image_whose_shapes_are_wrong_is_quarantined(tmp_path: Path, shapes: str, reason: str) -> None:
    reading = read(tmp_path, TWO | {"annotations.xml": _xml(shapes)}, "cvat", "segmentation")
    assert list(reasons(reading)) == ["images/a.png"]
    assert reason in reasons(reading)["images/a.png"]


def test_annotations_without_images_are_told(tmp_path: Path) -> None:
    assert "there is no such image" in reasons(read(tmp_path / "one", TWO | {"annotations.xml": _xml("", "c.png")}, "cvat"))["c.png"]
    assert "leads outside" in reasons(read(tmp_path / "two", TWO | {"annotations.xml": _xml("", "/etc/a.png")}, "cvat"))["/etc/a.png"]


def test_a_video_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="CVAT for video"):
        read(tmp_path, TWO | {"annotations.xml": b"<annotations><meta/><track id='0'/></annotations>"}, "cvat")
