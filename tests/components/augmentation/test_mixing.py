from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.augmentation.mixing import Mosaic, draw_mosaic, mix, mosaic_images, mosaic_masks, paste_classes
from components.datasets.composed import scenes
from components.datasets.policy import Policy

IGNORE = 255


def images_of(num: int = 64, height: int = 8, width: int = 12) -> torch.Tensor:
    return torch.randint(0, 256, (num, 3, height, width), generator=torch.Generator().manual_seed(9), dtype=torch.uint8)


def drawn(num: int, height: int, width: int, probability: float = 1.0, seed: int = 0) -> Mosaic:
    mosaic = draw_mosaic(num, height, width, probability, torch.Generator().manual_seed(seed))
    assert mosaic is not None
    return mosaic


@pytest.mark.parametrize("policy", [Policy(mixup=0.5), Policy(cutmix=1.0), Policy(mixup=0.5, cutmix=1.0)])
def test_mixing_tells_the_share_of_each_image(policy: Policy) -> None:
    labels = torch.arange(64) % 2
    images = labels.view(-1, 1, 1, 1).expand(64, 1, 16, 16).float()  # all black or all white: the mean tells the share
    mixed, mixing = mix(images, policy, torch.Generator().manual_seed(1))
    assert mixing is not None
    expected = labels * mixing.kept + labels[mixing.partner] * (1 - mixing.kept)
    assert torch.allclose(mixed.mean(dim=(1, 2, 3)), expected, atol=1e-5)
    assert len(set(mixing.kept.tolist())) > 5


def test_no_mixing_without_being_asked() -> None:
    images = images_of()
    assert mix(images, Policy(), torch.Generator()) == (images, None)


def test_what_is_taken_by_cutmix_is_told_by_the_pixel() -> None:
    images = images_of()
    mixed, mixing = mix(images, Policy(cutmix=1.0), torch.Generator().manual_seed(1))
    assert mixing is not None
    assert mixing.taken is not None
    assert torch.equal(mixed, torch.where(mixing.taken, images[mixing.partner], images))
    assert 0.2 < float(mixing.taken.float().mean()) < 0.6


def test_a_mosaic_shows_windows_of_four_images_about_a_random_centre() -> None:
    num, height, width = 64, 24, 40
    shades = torch.arange(num, dtype=torch.uint8).view(-1, 1, 1, 1).expand(num, 1, height, width)  # an image is told by its shade
    mosaic = drawn(num, height, width)
    canvas = (mosaic_images(shades, mosaic) * 255).round().long()[:, 0]
    assert torch.equal(canvas, mosaic_masks(shades[:, 0].long(), mosaic))
    corners = canvas[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert torch.equal(corners, mosaic.members)
    assert torch.equal(corners[:, 0], torch.arange(num))
    assert len(set(corners[:, 3].tolist())) > 30
    for number in range(num):
        x, y = mosaic.high[number, 0].long().tolist()
        assert 10 <= x <= 30
        assert 6 <= y <= 18
        parts = (canvas[number, :y, :x], canvas[number, :y, x:], canvas[number, y:, :x], canvas[number, y:, x:])
        for part, member in zip(parts, corners[number], strict=True):
            assert (part == member).all()  # filled to its edges, and nothing of the neighbour bleeds in
    assert len(set(map(tuple, mosaic.high[:, 0].tolist()))) > 30
    assert torch.equal(mosaic.members, drawn(num, height, width).members)


def test_images_without_a_mosaic_stay_as_they_are() -> None:
    images = images_of()
    masks = torch.randint(0, 5, (64, 8, 12), generator=torch.Generator().manual_seed(1))
    assert draw_mosaic(64, 8, 12, 0.0, torch.Generator()) is None
    assert mosaic_images(images, None) is images
    mosaic = drawn(64, 8, 12, 0.5)
    still = (mosaic.high[:, 0] == torch.tensor([12.0, 8.0])).all(dim=1)
    assert 16 < int(still.sum()) < 48
    assert torch.allclose(mosaic_images(images, mosaic)[still], images[still] / 255, atol=1e-5)
    assert torch.equal(mosaic_masks(masks, mosaic)[still], masks[still])


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31), height=st.integers(4, 40), width=st.integers(4, 40))
def test_parts_are_windows_inside_of_their_images(seed: int, height: int, width: int) -> None:
    mosaic = drawn(8, height, width, 0.7, seed)
    size = torch.tensor([width, height], dtype=torch.float32)
    extent = (mosaic.high - mosaic.low) / mosaic.scale[..., None]
    assert (mosaic.source >= 0).all()
    assert (mosaic.source + extent <= size + 1e-3).all()
    assert ((mosaic.scale >= 0.5) & (mosaic.scale <= 1)).all()
    assert torch.equal((mosaic.high - mosaic.low).prod(dim=2).sum(dim=1), size.prod().expand(8))


def test_masks_lie_where_a_mosaic_shows_the_digits() -> None:
    found = list(scenes(16))
    images = torch.stack([torch.from_numpy(scene.pixels)[None] for scene in found])
    masks = torch.stack([torch.from_numpy(scene.mask.astype("int64")) for scene in found])
    mosaic = drawn(16, *images.shape[2:])
    seen, shown = mosaic_images(images, mosaic)[:, 0] * 255, mosaic_masks(masks, mosaic)
    original = float(images[:, 0][masks > 0].float().mean()), float(images[:, 0][masks == 0].float().mean())
    assert float(seen[shown > 0].mean()) == pytest.approx(original[0], rel=0.1)
    assert float(seen[shown == 0].mean()) == pytest.approx(original[1], rel=0.2)


def test_half_of_the_classes_of_another_image_are_copied_whole_with_their_masks() -> None:
    generator = torch.Generator().manual_seed(0)
    masks = torch.randint(0, 4, (32, 6, 6), generator=generator) + 4 * (torch.arange(32) % 2)[:, None, None]  # two kinds of images
    masks[:, 0, 0] = IGNORE
    images = masks[:, None].float() / 255
    seen, shown = paste_classes(images, masks, 1.0, IGNORE, torch.Generator().manual_seed(1))
    assert torch.equal((seen[:, 0] * 255).round().long(), shown)  # pixels and classes go together
    partner = torch.randperm(32, generator=_after_probabilities(32))
    for number in range(32):
        theirs, changed = masks[partner[number]], shown[number] != masks[number]
        copied = set(theirs[changed].tolist())
        assert IGNORE not in copied
        assert len(copied) <= 2  # of four
        if number % 2 != partner[number] % 2:
            assert len(copied) == 2
            for name in copied:
                assert (shown[number][theirs == name] == name).all()
    untouched, same = paste_classes(images, masks, 0.0, IGNORE, generator)
    assert untouched is images
    assert same is masks
    one_class = torch.full((4, 6, 6), 3)
    assert torch.equal(paste_classes(torch.zeros(4, 1, 6, 6), one_class, 1.0, IGNORE, generator)[1], one_class)


def _after_probabilities(num: int) -> torch.Generator:
    generator = torch.Generator().manual_seed(1)
    torch.rand(num, 1, generator=generator)
    return generator
