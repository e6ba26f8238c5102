from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks import drift as tries
from components.datasets.checks.drift import DriftConfig, drift
from components.datasets.checks.roles import Version

QUICK = DriftConfig(num_permutations=299, max_images=450)


@pytest.fixture(scope="module")
def digits() -> tuple[Version, Version]:
    """The digits, and the same with every pixel's value times 0.8, measured again."""
    images, labels = tries.digits()
    dark = tries.version_of(tries.darkened(images), labels)
    return tries.version_of(images, labels), replace(dark, sha256=dark.sha256 + "d")


def boxes(names: list[list[str]], start: int = 0) -> Version:
    """A detection dataset of nothing but labels."""
    offsets = np.concatenate([[0], np.cumsum([len(each) for each in names])])
    labels = np.array([name for each in names for name in each], dtype=object)
    sha256 = np.array([f"{start + index}" for index in range(len(names))], dtype=object)
    return Version(sha256, offsets, labels, pd.DataFrame(index=range(len(names))))


def test_a_random_half_is_not_flagged_against_the_other(digits: tuple[Version, Version]) -> None:
    assert tries.flagged(tries.unchanged(digits[0], np.random.default_rng(1)), 20, QUICK) <= 1


def test_the_p_values_alone_keep_the_level(digits: tuple[Version, Version]) -> None:
    bare = QUICK.model_copy(update={"min_class_shift": 0.0, "min_column_shift": 0.0, "min_embedding_shift": 0.0, "level": 0.2})
    assert tries.flagged(tries.unchanged(digits[0], np.random.default_rng(2)), 15, bare) <= 6  # more: twice in a hundred at 20%


def test_brightness_lowered_by_a_fifth_is_flagged(digits: tuple[Version, Version]) -> None:
    assert tries.flagged(tries.darker(*digits, np.random.default_rng(3)), 5, QUICK) == 5


def test_a_class_share_moved_by_ten_points_is_flagged(digits: tuple[Version, Version]) -> None:
    assert tries.flagged(tries.moved_share(digits[0], np.random.default_rng(4)), 10, QUICK) >= 9


def test_new_images_of_the_same_kind_are_not_flagged(digits: tuple[Version, Version]) -> None:
    assert tries.flagged(tries.grown(digits[0], np.random.default_rng(5), 0.05), 5, QUICK) == 0


def test_a_few_dark_images_are_flagged_among_the_added_alone(digits: tuple[Version, Version]) -> None:
    assert tries.flagged(tries.grown_dark(*digits, np.random.default_rng(6), 0.05), 3, QUICK) == 3


def test_what_changed_is_told_in_words(digits: tuple[Version, Version]) -> None:
    version, dark = digits
    half = len(version) // 2
    findings = drift(tries.take(version, np.arange(half)), tries.take(dark, np.arange(half, len(version))), QUICK)
    by_name = {finding.name: finding for finding in findings}
    assert list(by_name) == [*(f"class {digit}" for digit in range(10)), "brightness", "contrast", "sharpness", "height", "width", "embeddings"]
    assert by_name["brightness"].flagged
    before, after = version.measures["brightness"][:half].median(), dark.measures["brightness"][half:].median()
    assert by_name["brightness"].change == f"brightness {before:.3g} → {after:.3g}"
    assert after / before == pytest.approx(0.8, abs=0.05)
    assert not by_name["height"].flagged
    assert by_name["height"].p_value == 1.0


def test_colours_swapped_are_seen_by_the_embeddings() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (400, 4, 4, 3), dtype=np.uint8)
    pixels[..., 0] //= 2  # little red
    plain = [Image.fromarray(each).resize((32, 32), Image.Resampling.BICUBIC) for each in pixels]
    swapped = [Image.fromarray(np.asarray(image)[..., ::-1].copy()) for image in plain[200:]]
    labels = np.array(["a"] * 200, dtype=object)
    old, new = tries.version_of(plain[:200], labels), tries.version_of(swapped, labels)
    found = {finding.name: finding for finding in drift(old, replace(new, sha256=new.sha256 + "s"), QUICK)}
    assert found["embeddings"].flagged
    assert found["embeddings"].effect > found["class a"].effect == 0


def test_the_same_version_is_the_same(digits: tuple[Version, Version]) -> None:
    findings = drift(digits[0], digits[0], QUICK)
    assert {finding.scope for finding in findings} == {"version"}  # nothing was added
    assert {finding.p_value for finding in findings} == {1.0}
    assert max(finding.effect for finding in findings) == pytest.approx(0, abs=1e-9)


def test_relabelled_images_change_the_classes() -> None:
    before = boxes([["cat"] if index % 2 else ["dog"] for index in range(400)])
    after = boxes([["cat"] if index % 2 or index < 100 else ["dog"] for index in range(400)])
    found = {finding.name: finding for finding in drift(before, after, QUICK) if finding.scope == "version"}
    assert found["class cat"].flagged
    assert found["class cat"].change == "class cat 50% → 62.5%"


def test_boxes_are_counted_and_images_are_shuffled() -> None:
    """One crowded image is one image, not a hundred independent boxes."""
    calm = [["car"], ["person"]] * 100
    crowd = [["person"] * 60]
    found = {finding.name: finding for finding in drift(boxes(calm), boxes(calm + crowd, start=1000), QUICK)}
    assert found["class person"].change == "class person 50% → 61.5%"
    assert not found["class person"].flagged
    many = {finding.name: finding for finding in drift(boxes(calm), boxes([["car"], ["person", "person"]] * 100, start=1000), QUICK)}
    assert many["class person"].flagged


def test_a_class_that_comes_and_one_that_goes_are_flagged() -> None:
    found = {finding.name: finding for finding in drift(boxes([["a"], ["b"]] * 100), boxes([["a"], ["c"]] * 100, start=1000), QUICK)}
    assert [name for name, finding in found.items() if finding.flagged] == ["class b", "class c"]
    assert found["class c"].change == "class c 0% → 50%"


def test_another_form_of_a_column_with_the_same_middle_is_flagged() -> None:
    rng = np.random.default_rng(0)

    def of(values: np.ndarray, start: int) -> Version:
        names = np.array([f"{start + index}" for index in range(len(values))], dtype=object)
        return Version(names, np.zeros(len(values) + 1, np.int64), np.empty(0, object), pd.DataFrame({"width": values}))

    old, new = np.full(300, 640), rng.choice([320, 640, 960], 300, p=[0.3, 0.6, 0.1])
    (finding,) = drift(of(old, 0), of(new, 1000), QUICK)
    assert finding.flagged
    share = (new <= 320).mean()
    assert finding.change == f"width at most 320: 0% → {100 * share:.3g}% of the images"


def test_what_was_not_measured_is_left_out(digits: tuple[Version, Version]) -> None:
    version = digits[0]
    half = len(version) // 2
    old, new = tries.take(version, np.arange(half)), tries.take(version, np.arange(half, len(version)))
    damaged = new.measures.astype(float)
    damaged.iloc[:5] = np.nan
    no_sharpness = old.measures.assign(sharpness=np.nan)
    findings = drift(replace(old, measures=no_sharpness, embeddings=None), replace(new, measures=damaged), QUICK)
    names = [finding.name for finding in findings if not finding.name.startswith("class")]
    assert names == ["brightness", "contrast", "height", "width"]
    assert not any(finding.flagged for finding in findings)


def test_too_few_images_are_not_compared() -> None:
    assert drift(boxes([["a"]] * 19), boxes([["b"]] * 500, start=1000), QUICK) == []


def test_equal_seeds_give_equal_findings(digits: tuple[Version, Version]) -> None:
    config = QUICK.model_copy(update={"max_images": 100, "num_permutations": 99})
    old, new = tries.take(digits[0], np.arange(800)), tries.take(digits[0], np.arange(800, 1700))
    assert drift(old, new, config, seed=7) == drift(old, new, config, seed=7)
    assert drift(old, new, config, seed=7) != drift(old, new, config, seed=8)
