from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.datasets.checks.boxes import SAME_BOX_PX, box_table
from components.errors import DataError


def table_of(images: list[list[tuple[str | None, list[float]]]], sizes: list[tuple[int | None, int | None]] | None = None) -> pd.DataFrame:
    offsets = np.concatenate([[0], np.cumsum([len(boxes) for boxes in images])]).astype(np.int64)
    boxes = np.array([box for each in images for _, box in each], dtype=np.float64).reshape(-1, 4)
    labels = np.array([label for each in images for label, _ in each], dtype=object)
    heights, widths = zip(*(sizes or [(100, 200)] * len(images)), strict=True)
    ids = [f"{number}.jpg" for number in range(len(images))]
    return box_table(ids, offsets, boxes, labels, pd.array(heights, dtype="Int32"), pd.array(widths, dtype="Int32"))


def plainly(image_id: str, boxes: list[tuple[str | None, list[float]]], size: tuple[int | None, int | None]) -> list[dict[str, Any]]:
    """The same measures, box by box."""
    rows: list[dict[str, Any]] = []
    for index, (label, box) in enumerate(boxes):
        x1, y1, x2, y2 = box
        row: dict[str, Any] = {"image_id": image_id, "index": index, "label": label, "x1": x1, "y1": y1, "x2": x2, "y2": y2}
        row["finite"] = bool(np.isfinite(box).all())
        nothing = float("nan")
        row |= dict.fromkeys(("width", "height", "area", "share", "outside"), nothing)
        row |= {"empty": True, "duplicate_of": None}
        if row["finite"]:
            row |= {"width": x2 - x1, "height": y2 - y1, "empty": not (x2 > x1 and y2 > y1)}
            row["area"] = 0.0 if row["empty"] else row["width"] * row["height"]
            if None not in size:
                height, width = size
                row["share"] = row["area"] / (height * width)
                row["outside"] = max(0.0, -min(x1, x2), -min(y1, y2), max(x1, x2) - width, max(y1, y2) - height)
            for earlier, (other_label, other) in enumerate(boxes[:index]):
                if other_label == label and np.isfinite(other).all() and max(abs(a - b) for a, b in zip(box, other, strict=True)) <= SAME_BOX_PX:
                    row["duplicate_of"] = earlier
                    break
        rows.append(row)
    return rows


# Few places, so that boxes meet; a jitter that is far from the limit of what counts as the same place.
PLACES = st.sampled_from([-3.0, 0.0, 0.5, 1.0, 12.0, 12.499, 99.999, 100.0, 150.0, 2e16, float("nan"), float("inf"), -float("inf")])
EDGES = st.builds(lambda place, jitter: place + jitter, PLACES, st.sampled_from([0.0, 0.0, 0.001, -0.001]))
BOXES = st.lists(st.tuples(st.sampled_from(["cat", "dog", None]), st.lists(EDGES, min_size=4, max_size=4)), max_size=8)
REPEATED = BOXES.flatmap(lambda boxes: st.lists(st.sampled_from(boxes), max_size=12) if boxes else st.just(boxes))
SIZES = st.tuples(st.sampled_from([100, 7, None]), st.sampled_from([200, None]))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.one_of(BOXES, REPEATED), SIZES), min_size=1, max_size=4))
def test_every_box_is_measured_as_one_by_one(images: list[tuple[Any, Any]]) -> None:
    found = table_of([boxes for boxes, _ in images], [size for _, size in images])
    expected = [row for number, (boxes, size) in enumerate(images) for row in plainly(f"{number}.jpg", boxes, size)]
    assert len(found) == len(expected)
    if expected:
        wanted = pd.DataFrame(expected, columns=found.columns).astype({"image_id": object, "duplicate_of": "Int64"})
        wanted["label"] = pd.Series([row["label"] for row in expected], dtype=object)
        pd.testing.assert_frame_equal(found, wanted, check_dtype=False, rtol=1e-9, atol=1e-9)


def test_a_box_by_hand() -> None:
    row = table_of([[("cat", [-2.5, 10, 47.5, 30])]]).iloc[0]
    assert (row["width"], row["height"], row["area"], row["share"], row["outside"]) == (50, 20, 1000, 0.05, 2.5)
    assert not row["empty"]
    assert row["duplicate_of"] is pd.NA


def test_a_box_of_negative_sides_has_no_area() -> None:
    row = table_of([[("cat", [30, 20, 10, 5])]]).iloc[0]
    assert (row["width"], row["height"], row["area"], row["empty"]) == (-20, -15, 0, True)


def test_the_same_place_counts_within_an_image_and_label_alone() -> None:
    box = [1.0, 2.0, 3.0, 4.0]
    found = table_of([[("cat", box), ("dog", box), ("cat", box), ("cat", box)], [("cat", box)]])
    assert found["duplicate_of"].to_list() == [pd.NA, pd.NA, 0, 0, pd.NA]


def test_a_million_equal_boxes_in_one_image_are_no_trap() -> None:
    count = 1_000_000
    found = box_table(["a"], np.array([0, count]), np.tile([1.0, 2.0, 3.0, 4.0], (count, 1)), np.full(count, "cat", dtype=object), [10], [10])
    assert (found["duplicate_of"][1:] == 0).all()


def test_no_boxes_give_no_rows() -> None:
    assert table_of([[], []]).empty
    assert "duplicate_of" in table_of([[]]).columns


def test_numbers_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(DataError, match=r"found 1 images, 2 offsets up to 2, 1 boxes, 1 labels; expected"):
        box_table(["a"], np.array([0, 2]), np.zeros((1, 4)), np.array(["cat"], dtype=object), [1], [1])


@pytest.mark.shared_data
def test_blood_cells_have_two_boxes_of_zero_area(shared_data: Path) -> None:
    import tarfile
    from xml.etree import ElementTree as ET

    names, counts, boxes, labels, sizes = [], [], [], [], []
    with tarfile.open(shared_data / "bccd.tar") as tar:
        for member in tar:
            if member.name.endswith(".xml") and (file := tar.extractfile(member)):
                root = ET.parse(file).getroot()
                names.append(Path(member.name).stem)
                sizes.append([int(root.findtext(f"size/{side}", "0")) for side in ("height", "width")])
                objects = root.findall("object")
                counts.append(len(objects))
                boxes += [[float(each.findtext(f"bndbox/{edge}", "nan")) for edge in ("xmin", "ymin", "xmax", "ymax")] for each in objects]
                labels += [each.findtext("name") for each in objects]
    offsets = np.concatenate([[0], np.cumsum(counts)])
    heights, widths = np.array(sizes).T
    found = box_table(names, offsets, np.array(boxes), np.array(labels, dtype=object), heights, widths)
    assert len(found) == 4888
    assert {name[-5:] for name in found.loc[found["empty"], "image_id"]} == {"00338", "00343"}
