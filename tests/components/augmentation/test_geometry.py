from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.augmentation.geometry import move_masks
from components.augmentation.random_policy import augment_and_tell, to_float
from components.datasets.composed import scenes
from components.datasets.policy import Policy
from components.networks.detection.objects import Objects, moved

POLICIES = {
    "flips": Policy(horizontal_flip=0.5, vertical_flip=0.5),
    "crop": Policy(crop=0.3),
    "flipped_crops": Policy(horizontal_flip=0.5, vertical_flip=0.5, crop=0.3),
    "shift": Policy(shift=0.2),
    "rotate": Policy(rotate=180.0),
    "zoom": Policy(random_resized_crop=0.3),
    "scale": Policy(scale=0.5),
    "shear": Policy(shear=30.0),
    "all": Policy(
        horizontal_flip=0.5,
        vertical_flip=0.5,
        crop=0.2,
        rotate=30.0,
        shift=0.1,
        scale=0.3,
        shear=10.0,
        random_resized_crop=0.5,
        brightness=0.2,
        erasing=0.3,
    ),
}
IGNORE = 255


def _batch() -> tuple[torch.Tensor, Objects, torch.Tensor]:
    """Bright rectangles on black: each is an object, and its number plus one the value of its pixels in the mask."""
    draws = torch.Generator().manual_seed(3)
    num, height, width = 48, 40, 56
    images, masks = torch.zeros(num, 1, height, width, dtype=torch.uint8), torch.zeros(num, height, width, dtype=torch.int64)
    boxes = torch.zeros(num, 2, 4)
    for number in range(num):
        for place in range(2):  # in the left and the right half: they never meet
            x0 = int(torch.randint(0, 12, (), generator=draws)) + 28 * place
            y0 = int(torch.randint(0, 24, (), generator=draws))
            w, h = (int(torch.randint(5, 16, (), generator=draws)) for _ in range(2))
            boxes[number, place] = torch.tensor([x0, y0, x0 + w, y0 + h])
            images[number, 0, y0 : y0 + h, x0 : x0 + w] = 255
            masks[number, y0 : y0 + h, x0 : x0 + w] = place + 1
    labels = torch.tensor([[0, 1]]).expand(num, 2)
    return images, Objects(boxes, labels, torch.ones(num, 2, dtype=torch.bool)), masks


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("seed", range(5))
def test_moved_boxes_enclose_the_moved_masks_and_those_that_left_are_dropped(name: str, seed: int) -> None:
    images, objects, masks = _batch()
    _, motion = augment_and_tell(images, POLICIES[name], torch.Generator().manual_seed(seed))
    found, shown = moved(objects, motion, *images.shape[2:]), move_masks(masks, motion, IGNORE)
    kept = 0
    for number in range(len(images)):
        for place in range(2):
            rows, columns = (shown[number] == place + 1).nonzero().T
            x0, y0, x1, y1 = found.boxes_xyxy[number, place].tolist()
            if not found.present[number, place]:
                continue
            kept += 1
            if len(rows):  # pixels' centres: nearest sampling shows a pixel whose centre lies in the moved object
                assert columns.min() + 0.5 >= x0 - 1e-3
                assert columns.max() + 0.5 <= x1 + 1e-3
                assert rows.min() + 0.5 >= y0 - 1e-3
                assert rows.max() + 0.5 <= y1 + 1e-3
            if name in ("flips", "crop", "flipped_crops"):  # no resampling: exact
                assert (x0, y0, x1, y1) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert kept > len(images) * 0.5
    if name == "flips":
        assert found.present.all()


@pytest.mark.parametrize("name", [name for name in POLICIES if name != "all"])
def test_masks_lie_where_the_images_show_the_objects_and_nothing_unlabelled_appears(name: str) -> None:
    images, _, masks = _batch()
    seen, motion = augment_and_tell(images, POLICIES[name], torch.Generator().manual_seed(1))
    bright, shown = to_float(seen)[:, 0], move_masks(masks, motion, IGNORE)
    assert (bright[(shown == 0) | (shown == IGNORE)] < 0.76).all()  # bilinear edges apart, an object is where its mask is
    assert (bright[(shown == 1) | (shown == 2)] > 0.24).all()
    assert ((bright > 0.5) != ((shown == 1) | (shown == 2))).float().mean() < 0.02


def test_objects_of_which_little_is_left_are_dropped() -> None:
    boxes = torch.tensor([[[-8.0, 0, 2, 10], [-7, 0, 3, 10], [0, 0, 1, 10], [30, 30, 41, 41]]])
    objects = Objects(boxes, torch.zeros(1, 4, dtype=torch.int64), torch.ones(1, 4, dtype=torch.bool))
    images = torch.zeros(1, 1, 40, 40, dtype=torch.uint8)
    _, still = augment_and_tell(images, Policy(), torch.Generator())
    found = moved(objects, still, 40, 40)
    assert found.present.tolist() == [[True, True, True, True]]
    objects = objects._replace(boxes_xyxy=torch.tensor([[[-8.1, 0, 1.9, 10], [-9.0, 0, 3, 10], [-0.5, 0, 1, 10], [30, 38.5, 41, 41]]]))
    assert moved(objects, still, 40, 40).present.tolist() == [[False, True, False, False]]


def test_scenes_of_digits_stay_labelled_through_every_motion() -> None:
    composed = list(scenes(16))
    images = torch.stack([torch.from_numpy(scene.pixels)[None] for scene in composed])
    masks = torch.stack([torch.from_numpy(scene.mask.astype("int64")) for scene in composed])
    seen, motion = augment_and_tell(images, POLICIES["flipped_crops"], torch.Generator().manual_seed(0))
    shown = move_masks(masks, motion, IGNORE)
    assert (seen[:, 0][(shown > 0) & (shown != IGNORE)] >= 80).all()
    assert (seen[:, 0][shown == IGNORE] == 0).all()


def _shapes(seed: int, height: int, width: int) -> tuple[torch.Tensor, Objects]:
    """Objects of any form (unions of ellipses and bars, holes, parts that hide others) as one mask an image, each with its tight box."""
    draws = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] + 0.5
    masks, boxes = np.zeros((4, height, width), np.int64), np.zeros((4, 3, 4), np.float32)
    for image in range(4):
        for place in range(3):
            shape = np.zeros((height, width), bool)
            for _ in range(draws.integers(1, 4)):
                cx, cy, rx, ry = draws.uniform((0, 0, 1, 1), (width, height, width / 3, height / 3))
                far = np.maximum(abs(x - cx) / rx, abs(y - cy) / ry) if draws.random() < 0.5 else ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2
                shape |= (far <= 1) & (far >= draws.uniform(0, 0.6))
            rows, columns = np.nonzero(shape)
            if len(rows):
                masks[image][shape] = place + 1
                boxes[image, place] = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    present = torch.from_numpy(boxes).sum(dim=2) > 0
    return torch.from_numpy(masks), Objects(torch.from_numpy(boxes), torch.arange(3).expand(4, 3), present)


_POLICIES = st.builds(
    Policy,
    horizontal_flip=st.sampled_from([0.0, 0.5]),
    vertical_flip=st.sampled_from([0.0, 0.5]),
    crop=st.floats(0, 0.9),
    random_resized_crop=st.floats(0.05, 1),
    rotate=st.floats(0, 180),
    shift=st.floats(0, 1),
    scale=st.floats(0, 0.9),
    shear=st.floats(0, 44),
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(policy=_POLICIES, seed=st.integers(0, 2**31), height=st.integers(8, 48), width=st.integers(8, 48))
def test_boxes_of_any_shape_enclose_it_after_any_motion_or_are_dropped_by_the_rule(policy: Policy, seed: int, height: int, width: int) -> None:
    masks, objects = _shapes(seed, height, width)
    _, motion = augment_and_tell(torch.zeros(4, 1, height, width, dtype=torch.uint8), policy, torch.Generator().manual_seed(seed))
    found, shown = moved(objects, motion, height, width), move_masks(masks, motion, IGNORE)
    assert not (found.present & ~objects.present).any()
    boxes = found.boxes_xyxy[found.present]
    assert ((boxes >= 0) & (boxes <= torch.tensor([width, height] * 2))).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    for image, place in found.present.nonzero().tolist():
        rows, columns = ((shown[image] == place + 1).nonzero() + 0.5).T
        if len(rows):
            x0, y0, x1, y1 = found.boxes_xyxy[image, place].tolist()
            assert x0 - 1e-3 <= columns.min() <= columns.max() <= x1 + 1e-3
            assert y0 - 1e-3 <= rows.min() <= rows.max() <= y1 + 1e-3


def test_scale_and_shear_change_things_as_they_say() -> None:
    image = torch.zeros(200, 1, 40, 60)
    image[:, :, 14:26, 22:38] = 1  # 16 by 12 pixels about the middle
    sizes = augment_and_tell(image, Policy(scale=0.5), torch.Generator().manual_seed(0))[0].sum(dim=(1, 2, 3)) / (16 * 12)
    assert 0.2 < float(sizes.min()) < 0.35
    assert 1.9 < float(sizes.max()) < 2.3
    slanted, motion = augment_and_tell(image, Policy(shear=30.0), torch.Generator().manual_seed(0))
    objects = Objects(
        torch.tensor([[[22.0, 14, 38, 26]]]).expand(200, 1, 4), torch.zeros(200, 1, dtype=torch.int64), torch.ones(200, 1, dtype=torch.bool)
    )
    widths = moved(objects, motion, 40, 60).boxes_xyxy[:, 0, [2, 3]] - moved(objects, motion, 40, 60).boxes_xyxy[:, 0, [0, 1]]
    assert (widths.amax(dim=0) > torch.tensor([20.0, 18.0])).all()
    area = torch.linalg.det(motion.theta[:, :, :2]).reciprocal() * 16 * 12  # type: ignore[index]
    assert torch.allclose(slanted.sum(dim=(1, 2, 3)), area, rtol=0.1)
