from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageEnhance, ImageOps
from sklearn.datasets import load_digits

from components.datasets.checks.duplicates import FINGERPRINT, across_splits, draw_pairs, fingerprint, near_duplicates
from components.errors import ConfigError, DataError


def _picture(seed: int, size: tuple[int, int] = (96, 64), mode: str = "RGB") -> Image.Image:
    """Smooth random colours, coarse to fine, as photographs have them."""
    generator = np.random.default_rng(seed)
    total = np.zeros((size[1], size[0], 3))
    for cells, weight in ((3, 1.0), (6, 0.6), (12, 0.4), (24, 0.2)):
        noise = Image.fromarray(generator.integers(0, 256, (cells, cells, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
        total += weight * np.asarray(noise, dtype=np.float64)
    return Image.fromarray((total / 2.2).astype(np.uint8)).convert(mode)


def _jpeg(image: Image.Image, quality: int = 70) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue())).convert(image.mode)


def _scaled(image: Image.Image, factor: float) -> Image.Image:
    return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC)


def _pairs(images: list[Image.Image], **options: float) -> pd.DataFrame:
    return near_duplicates([str(number) for number in range(len(images))], [fingerprint(image) for image in images], **options)  # type: ignore[arg-type]


COPIES: dict[str, tuple[Callable[[Image.Image], Image.Image], str]] = {
    "same": (lambda image: image.copy(), "same pixels"),
    "re-encoded": (_jpeg, "re-encoded"),
    "larger": (lambda image: _scaled(image, 1.1), "resized"),
    "smaller": (lambda image: _jpeg(_scaled(image, 0.9)), "resized"),
    "much smaller": (lambda image: _scaled(image, 0.4), "resized"),
    "mirrored": (lambda image: _jpeg(ImageOps.mirror(image)), "flipped"),
    "upside down": (lambda image: _jpeg(ImageOps.flip(image)), "flipped upside down"),
    "turned": (lambda image: _jpeg(image.rotate(180)), "turned by 180 degrees"),
    "darker": (lambda image: _jpeg(ImageEnhance.Brightness(image).enhance(0.8)), "re-encoded"),
    "cropped": (lambda image: _jpeg(image.crop((1, 1, image.width - 1, image.height - 1))), "changed"),
}


@pytest.mark.parametrize(("copy", "how"), COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_copies_are_found_and_nothing_else(copy: Callable[[Image.Image], Image.Image], how: str, mode: str) -> None:
    images = [_picture(seed, mode=mode) for seed in range(40)]
    pairs = _pairs([*images, *(copy(image) for image in images[:20])])
    assert list(zip(pairs["first"], pairs["second"], strict=True)) == [(str(number), str(40 + number)) for number in range(20)]
    if how == "changed":
        assert pairs["how"].isin(["changed", "resized"]).all()
    else:
        assert (pairs["how"] == how).mean() >= 0.9


def test_digits_are_no_copies_of_each_other_but_of_themselves() -> None:
    digits = [Image.fromarray((pixels * 255 / 16).astype(np.uint8)) for pixels in load_digits().images]
    assert _pairs(digits).empty
    copies = _pairs([*digits, *(_jpeg(digit, 95) for digit in digits[:100]), digits[7]])
    assert set(copies["second"]) >= {str(len(digits) + number) for number in range(101)}
    assert copies["how"].iloc[-1] == "same pixels"


def test_images_of_nearly_one_colour_are_copies_only_if_their_pixels_are_the_same() -> None:
    generator = np.random.default_rng(0)
    blank = [Image.new("RGB", (64, 64), "white")] * 3
    grainy = [Image.fromarray(generator.integers(118, 122, (64, 64, 3), dtype=np.uint8)) for _ in range(30)]
    pairs = _pairs([*blank, *grainy])
    assert pairs[["first", "second", "how"]].to_numpy().tolist() == [["0", "1", "same pixels"], ["0", "2", "same pixels"]]


def test_the_same_shapes_in_other_colours_are_another_picture() -> None:
    picture = _picture(0)
    red, green, blue = picture.split()
    hue, saturation, value = picture.convert("HSV").split()
    other = Image.merge("HSV", (hue.point(lambda level: (level + 128) % 256), saturation.point(lambda level: 255), value)).convert("RGB")
    assert _pairs([picture, other], max_colour_difference=16, min_correlation=0).empty
    assert len(_pairs([picture, Image.merge("RGB", (red, green, blue.point(lambda level: min(255, level + 10))))])) == 1


def test_many_identical_images_make_one_pair_each() -> None:
    content = fingerprint(_picture(0))
    pairs = near_duplicates([str(number) for number in range(50_000)], [content] * 50_000)
    assert len(pairs) == 49_999
    assert set(pairs["first"]) == {"0"}


def test_pairs_of_the_old_stay_when_images_are_appended() -> None:
    film = [_jpeg(_picture(seed // 40), 40 + seed % 40) for seed in range(120)]  # each frame has more look-alikes than are listed
    old, new = _pairs(film[:70]), _pairs(film)
    pd.testing.assert_frame_equal(new[new["second"].astype(int) < 70].reset_index(drop=True), old)
    assert new.groupby("second").size().max() <= 200
    assert set(new["second"]) == {str(number) for number in range(120) if number % 40}


def test_an_image_that_does_not_decode_is_in_no_pair() -> None:
    content = fingerprint(_picture(0))
    pairs = near_duplicates(["a", "b", "c"], [content, None, content])
    assert pairs[["first", "second"]].to_numpy().tolist() == [["a", "c"]]
    assert near_duplicates(["a"], [None]).empty
    assert list(near_duplicates([], []).columns) == ["first", "second", "distance", "correlation", "how"]


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (2000, 5), (8, 8)])
def test_any_size_has_a_fingerprint_the_same_from_pixels_as_from_an_image(size: tuple[int, int]) -> None:
    image = _picture(0, size)
    assert len(fingerprint(image)) == FINGERPRINT.itemsize == 396
    assert fingerprint(np.asarray(image)) == fingerprint(image)
    gray = image.convert("L")
    assert fingerprint(np.asarray(gray)[..., None]) == fingerprint(gray)
    assert np.frombuffer(fingerprint(image), FINGERPRINT)["size_hw"].tolist() == [[size[1], size[0]]]


def test_wrong_input_is_named() -> None:
    with pytest.raises(ConfigError, match="is 14 bits; expected 0 to 13"):
        near_duplicates([], [], radius=14)
    with pytest.raises(DataError, match="another length than 396 bytes"):
        near_duplicates(["a"], [b"short"])


def test_pairs_across_splits_are_told_apart_and_drawn(tmp_path: Path) -> None:
    images = {str(number): _picture(number % 3) for number in range(6)}
    pairs = _pairs(list(images.values()))
    splits = pd.Series(["train", "train", "train", "train", "test", None], index=list(images), dtype=object)
    across = across_splits(pairs, splits)
    assert across[["first", "second", "first_split", "second_split"]].to_numpy().tolist() == [["1", "4", "train", "test"]]
    draw_pairs(across, lambda name: np.asarray(images[name]), tmp_path / "pairs.png")
    drawn = np.asarray(Image.open(tmp_path / "pairs.png"))
    assert drawn.shape[1] == 2 * 136 + 8
    assert (drawn[8:136, 8:136] == drawn[8:136, 144:272]).all()
    draw_pairs(pairs, lambda name: None, tmp_path / "unreadable.png")
