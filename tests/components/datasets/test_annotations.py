from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from components.datasets.annotations import MASK_PNG, classes_shown
from components.datasets.composed import BACKGROUND, CLASSES, scenes, segmentation_images
from components.datasets.dataset import Dataset, with_masks
from components.datasets.manifest import DatasetInfo
from components.datasets.masks import mask_png
from components.datasets.writing import write_dataset


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
