from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.datasets.checks.masks import mask_table, measure_mask

MASKS = st.lists(
    st.tuples(st.integers(1, 5), st.integers(1, 5), st.lists(st.sampled_from([0, 1, 2, 3, 9, 254, 255]), min_size=25, max_size=25)).map(
        lambda given: np.array(given[2][: given[0] * given[1]], dtype=np.uint8).reshape(given[0], given[1])
    ),
    max_size=4,
)


@settings(deadline=None, max_examples=50)
@given(MASKS, st.sampled_from([1, 3, 255]))
def test_every_mask_is_measured_as_pixel_by_pixel(masks: list[np.ndarray], num_classes: int) -> None:
    names = [f"{number}.jpg" for number in range(len(masks))]
    found, pixels = mask_table(names, map(measure_mask, masks), [3] * len(masks), [4] * len(masks), num_classes)
    assert found["image_id"].tolist() == names
    assert pixels.shape == (len(masks), num_classes)
    for number, mask in enumerate(masks):
        values = mask.ravel().tolist()
        row = found.iloc[number]
        stray = [value for value in values if value >= num_classes and value != 255]
        assert row["same_size"] == (mask.shape == (3, 4))
        assert row["undeclared"] == (", ".join(str(value) for value in sorted(set(stray))) or None)
        assert row["undeclared_pixels"] == len(stray)
        assert row["ignored"] == pytest.approx(values.count(255) / len(values))
        assert row["num_classes"] == len({value for value in values if value < num_classes})
        assert pixels[number].tolist() == [values.count(value) for value in range(num_classes)]


def test_a_size_that_nobody_knows_is_neither_equal_nor_not() -> None:
    found, _ = mask_table(["a", "b"], [measure_mask(np.zeros((2, 3), np.uint8))] * 2, [None, 2], [None, 3], 1)
    assert found["same_size"].tolist() == [pd.NA, True]


@pytest.mark.shared_data
def test_coco_category_ids_are_not_class_indices(shared_data: Path) -> None:
    import io
    import tarfile

    from components.datasets.annotations import read_mask

    masks = []
    with tarfile.open(shared_data / "coco128.tar") as tar:
        for member in tar:
            if member.name.endswith(".png") and "sem" in member.name.lower() and (file := tar.extractfile(member)):
                masks.append(measure_mask(read_mask(io.BytesIO(file.read()).getvalue())))
    assert masks
    found, _ = mask_table([str(number) for number in range(len(masks))], masks, [1] * len(masks), [1] * len(masks), 80)
    assert found["undeclared"].notna().any()
    assert not found["same_size"].any()
