"""Pictures of how a model errs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.evaluation.pictures import _short, draw_images


@pytest.mark.parametrize(("number", "text"), [(0, "0"), (9_999, "9999"), (24_405, "24k"), (999_499, "999k"), (999_500, "1.0M"), (43_210_000, "43M")])
def test_a_number_has_a_place_in_its_cell(number: int, text: str) -> None:
    assert _short(number) == text


def test_a_sheet_says_above_what_its_pictures_show(tmp_path: Path) -> None:
    images = [np.full((20, 60, 3), 90, np.uint8)] * 4
    for title in ("", "left as labelled"):
        draw_images(images, ["one"] * 4, tmp_path / f"sheet{len(title)}.png", empty="none", title=title)
    plain, titled = (np.asarray(Image.open(tmp_path / f"sheet{length}.png").convert("L")) for length in (0, 16))
    assert (plain[:8] == 255).all()
    assert (titled[:16] < 200).any()
