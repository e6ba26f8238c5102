from __future__ import annotations

import numpy as np
import pandas as pd

from components.exporters._calibration import choose


def rows(**counts: int) -> pd.DataFrame:
    return pd.DataFrame({"label": [name for name, count in counts.items() for _ in range(count)]})


def test_classes_take_turns() -> None:
    training = rows(cat=1000, dog=60, owl=20)
    chosen, refusals = choose(training, ["cat", "dog", "owl"], 150)
    assert not refusals
    assert training["label"].iloc[chosen].value_counts().to_dict() == {"cat": 70, "dog": 60, "owl": 20}
    assert np.array_equal(chosen, np.unique(chosen))
    assert np.array_equal(chosen, choose(training, ["cat", "dog", "owl"], 150)[0])


def test_every_class_gets_its_least_even_if_more_than_wanted_are_needed() -> None:
    names = [f"class {index}" for index in range(40)]
    training = pd.DataFrame({"label": names * 10})
    chosen, refusals = choose(training, names, 128)
    assert not refusals
    assert (training["label"].iloc[chosen].value_counts() == 8).all()


def test_fewer_than_128_images_are_refused() -> None:
    _, refusals = choose(rows(cat=60, dog=67), ["cat", "dog"], 512)
    assert [(refusal.budget, refusal.found, refusal.limit) for refusal in refusals] == [("calibration_images", 127, 128)]
    assert not choose(rows(cat=60, dog=68), ["cat", "dog"], 512)[1]


def test_fewer_than_8_images_of_a_class_are_refused() -> None:
    _, refusals = choose(rows(cat=300, dog=7), ["cat", "dog", "owl"], 512)
    assert [(refusal.budget, refusal.found, refusal.limit) for refusal in refusals] == [("calibration_class_images", 0, 8)]
    assert "'owl'" in refusals[0].text
    assert choose(rows(cat=300, dog=7), ["cat", "dog"], 512)[1][0].found == 7
    assert not choose(rows(cat=300, dog=8), ["cat", "dog"], 512)[1]


def test_images_of_boxes_are_chosen_so_that_rare_classes_take_part() -> None:
    labels = [["cat"]] * 400 + [["cat", "dog"]] * 9 + [[]] * 20
    training = pd.DataFrame({"image_id": [str(index) for index in range(len(labels))], "box_labels": labels})
    chosen, refusals = choose(training, ["cat", "dog"], 128)
    assert refusals == []
    assert set(range(400, 409)) <= set(chosen.tolist())
    assert {refusal.budget for refusal in choose(training[:405], ["cat", "dog"], 128)[1]} == {"calibration_class_images"}
