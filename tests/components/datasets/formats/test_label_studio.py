from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.datasets.importing import import_dataset
from components.errors import DataError
from tests.components.datasets.formats.conftest import SAMPLES, masks, picture, put, read, reasons, rows, studio_result, studio_task, text

TWO = {"images/a.png": picture(1), "images/b.png": picture(2)}


def _files(results: list[dict[str, Any]] | None, image: str = "/data/upload/1/0123abcd-a.png") -> dict[str, bytes]:
    return TWO | {"export.json": text([studio_task(image, results)])}


def test_numbers_are_percent_of_the_image(tmp_path: Path) -> None:
    reading = read(tmp_path, SAMPLES["label_studio"]["shapes"], "label_studio")
    assert (reading.task, reading.classes) == ("detection", ["cat", "dog"])
    # 8×6 pixels: x 25% is 2, y 50% is 3, width 50% is 4, height 25% is 1.5
    row = {"boxes_xyxy": [[2, 3, 6, 4.5], [0, 0, 4, 3]], "box_labels": ["cat", "dog"], "polygons": [[], [[0, 0, 4, 0, 4, 3]]]}
    assert rows(reading) == {"images/a.png": row, "images/b.png": {"boxes_xyxy": [], "box_labels": []}}
    assert rows(read(tmp_path / "not", _files(None), "label_studio", "detection"))["images/a.png"] == {}  # a task that nobody has worked on


def test_a_rectangle_turns_about_its_upper_left_corner(tmp_path: Path) -> None:
    value = {"x": 50.0, "y": 0.0, "width": 25.0, "height": 50.0, "rotation": 90}
    row = rows(read(tmp_path, _files([studio_result("rectanglelabels", value, ["cat"])]), "label_studio"))["images/a.png"]
    np.testing.assert_allclose(row["boxes_xyxy"], [[1, 0, 4, 2]], atol=1e-12)
    np.testing.assert_allclose(row["polygons"][0][0], [4, 0, 4, 2, 1, 2, 1, 0], atol=1e-12)


def test_a_brush_is_the_alpha_of_a_packed_picture(tmp_path: Path) -> None:
    # 192 bytes of RGBA: 32 bits 192, word 8 - 1, widths 8 each; two runs: 96 (3 rows) of 0, 96 of 255
    bits = f"{192:032b}" + f"{7:05b}" + "0111" * 4
    for value in (0, 255):
        bits += "1" + "00" + f"{95:08b}" + f"{value:08b}"
    packed = [int(bits[place : place + 8].ljust(8, "0"), 2) for place in range(0, len(bits), 8)]
    value = {"format": "rle", "rle": packed}
    reading = read(tmp_path, _files([studio_result("brushlabels", value, ["cat"])]), "label_studio", "segmentation")
    np.testing.assert_array_equal(masks(reading)["images/a.png"], [[0] * 8] * 3 + [[1] * 8] * 3)
    assert rows(reading)["images/a.png"]["boxes_xyxy"] == [[0, 3, 8, 6]]
    cut = _files([studio_result("brushlabels", {"rle": packed[:-3]}, ["cat"])])
    assert "cut off" in reasons(read(tmp_path / "cut", cut, "label_studio"))["images/a.png"]


def test_choices_label_the_whole_image(tmp_path: Path) -> None:
    reading = read(tmp_path, _files([{"type": "choices", "value": {"choices": ["good"]}}]), "label_studio")
    assert (reading.task, rows(reading)["images/a.png"]) == ("classification", {"label": "good"})


def test_of_several_annotations_the_truth_or_the_last_is_taken(tmp_path: Path) -> None:
    def given(label: str, **more: Any) -> dict[str, Any]:
        return {"result": [{"type": "choices", "value": {"choices": [label]}}], "updated_at": "2026-01-01", **more}

    tasks = [
        {"data": {"image": "a.png"}, "annotations": [given("old"), given("new", updated_at="2026-02-01"), given("no", was_cancelled=True)]},
        {"data": {"image": "b.png"}, "annotations": [given("true", ground_truth=True), given("new", updated_at="2026-02-01")]},
    ]
    found = rows(read(tmp_path, TWO | {"export.json": text(tasks)}, "label_studio"))
    assert {name: row["label"] for name, row in found.items()} == {"images/a.png": "new", "images/b.png": "true"}


@pytest.mark.parametrize(
    "image",
    ["a.png", "images/a.png", "/data/local-files/?d=some/where/a.png", "s3://bucket/images/a.png", "http://host/data/upload/9/89abcdef-a.png"],
)
def test_images_are_found_by_the_end_of_their_address(tmp_path: Path, image: str) -> None:
    assert rows(read(tmp_path, _files([], image), "label_studio"))["images/a.png"] == {"boxes_xyxy": [], "box_labels": []}


@pytest.mark.parametrize(
    ("results", "image", "reason"),
    [
        pytest.param([], "gone.png", "there is no such image", id="no image"),
        pytest.param([studio_result("rectanglelabels", {"x": 1.0, "y": 1.0, "width": 2.0}, ["x"])], "a.png", "lacks 'height'", id="no height"),
        pytest.param([studio_result("rectanglelabels", {"x": "one"}, ["x"])], "a.png", "x: Input should be a valid number", id="no number"),
        pytest.param([studio_result("rectanglelabels", {}, ["x", "y"])], "a.png", "an object with 2 labels", id="two labels"),
        pytest.param([{**studio_result("rectanglelabels", {}, ["x"]), "original_width": 9}], "a.png", "annotated at 9×6", id="another size"),
    ],
)
def test_what_cannot_be_taken_is_told(tmp_path: Path, results: list[dict[str, Any]], image: str, reason: str) -> None:
    found = reasons(read(tmp_path, _files(results, image), "label_studio", "detection"))
    assert len(found) == 1
    assert reason in next(iter(found.values()))


def test_the_export_that_leaves_out_what_is_a_label_is_refused(tmp_path: Path) -> None:
    label = {"x": 50.0, "y": 0.0, "width": 25.0, "height": 50.0, "rotation": 0, "rectanglelabels": ["cat"]}
    task = {"image": "/data/upload/1/0123abcd-a.png", "id": 1, "label": [label], "annotator": 1, "annotation_id": 3, "lead_time": 2.0}
    for form in (None, "label_studio"):
        put(tmp_path / "source", TWO | {"export.json": text([task])})
        with pytest.raises(DataError, match=r"^export\.json is Label Studio's export JSON-MIN, .*; expected its export JSON$"):
            import_dataset(str(tmp_path / "source"), "pets", tmp_path / "data", format=form)


def test_another_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"export\.json: the whole: found an object of 1; expected"):
        read(tmp_path, TWO | {"export.json": b'{"a": 1}'}, "label_studio")


@pytest.mark.shared_data
def test_a_real_export_with_turned_rectangles(shared_data: Path, tmp_path: Path) -> None:
    with tarfile.open(shared_data / "formats.tar.gz") as tar:
        content = tar.extractfile("label-studio/test_export_yolo/data_obb.json")
        assert content is not None
        listed = content.read().replace(b'"/image1"', b'"image1.png"').replace(b'"/image2"', b'"image2.png"').replace(b'"/image3"', b'"image3.png"')
    files = {f"image{number}.png": picture(number, (597, 768)) for number in (1, 2, 3)} | {"export.json": listed}
    reading = read(tmp_path, files, "label_studio")
    found = rows(reading)
    assert len(found["image1.png"]["boxes_xyxy"]) == 23
    # x 10.537% of 597 is 62.906, y 79.558% of 768 is 611.003; 328.33° lifts the right end: the corner stays the left-most but for the lower one
    assert found["image1.png"]["polygons"][0][0][:2] == [pytest.approx(62.9063, abs=1e-3), pytest.approx(611.0030, abs=1e-3)]
