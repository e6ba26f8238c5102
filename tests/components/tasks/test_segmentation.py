from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from components.datasets.composed import scenes
from components.datasets.policy import Policy
from components.errors import ConfigError
from components.evaluation.metrics.segmentation import plugin as evaluator_of
from components.networks.segmentation.models import build
from components.records import Preprocess
from components.tasks.segmentation import plugin

CLASSES = ["background", *"0123456789"]
SETTINGS: dict[str, Any] = {"label_smoothing": 0.0, "class_weights": "none", "loss": {}}
PREPROCESS = Preprocess(size_hw=(64, 64), channels=1, resize="stretch")


def test_a_unet_learns_eight_images_by_heart() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in one order: the same network on any number of cores
    found = list(scenes(8))
    images = torch.stack([torch.from_numpy(scene.pixels)[None] for scene in found]).float() / 255
    masks = [scene.mask for scene in found]
    torch.manual_seed(0)
    model = build("unet", len(CLASSES), 1, (64, 64), {"width": 8, "depth": 3}).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=300)  # ends at rest, however many threads add up
    options = plugin.loss_options({**SETTINGS, "class_weights": "balanced", "loss": {"cross_entropy": 1.0, "dice": 1.0}}, masks, CLASSES)
    targets = plugin.collate(masks, torch.device("cpu"))
    for _ in range(300):
        optimizer.zero_grad()
        plugin.loss(model, images, targets, options).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    evaluator = evaluator_of(CLASSES)
    with torch.no_grad():
        predictions = plugin.predict(model.eval(), images)
    torch.set_num_threads(threads)
    assert evaluator.score(evaluator.statistics(predictions, masks))["miou"] >= 0.9


def test_masks_are_placed_as_their_images_are_and_restored() -> None:
    mask = np.zeros((50, 100), np.uint8)
    mask[:, 50:] = 3
    [placed] = plugin.place([mask], [(50, 100)], Preprocess(size_hw=(64, 64), channels=1, resize="letterbox"))
    assert (placed[:16] == 255).all()
    assert (placed[16:48, :32] == 0).all()
    assert (placed[16:48, 32:] == 3).all()
    batch = plugin.collate([placed, placed], torch.device("cpu"))
    assert all(np.array_equal(one, placed) for one in plugin.separate(batch))


def test_masks_follow_mosaic_cutmix_and_copied_classes_exactly() -> None:
    draws = torch.Generator().manual_seed(0)
    masks = torch.randint(0, 5, (16, 24, 32), generator=draws).repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    images = (50 * masks[:, None]).to(torch.uint8)  # the shade tells the class
    for policy in (Policy(cutmix=1.0), Policy(copy_paste=1.0), Policy(cutmix=1.0, copy_paste=1.0, horizontal_flip=0.5, crop=0.2)):
        seen, shown = plugin.augment(images, masks, policy, torch.Generator().manual_seed(1))
        again = plugin.augment(images, masks, policy, torch.Generator().manual_seed(1))
        assert torch.equal(seen, again[0])
        assert torch.equal(shown, again[1])
        judged = shown != 255
        assert torch.equal(seen[:, 0][judged].long(), 50 * shown[judged])
        assert (shown != masks).float().mean() > 0.1
    seen, shown = plugin.augment(images, masks, Policy(mosaic=1.0), torch.Generator().manual_seed(1))
    assert ((seen[:, 0] * 255 / 50).round() == shown).float().mean() > 0.6  # the rest are the borders, which are resampled
    assert all(mask.dtype == np.uint8 for mask in plugin.separate(shown))


@pytest.mark.parametrize("policy", [Policy(auto="trivial"), Policy(mixup=0.2)])
def test_a_policy_that_masks_cannot_follow_is_refused(policy: Policy) -> None:
    with pytest.raises(ConfigError, match=r"augment\.policy\.(auto|mixup): found .*Leave it out"):
        plugin.augment(torch.zeros(2, 1, 4, 4), torch.zeros(2, 4, 4, dtype=torch.int64), policy, torch.Generator())


class Fixed(nn.Module):
    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(images_NCHW), -1, -1, -1)


def test_pixels_that_are_not_judged_teach_nothing_and_balanced_classes_weigh_alike() -> None:
    masks = [np.array([[0, 0, 0, 1], [255, 255, 255, 255]], np.uint8)]
    options = plugin.loss_options({**SETTINGS, "class_weights": "balanced"}, masks, ["a", "b"])
    assert (options["class_weights"] / options["class_weights"][0]).tolist() == pytest.approx([1.0, 3.0])
    with pytest.raises(ConfigError, match="every class with training pixels weighs nothing"):
        plugin.loss_options({**SETTINGS, "class_weights": {"a": 0.0, "b": 0.0}}, masks, ["a", "b"])
    model = Fixed(torch.zeros(1, 2, 2, 4))
    loss = plugin.loss(model, torch.zeros(1, 1, 2, 4), plugin.collate(masks, torch.device("cpu")), options)
    assert float(loss.detach()) == pytest.approx(np.log(2))
    loss.backward()  # type: ignore[no-untyped-call]
    assert model.logits.grad is not None
    assert (model.logits.grad[..., 1, :] == 0).all()
    assert (model.logits.grad[..., 0, :] != 0).all()
    empty = plugin.collate([np.full((2, 4), 255, np.uint8)], torch.device("cpu"))
    assert float(plugin.loss(model, torch.zeros(1, 1, 2, 4), empty, options).detach()) == 0.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": {"iou": 1.0}}, "unknown part of the loss 'iou'"),
        ({"loss": {"dice": 0.0}}, "all parts weigh 0"),
        ({"label_smoothing": 0.1}, "label_smoothing: found 0.1; segmentation knows none"),
        ({"class_weights": {"zebra": 2.0}}, "unknown class in class_weights 'zebra'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plugin.loss_options(SETTINGS | settings, [np.zeros((2, 2), np.uint8)], CLASSES)


def test_a_batch_too_small_for_batch_normalisation_is_said() -> None:
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(2)).train()
    options = plugin.loss_options(SETTINGS, [np.zeros((1, 1), np.uint8)], ["a", "b"])
    with pytest.raises(ConfigError, match="batch_size: found 1; this network normalises over the batch, give it at least 2 images"):
        plugin.loss(model, torch.zeros(1, 2, 4, 4), torch.zeros(1, 1, 1, dtype=torch.int64), options)
