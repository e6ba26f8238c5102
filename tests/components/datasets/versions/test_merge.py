from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from components.datasets.annotations import IGNORE
from components.datasets.dataset import Dataset
from components.datasets.manifest import DatasetInfo
from components.datasets.versions.merge import merge
from components.datasets.writing import write_dataset
from components.errors import DataError, InputError
from components.protocols import ImportedImage
from tests.components.datasets.versions.conftest import labelled, picture, write


def test_classes_are_mapped_bytes_stay_and_clashing_ids_are_told_apart(tmp_path: Path) -> None:
    write(tmp_path, [labelled("1.png", "cat"), labelled("2.png", "dog"), labelled("same.png", "cat")], name="a")
    other = [labelled("1.png", "kitten", picture("b1")), labelled("3.png", "bird"), labelled("same.png", "kitten")]
    write(tmp_path, other, name="b", classes=["bird", "kitten"])
    done = merge(tmp_path / "data", ("a", "b"), "c", {"kitten": "cat", "bird": "bird", "dog": "dog"})
    assert (done.num_images, done.num_shared, done.num_renamed) == (5, 1, 1)
    assert done.class_counts == {"cat": 3, "dog": 1, "bird": 1}
    with Dataset.of_folder(tmp_path / "data" / "c") as merged:
        assert merged.info.classes == ["cat", "dog", "bird"]
        assert merged.manifest["image_id"].tolist() == ["a/1.png", "2.png", "same.png", "b/1.png", "3.png"]
        assert merged.manifest["label"].tolist() == ["cat", "dog", "cat", "cat", "bird"]
        assert [merged.image(index) for index in (0, 3, 4)] == [picture("1.png"), picture("b1"), picture("3.png")]
    shard = tmp_path / "data" / "a" / "shards" / "000000.tar"
    assert shard.stat().st_nlink == 2  # not copied, let alone encoded again


def test_a_class_that_one_alone_has_must_be_said(tmp_path: Path) -> None:
    write(tmp_path, [labelled("1.png", "cat"), labelled("2.png", "dog")], name="a")
    write(tmp_path, [labelled("3.png", "cat")], name="b", classes=["cat", "bird", "fish"])
    with pytest.raises(InputError, match=r"a alone has dog; b alone has bird, fish\. Say what becomes of each: --map dog=CLASS, or --map dog=dog"):
        merge(tmp_path / "data", ("a", "b"), "c")
    with pytest.raises(InputError, match="neither dataset has the class 'cow'"):
        merge(tmp_path / "data", ("a", "b"), "c", {"cow": "cat"})
    assert not (tmp_path / "data" / "c").exists()
    assert merge(tmp_path / "data", ("a", "b"), "c", keep=True).class_counts == {"cat": 2, "dog": 1, "bird": 0, "fish": 0}
    with pytest.raises(InputError, match="exists"):
        merge(tmp_path / "data", ("a", "b"), "c", keep=True)


def test_one_picture_with_two_labels_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [labelled("1.png", "cat"), labelled("2.png", "dog")], name="a")
    write(tmp_path, [labelled("1.png", "dog"), labelled("2.png", "dog")], name="b")
    with pytest.raises(DataError, match=r"1 images are in both, annotated differently \(label\): 1\.png"):
        merge(tmp_path / "data", ("a", "b"), "c")


def test_box_labels_and_masks_mean_the_same_classes_as_before(tmp_path: Path) -> None:
    for name, classes, value in (("a", ["sky", "road"], 1), ("b", ["car", "road"], 1), ("d", ["car", "road"], 0)):
        row = {"boxes_xyxy": [[0, 0, 4, 4]], "box_labels": [classes[value]]}
        mask = np.full((8, 8), IGNORE, dtype=np.uint8)
        mask[:4] = value
        info = DatasetInfo(name=name, version="1.0.0", task="segmentation", classes=classes)
        write_dataset([ImportedImage(f"{name}.png", picture(name), row, mask)], info, tmp_path / "data")
    merge(tmp_path / "data", ("a", "b"), "c", {"road": "street"}, keep=True)
    merge(tmp_path / "data", ("c", "d"), "e", {"road": "street"}, keep=True)
    with Dataset.of_folder(tmp_path / "data" / "e") as merged:
        assert merged.info.classes == ["sky", "street", "car"]
        found = [merged.mask(index) for index in range(3)]
        assert [np.unique(mask).tolist() for mask in found if mask is not None] == [[1, IGNORE], [1, IGNORE], [2, IGNORE]]
        assert [labels[0] for labels in merged.manifest["box_labels"]] == ["street", "street", "car"]
        assert merged.image(2) == picture("d")
