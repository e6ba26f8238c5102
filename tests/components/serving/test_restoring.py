from __future__ import annotations

import pandas as pd

from components.records import Preprocess
from components.serving.postprocess import classification, segmentation
from components.serving.restoring import restored, sizes_of
from tests.components.serving.test_image import _scene

PREPROCESS = Preprocess(size_hw=(12, 20), channels=1, resize="stretch")


def test_each_prediction_gets_the_size_of_its_own_original() -> None:
    mask = _scene()[:, :, 0]
    found = restored(segmentation.plugin, [mask, mask], [(24, 40), (6, 5)], PREPROCESS)
    assert [each.shape for each in found] == [(24, 40), (6, 5)]
    assert restored(classification.plugin, [mask], [(24, 40)], PREPROCESS)[0] is mask


def test_sizes_come_from_the_rows_or_are_the_networks() -> None:
    assert sizes_of(pd.DataFrame({"height": [3, 4], "width": [5, 6]}), PREPROCESS) == [(3, 5), (4, 6)]
    assert sizes_of(pd.DataFrame({"label": ["a"]}), PREPROCESS) == [(12, 20)]
