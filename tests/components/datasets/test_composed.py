from __future__ import annotations

import itertools

import numpy as np

from components.datasets.composed import scenes


def test_boxes_enclose_what_the_mask_shows_of_their_digits_exactly() -> None:
    found = list(scenes(60))
    hidden = 0
    for scene in found:
        assert scene.pixels.shape == scene.mask.shape == (64, 64)
        assert 1 <= len(scene.labels) <= 4
        outside = scene.mask > 0
        for (x0, y0, x1, y1), label in zip(scene.boxes_xyxy.astype(int), scene.labels, strict=True):
            inside = scene.mask[y0:y1, x0:x1] == int(label) + 1
            edges = [inside[0].any(), inside[-1].any(), inside[:, 0].any(), inside[:, -1].any()]
            hidden += not all(edges)
            assert inside.any()
            outside[y0:y1, x0:x1] = False
        assert not outside.any()
        assert (scene.pixels[scene.mask > 0] >= 80).all()
    assert hidden < 0.1 * sum(len(scene.labels) for scene in found)  # only a digit under another one does not reach its box's edges


def test_scenes_differ_and_are_a_function_of_the_seed() -> None:
    first, again, other = ([scene.pixels for scene in scenes(8, seed=seed)] for seed in (0, 0, 1))
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert not any(np.array_equal(one, two) for one, two in itertools.product(first, other))
    assert {scene.cluttered for scene in scenes(8)} == {True, False}
    assert {label for scene in scenes(60) for label in scene.labels} == set("0123456789")
