from __future__ import annotations

import numpy as np
import pytest

from components.datasets.objects import Objects, with_background
from components.errors import DataError


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
