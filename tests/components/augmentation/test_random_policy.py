from __future__ import annotations

import pytest
import torch

from components.augmentation.random_policy import augment, refuse, scaled, to_float, unmixed
from components.datasets.policy import Policy
from components.errors import ConfigError

POLICIES = {
    "flips": Policy(horizontal_flip=0.5, vertical_flip=0.5),
    "crop": Policy(crop=0.25),
    "resized": Policy(random_resized_crop=0.3),
    "affine": Policy(rotate=30.0, shift=0.2),
    "colour": Policy(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2),
    "erasing": Policy(erasing=1.0),
    "trivial": Policy(auto="trivial"),
    "randaugment": Policy(auto="randaugment", rand_num_ops=3, rand_magnitude=15),
}


def images_of(channels: int = 3, num: int = 64, height: int = 8, width: int = 12) -> torch.Tensor:
    generator = torch.Generator().manual_seed(9)
    return torch.randint(0, 256, (num, height, width, channels), generator=generator, dtype=torch.uint8).permute(0, 3, 1, 2)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_keeps_shape_and_range_changes_images_and_is_a_function_of_the_seed(name: str, channels: int) -> None:
    images = images_of(channels)
    first, again, other = (augment(images, POLICIES[name], torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert first.shape == images.shape
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(to_float(first), to_float(images))
    assert to_float(first).isfinite().all()
    assert to_float(first).min() >= 0
    assert to_float(first).max() <= 1


def test_no_policy_changes_nothing_and_flips_and_crops_stay_bytes() -> None:
    images = images_of()
    assert torch.equal(augment(images, Policy(), torch.Generator()), images)
    assert augment(images, Policy(horizontal_flip=0.5, crop=0.25), torch.Generator()).dtype == torch.uint8


def test_certain_flips_flip() -> None:
    images = images_of()
    assert torch.equal(augment(images, Policy(horizontal_flip=1.0), torch.Generator()), images.flip(3))
    assert torch.equal(augment(images, Policy(vertical_flip=1.0), torch.Generator()), images.flip(2))


def test_a_crop_is_a_window_of_the_image_padded_by_reflection() -> None:
    images = images_of(num=200)
    cropped = augment(images, Policy(crop=0.25), torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(images.float(), (3, 3, 2, 2), mode="reflect").to(torch.uint8)
    windows = {(y, x): padded[:, :, y : y + 8, x : x + 12] for y in range(5) for x in range(7)}
    drawn = [[place for place, window in windows.items() if torch.equal(window[n], cropped[n])] for n in range(len(images))]
    assert all(drawn)
    assert len({places[0] for places in drawn}) > 25  # 35 there are


def test_affine_moves_by_the_same_angle_in_pixels_on_both_axes() -> None:
    images = torch.zeros(1, 1, 9, 17)
    images[0, 0, 4, 8 - 3 : 8 + 4] = 1  # a horizontal bar, seven pixels long
    turned = augment(images, Policy(rotate=180.0), torch.Generator().manual_seed(3))
    assert 5 < float(turned.sum()) < 9  # as long as before at whatever angle


def test_brightness_and_contrast_alone_work_on_one_channel() -> None:
    grey = torch.full((32, 1, 4, 4), 0.5)
    levels = augment(grey, Policy(brightness=0.5), torch.Generator().manual_seed(0)).mean(dim=(1, 2, 3))
    assert 0.25 <= float(levels.min()) < 0.35
    assert 0.65 < float(levels.max()) <= 0.75
    assert torch.allclose(augment(grey, Policy(contrast=0.5), torch.Generator()), grey, atol=1e-6)


def test_a_milder_policy() -> None:
    policy = Policy(horizontal_flip=0.5, rotate=20.0, random_resized_crop=0.2, auto="trivial", mixup=0.4)
    mild = scaled(policy, 0.25)
    assert (mild.horizontal_flip, mild.rotate, mild.random_resized_crop, mild.auto, mild.mixup) == (0.5, 5.0, 0.8, "none", 0.1)
    assert scaled(policy, 1.0) == policy
    mosaic = Policy(mosaic=1.0, copy_paste=0.5, scale=0.5, shear=8.0)
    assert scaled(mosaic, 0.5) == Policy(mosaic=0.5, copy_paste=0.25, scale=0.25, shear=4.0, rand_magnitude=4)


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_at_strength_zero_only_flips_are_left(policy: Policy) -> None:
    images = torch.randint(0, 256, (16, 1, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    seen = augment(images, scaled(policy, 0.0).model_copy(update={"horizontal_flip": 0.0, "vertical_flip": 0.0}), torch.Generator().manual_seed(0))
    torch.testing.assert_close(to_float(seen), to_float(images))


def test_what_mixes_images_can_be_left_out_and_what_targets_cannot_follow_is_refused() -> None:
    policy = Policy(horizontal_flip=0.5, rotate=20.0, mixup=0.4, cutmix=1.0, mosaic=0.5, copy_paste=0.5)
    assert unmixed(policy) == Policy(horizontal_flip=0.5, rotate=20.0)
    refuse(Policy(rotate=20.0), {"mixup": "no", "auto": "no"})
    with pytest.raises(ConfigError, match=r"^augment\.policy\.mixup: found 0\.4; a pixel has one class\. Leave it out$"):
        refuse(policy, {"auto": "no", "mixup": "a pixel has one class"})
