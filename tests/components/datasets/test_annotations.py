from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.datasets.annotations import MASK_PNG, classes_shown, region_of_polygon
from components.datasets.composed import BACKGROUND, CLASSES, scenes, segmentation_images
from components.datasets.dataset import Dataset, with_masks
from components.datasets.manifest import DatasetInfo
from components.datasets.masks import mask_png
from components.datasets.writing import write_dataset
from components.errors import DataError


def test_the_classes_that_an_image_shows_come_from_whichever_annotation_it_has() -> None:
    mask = mask_png(np.array([[0, 2], [255, 2]], np.uint8))
    rows = pd.DataFrame(
        {
            "label": pd.Series(["cat", None, None, None], dtype=object),
            "box_labels": pd.Series([None, ["dog", "cat", "dog"], [], None], dtype=object),
            MASK_PNG: pd.Series([None, None, None, mask], dtype=object),
        }
    )
    assert classes_shown(rows, ["sky", "cat", "dog"]) == [{"cat"}, {"cat", "dog"}, set(), {"sky", "dog"}]
    assert classes_shown(rows[["label"]], []) == [{"cat"}, set(), set(), set()]


def test_rows_get_the_masks_that_stand_in_the_shards(tmp_path: Path) -> None:
    info = DatasetInfo(name="shapes", version="1.0.0", task="segmentation", classes=[BACKGROUND, *CLASSES])
    write_dataset(list(segmentation_images(6)), info, tmp_path, "replace")
    with Dataset.of_folder(tmp_path / "shapes") as dataset:
        rows = with_masks(dataset.manifest, dataset.shards)
        assert MASK_PNG not in with_masks(dataset.manifest.assign(mask_shard=None), dataset.shards)
        shown = classes_shown(rows, info.classes)
        for index, scene in enumerate(scenes(6)):
            mask = dataset.mask(index)
            assert mask is not None
            np.testing.assert_array_equal(mask, scene.mask)
            assert shown[index] == {BACKGROUND, *scene.labels}


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
