from __future__ import annotations

import pytest

from components.datasets.reading import Files, key_of, split_in, split_of
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
