from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.metrics import average_precision_score

from components.datasets.checks import label_errors
from components.datasets.checks.label_errors import report, suspects, thumbnail
from components.errors import DataError

CLASSES = [str(digit) for digit in range(10)]
Labels = npt.NDArray[np.int64]


def digits(size: int = 16) -> tuple[npt.NDArray[np.uint8], Labels]:
    found = load_digits()
    images = [Image.fromarray(np.rint(pixels * 255 / 16).astype(np.uint8)) for pixels in found.images]
    return np.stack([thumbnail(image, size, 1) for image in images]), found.target.astype(np.int64)


def flipped(labels: Labels, share: float = 0.02) -> tuple[Labels, npt.NDArray[np.bool_]]:
    rng = np.random.default_rng(0)
    wrong = np.zeros(len(labels), bool)
    wrong[rng.choice(len(labels), round(share * len(labels)), replace=False)] = True
    return np.where(wrong, (labels + rng.integers(1, 10, len(labels))) % 10, labels), wrong


def test_flipped_labels_of_digits_come_first() -> None:
    images, labels = digits()
    given, wrong = flipped(labels)
    found = suspects(images, given, CLASSES)
    assert sorted(found["index"]) == list(range(len(labels)))
    assert found["quality"].is_monotonic_increasing
    assert found["quality"].between(0, 1).all()
    at = found["index"].to_numpy()
    assert average_precision_score(wrong[at], -found["quality"]) >= 0.8
    assert [int(name) for name in found["label"]] == given[at].tolist()
    right = found["suggested"].astype(int).to_numpy() == labels[at]
    assert right[wrong[at]].mean() >= 0.9, "the true class is suggested"
    issues = found["issue"].to_numpy()
    assert wrong[at][issues].mean() >= 0.8
    assert issues[wrong[at]].mean() >= 0.5


def test_in_blocks_each_image_is_judged_once_and_alike_for_a_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = digits()
    images, labels = images[:800], labels[:800]
    given, wrong = flipped(labels)
    monkeypatch.setattr(label_errors, "BLOCK", 500)
    monkeypatch.setattr(label_errors, "_NUM_TRIED", 300)
    found = suspects(images, given, CLASSES, seed=1)
    assert sorted(found["index"]) == list(range(len(labels)))
    assert average_precision_score(wrong[found["index"]], -found["quality"]) >= 0.8
    pd.testing.assert_frame_equal(found, suspects(images, given, CLASSES, seed=1))


def test_copies_with_one_group_do_not_vouch_for_their_wrong_label() -> None:
    """A wrong label that was copied with its image is believed if a copy is learnt from, and found if it is not."""
    images, labels = digits()
    some = np.arange(300)
    given, wrong = flipped(labels[some], 0.05)
    copied, copied_labels = np.concatenate([images[some]] * 3), np.concatenate([given] * 3)
    wrong = np.concatenate([wrong] * 3)
    apart = suspects(copied, copied_labels, CLASSES)
    together = suspects(copied, copied_labels, CLASSES, groups=[f"image {index % 300}" for index in range(900)])
    precision = [average_precision_score(wrong[found["index"]], -found["quality"]) for found in (apart, together)]
    assert precision[1] >= 0.8
    assert precision[1] > precision[0]


def test_two_classes_in_colour() -> None:
    images, labels = digits()
    chosen = np.flatnonzero(labels < 2)
    given = labels[chosen].copy()
    given[[3, 50]] = 1 - given[[3, 50]]
    found = suspects(np.repeat(images[chosen], 3, axis=3), given, ["zero", "one"])
    assert set(found["index"][:2]) == {3, 50}


def test_a_class_with_fewer_images_than_folds_is_left_out() -> None:
    images, labels = digits()
    chosen = np.concatenate([np.flatnonzero(labels < 3)[:200], np.flatnonzero(labels == 7)[:4]])
    found = suspects(images[chosen], labels[chosen], CLASSES)
    assert sorted(found["index"]) == list(range(200))
    assert "7" not in set(found["suggested"])
    assert found.attrs["notes"] == ["labels '7' are not judged: 4 images or groups of it, at least 5 (one a fold) are needed"]


@pytest.mark.parametrize(("wanted", "num", "said"), [(1, 150, "1 class with 150 images"), (10, 49, "49 images are too few"), (10, 0, "0 images are")])
def test_where_there_is_nothing_to_say_it_is_said(wanted: int, num: int, said: str, tmp_path: Path) -> None:
    images, labels = digits()
    chosen = np.flatnonzero(labels < wanted)[:num]
    found = suspects(images[chosen], labels[chosen], CLASSES)
    assert found.empty
    assert found.attrs["notes"][0].startswith(said)
    report(found, [], lambda _: None, tmp_path)
    assert (tmp_path / "label_errors.csv").read_text() == "image_id,label,suggested,quality\n"
    assert not (tmp_path / "label_errors.png").exists()


def test_what_does_not_go_together_is_refused() -> None:
    images, labels = np.zeros((60, 16, 16, 1), np.uint8), np.arange(60) % 2
    good: dict[str, Any] = {"thumbnails": images, "labels": labels, "classes": ["a", "b"]}
    odd: dict[str, dict[str, Any]] = {
        r"float64 \(60, 16, 16, 1\); expected uint8": {"thumbnails": images.astype(float)},
        r"S at least 8": {"thumbnails": images[:, :4, :4]},
        "59 labels for 60 thumbnails": {"labels": labels[:59]},
        "60 labels and 3 groups": {"groups": ["a", "b", "c"]},
        "labels from 0 to 1 for 1 classes": {"classes": ["a"]},
        "1 folds": {"folds": 1},
    }
    for wrong, arguments in odd.items():
        with pytest.raises(DataError, match=wrong):
            suspects(**{**good, **arguments})


def test_images_that_are_all_alike_are_no_error() -> None:
    found = suspects(np.full((60, 8, 8, 3), 7, np.uint8), np.arange(60) % 2, ["a", "b"])
    assert found["quality"].between(0, 1).all()
    assert np.isfinite(found["quality"]).all()


def test_the_report_lists_issues_and_shows_the_worst(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "index": range(40),
            "label": "cat",
            "suggested": "dog, small",
            "quality": np.linspace(0, 1, 40),
            "issue": [index < 30 for index in range(40)],
        }
    )
    asked: list[str] = []

    def read(image_id: str) -> npt.NDArray[np.uint8] | None:
        asked.append(image_id)
        return None if len(asked) == 2 else np.full((20, 30, 3), 123, np.uint8)

    report(table, [f"photo {index}.jpg" for index in range(40)], read, tmp_path / "new")
    written = pd.read_csv(tmp_path / "new/label_errors.csv")
    assert written["image_id"].tolist() == [f"photo {index}.jpg" for index in range(30)]
    assert written.loc[1].to_dict() == {"image_id": "photo 1.jpg", "label": "cat", "suggested": "dog, small", "quality": 0.025641}
    assert asked == [f"photo {index}.jpg" for index in range(24)]
    sheet = np.asarray(Image.open(tmp_path / "new/label_errors.png"))
    assert 23 * 128 * 85 <= (sheet == 123).all(axis=2).sum() < 24 * 128 * 85


@pytest.mark.parametrize(("mode", "size"), [("RGBA", (300, 20)), ("P", (5, 5)), ("L", (64, 48)), ("1", (40, 40))])
def test_a_thumbnail_of_any_image(mode: str, size: tuple[int, int]) -> None:
    assert thumbnail(Image.new(mode, size)).shape == (32, 32, 3)
    assert thumbnail(Image.new(mode, size), 16, 1).shape == (16, 16, 1)
