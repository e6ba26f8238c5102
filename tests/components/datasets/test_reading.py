from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from components.datasets import reading
from components.datasets.annotations import region_of_polygon
from components.datasets.reading import Files, Objects, key_of, parse_xml, read_annotation, split_in, split_of, with_background
from components.datasets.sources import open_source
from components.errors import DataError


@pytest.mark.parametrize(
    ("folder", "split"), [("train2017", "train"), ("Valid", "val"), ("test", "test"), ("train1", None), ("trainers", None), ("2017", None)]
)
def test_folders_that_name_a_split(folder: str, split: str | None) -> None:
    assert split_of(folder) == split
    assert split_in(f"x/{folder}/train.png") == split


def test_words_of_a_files_name_may_name_the_split() -> None:
    assert split_in("test/instances_val2017.json", words=True) == "val"
    assert split_in("test/instances.json", words=True) == "test"


def test_what_an_image_and_its_annotation_share() -> None:
    assert key_of("a/images/train/x.y.jpg", {"images"}) == key_of("a/train/x.y.txt", {"images"}) == "a/train/x.y"


class TestFind:
    FILES = Files(["train/a.png", "val/a.png", "images/b.png"])

    @pytest.mark.parametrize(
        ("called", "annotations", "found"),
        [
            ("b.png", "x/all.json", "images/b.png"),
            ("../images/b.png", "x/all.json", "images/b.png"),
            ("images\\b.png", "x/all.json", "images/b.png"),
            ("a.png", "train/all.json", "train/a.png"),
            ("a.png", "all.json", "val/a.png"),
        ],
    )
    def test_by_its_folder_by_the_root_by_its_end_by_its_split(self, called: str, annotations: str, found: str) -> None:
        assert self.FILES.find(called, annotations, "val") == found

    @pytest.mark.parametrize("called", ["../../b.png", "/etc/b.png", "C:/b.png", "C:\\b.png", "a\0b", "..", ""])
    def test_nothing_outside(self, called: str) -> None:
        with pytest.raises(DataError, match="leads outside"):
            self.FILES.find(called, "x/all.json")

    def test_nothing_by_chance(self) -> None:
        with pytest.raises(DataError, match=r"it could be train/a\.png or val/a\.png"):
            self.FILES.find("a.png", "all.json")
        with pytest.raises(DataError, match="no such image"):
            self.FILES.find("ab.png", "all.json")


def test_an_annotation_file_above_the_limit_is_refused_before_it_is_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.json").write_bytes(b"x" * 11)
    monkeypatch.setattr(reading, "MAX_ANNOTATION_BYTES", 10)
    with pytest.raises(DataError, match=r"a\.json has 11 bytes; expected at most 10"):
        read_annotation(open_source(str(tmp_path)), "a.json")


def test_deep_xml_is_read_or_refused() -> None:
    deep = b"<a>" * 50_000 + b"</a>" * 50_000
    assert parse_xml(deep, "x.xml", "a").tag == "a"
    with pytest.raises(DataError, match="is refused"):
        parse_xml(b"<!DOCTYPE a SYSTEM 'http://host/a.dtd'><a/>", "x.xml", "a")


def test_a_polygon_is_drawn_as_coco_draws_it() -> None:
    from pycocotools import mask as reference

    ring = [1.2, 0.7, 6.6, 1.1, 4.3, 5.5]
    expected = reference.decode(reference.merge(reference.frPyObjects([ring], 6, 8)))
    np.testing.assert_array_equal(region_of_polygon([ring], (6, 8)), expected)
    square = region_of_polygon([[1, 2, 4, 2, 4, 4, 1, 4]], (6, 8))
    assert np.argwhere(square).min(axis=0).tolist() == [2, 1]
    assert np.argwhere(square).max(axis=0).tolist() == [3, 3]
    assert not region_of_polygon([[1, 2, 3, 4]], (6, 8)).any()


def test_an_outline_far_outside_is_refused_and_not_drawn() -> None:
    with pytest.raises(DataError, match="an outline reaches to x 1e"):
        region_of_polygon([[0, 0, 1e12, 0, 5, 5]], (6, 8))


def test_later_objects_lie_over_earlier_ones_and_ignored_ones_are_255() -> None:
    objects = Objects()
    objects.add("a", None, [[0, 0, 4, 0, 4, 2, 0, 2]])
    objects.add("b", None, [[0, 0, 2, 0, 2, 2, 0, 2]])
    objects.add("a", None, [[3, 0, 4, 0, 4, 1, 3, 1]], ignore=True)
    np.testing.assert_array_equal(objects.mask(with_background(["a", "b"]), (2, 4)), [[2, 2, 1, 255], [2, 2, 1, 1]])


def test_too_many_classes_for_a_mask_are_refused() -> None:
    assert with_background(["x", "background"]) == ["x", "background"]
    with pytest.raises(DataError, match="found 256 classes; a mask can tell 255 apart"):
        with_background([str(index) for index in range(255)])
