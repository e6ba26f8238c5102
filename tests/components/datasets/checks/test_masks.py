from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.datasets.checks.masks import measure_mask

MASKS = st.tuples(st.integers(1, 5), st.integers(1, 5), st.lists(st.sampled_from([0, 1, 2, 3, 9, 254, 255]), min_size=25, max_size=25)).map(
    lambda given: np.array(given[2][: given[0] * given[1]], dtype=np.uint8).reshape(given[0], given[1])
)


@settings(deadline=None, max_examples=50)
@given(MASKS, st.sampled_from([1, 3, 255]))
def test_a_mask_is_measured_as_pixel_by_pixel(mask: np.ndarray, num_classes: int) -> None:
    found, values = measure_mask(mask, num_classes), set(mask.ravel().tolist())
    assert (found.height, found.width) == mask.shape
    assert found.classes == sorted(value for value in values if value < num_classes)
    assert found.undeclared == sorted(value for value in values if value >= num_classes and value != 255)


@pytest.mark.shared_data
def test_coco_category_ids_are_not_class_indices(shared_data: Path) -> None:
    import tarfile

    from components.datasets.annotations import read_mask

    with tarfile.open(shared_data / "coco128.tar") as tar:
        files = [tar.extractfile(member) for member in tar if member.name.endswith(".png") and "sem" in member.name.lower()]
        found = [measure_mask(read_mask(file.read()), 80) for file in files if file]
    assert any(mask.undeclared for mask in found)
