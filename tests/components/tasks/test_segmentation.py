from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from components.datasets.composed import scenes
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
