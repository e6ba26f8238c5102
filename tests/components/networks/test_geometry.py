from __future__ import annotations

import pytest
import torch

from components.datasets.composed import scenes
from components.datasets.policy import Policy
from components.networks.augmentation import augment_and_tell, to_float
from components.networks.detection.objects import Objects, moved
from components.networks.geometry import move_masks

POLICIES = {
    "flips": Policy(horizontal_flip=0.5, vertical_flip=0.5),
    "crop": Policy(crop=0.3),
    "flipped_crops": Policy(horizontal_flip=0.5, vertical_flip=0.5, crop=0.3),
    "shift": Policy(shift=0.2),
    "rotate": Policy(rotate=180.0),
    "zoom": Policy(random_resized_crop=0.3),
    "all": Policy(horizontal_flip=0.5, vertical_flip=0.5, crop=0.2, rotate=30.0, shift=0.1, random_resized_crop=0.5, brightness=0.2, erasing=0.3),
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
