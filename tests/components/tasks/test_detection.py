from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from components.datasets.annotations import Truth
from components.datasets.composed import CLASSES, scenes
from components.datasets.policy import Policy
from components.errors import ConfigError
from components.evaluation.metrics.detection import plugin as evaluator_of
from components.exporters.onnx_int8 import plugin as int8
from components.networks.normalisation import Normalised
from components.records import DatasetRef, ModelSpec, Preprocess
from components.tasks.detection import plugin

SETTINGS: dict[str, Any] = {"label_smoothing": 0.0, "class_weights": "none", "loss": {}}
PREPROCESS = Preprocess(size_hw=(64, 64), channels=1, resize="stretch")
SCENES = list(scenes(8))
TRUTHS = [Truth(scene.boxes_xyxy, np.array([int(label) for label in scene.labels]), np.zeros(len(scene.labels), np.bool_)) for scene in SCENES]
PIXELS = np.stack([scene.pixels[:, :, None] for scene in SCENES])


def _spec(side: int = 64) -> ModelSpec:
    return ModelSpec(
        task="detection",
        model="yolo_nano",
        classes=CLASSES,
        preprocess=Preprocess(size_hw=(side, side), channels=1, resize="stretch"),
        mean=[0.2],
        std=[0.2],
        dataset=DatasetRef(name="d", version="1", manifest_digest="0", num_images=8),
        training_digest="0",
    )


@pytest.fixture(scope="module")
def learnt() -> Normalised:
    """A YOLO that knows eight scenes by heart."""
    torch.manual_seed(0)
    model = plugin.build_model(_spec()).train()
    assert isinstance(model, Normalised)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.004)
    images = torch.from_numpy(PIXELS).permute(0, 3, 1, 2).float() / 255
    options, objects = plugin.loss_options(SETTINGS, TRUTHS, CLASSES), plugin.collate(TRUTHS, torch.device("cpu"))
    for _ in range(120):
        optimizer.zero_grad()
        plugin.loss(model, images, objects, options).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model.eval()


def _score(predictions: list[Any]) -> dict[str, float]:
    evaluator = evaluator_of(CLASSES)
    return evaluator.score(evaluator.statistics(predictions, TRUTHS))


def _predicted(model: Normalised) -> list[Any]:
    with torch.no_grad():
        return plugin.predict(model, torch.from_numpy(PIXELS).permute(0, 3, 1, 2))


def test_a_yolo_learns_eight_images_by_heart(learnt: Normalised) -> None:
    assert _score(_predicted(learnt))["ap50"] >= 0.9


def test_many_images_are_read_a_few_at_a_time(learnt: Normalised, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = _predicted(learnt)
    monkeypatch.setattr("components.tasks.detection._PIXELS_AT_ONCE", 3 * 64 * 64)
    for one, other in zip(at_once, _predicted(learnt), strict=True):
        for here, there in zip(one, other, strict=True):
            np.testing.assert_allclose(here, there, rtol=1e-4, atol=1e-4)


def test_in_eight_bits_it_finds_what_it_found(learnt: Normalised, tmp_path: Path) -> None:
    graph = plugin.deploy_graph(learnt, _spec())
    int8.export(graph, torch.zeros((2, 64, 64, 1), dtype=torch.uint8), np.tile(PIXELS, (4, 1, 1, 1)), {}, tmp_path / "model.onnx")
    served = plugin.postprocess.predictions(int8.runner(tmp_path / "model.onnx", 1)(PIXELS))
    before, after = _score(_predicted(learnt)), _score(served)
    assert after["ap50"] >= before["ap50"] - 0.02
    assert after["ap"] >= before["ap"] - 0.05
    assert (tmp_path / "model.onnx").stat().st_size < 4e6  # a float one has 11.6 MB


def test_boxes_are_placed_and_those_that_a_crop_cuts_away_are_dropped() -> None:
    boxes = np.array([[0.0, 0, 20, 50], [18, 10, 38, 30], [25, 0, 75, 50], [-1, 0, 31, 50]])
    truth = Truth(boxes, np.array([0, 1, 2, 3]), np.array([False, False, True, False]))
    [placed] = plugin.place([truth], [(50, 100)], Preprocess(size_hw=(64, 64), channels=1, resize="crop"))
    np.testing.assert_allclose(placed.boxes_xyxy, [[0, 12.8, 16.64, 38.4], [0, 0, 64, 64]])  # of the last less than a fifth is left
    assert placed.labels.tolist() == [1, 2]
    assert placed.ignore.tolist() == [False, True]
    batch = plugin.collate([placed, placed], torch.device("cpu"))
    assert batch.present.sum() == 2, "what is to be ignored is not taught"
    assert [each.labels.tolist() for each in plugin.separate(batch)] == [[1], [1]]


def test_a_box_without_an_area_breaks_no_training(learnt: Normalised) -> None:
    flat = Truth(np.array([[5.0, 5, 5, 5], [5, 5, 30, 5], [10, 10, 40, 40]]), np.array([0, 1, 2]), np.zeros(3, np.bool_))
    [placed] = plugin.place([flat], [(64, 64)], PREPROCESS)
    assert placed.labels.tolist() == [2]
    batch = plugin.collate([placed], torch.device("cpu"))
    assert plugin.loss(learnt, torch.zeros(1, 1, 64, 64), batch, plugin.loss_options(SETTINGS, [placed], CLASSES)).isfinite()


def test_a_batch_without_objects_teaches_that_there_are_none(learnt: Normalised) -> None:
    nothing = Truth(np.empty((0, 4)), np.empty(0, np.int64), np.empty(0, np.bool_))
    batch = plugin.collate([nothing, nothing], torch.device("cpu"))
    images, moved = plugin.augment(torch.zeros(2, 1, 64, 64, dtype=torch.uint8), batch, Policy(rotate=10.0), torch.Generator())
    loss = plugin.loss(learnt, images, moved, plugin.loss_options(SETTINGS, [nothing], CLASSES))
    assert loss.isfinite()
    assert loss > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": {"dice": 1.0}}, "unknown part of the loss 'dice'"),
        ({"class_weights": "balanced"}, "class_weights: found balanced; detection knows none"),
        ({"label_smoothing": 0.1}, "label_smoothing: found 0.1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plugin.loss_options(SETTINGS | settings, TRUTHS, CLASSES)


@pytest.mark.parametrize("policy", [Policy(auto="trivial"), Policy(copy_paste=0.2), Policy(cutmix=1.0)])
def test_a_policy_that_boxes_cannot_follow_is_refused(policy: Policy) -> None:
    batch = plugin.collate(TRUTHS, torch.device("cpu"))
    with pytest.raises(ConfigError, match=r"augment\.policy\.(auto|copy_paste|cutmix): found .*Leave it out"):
        plugin.augment(torch.from_numpy(PIXELS).permute(0, 3, 1, 2), batch, policy, torch.Generator())


def test_a_mosaic_and_blended_images_teach_all_that_shows(learnt: Normalised) -> None:
    images, batch = torch.from_numpy(PIXELS).permute(0, 3, 1, 2), plugin.collate(TRUTHS, torch.device("cpu"))
    plain = int(batch.present.sum())
    policy = Policy(mosaic=1.0)
    seen, moved = plugin.augment(images, batch, policy, torch.Generator().manual_seed(0))
    again = plugin.augment(images, batch, policy, torch.Generator().manual_seed(0))
    assert torch.equal(seen, again[0])
    assert all(torch.equal(one, other) for one, other in zip(moved, again[1], strict=True))
    assert int(moved.present.sum()) > plain
    assert moved.present.any(dim=1).all()
    blended, both = plugin.augment(images, batch, Policy(mixup=8.0), torch.Generator().manual_seed(0))
    assert int(both.present.sum()) == 2 * plain
    options = plugin.loss_options(SETTINGS, TRUTHS, CLASSES)
    assert plugin.loss(learnt, blended, both, options).isfinite()
    assert plugin.loss(learnt, seen, moved, options).isfinite()


def test_a_size_that_the_network_cannot_take_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"task\.image_size: found 100; yolo_nano takes multiples of 32 pixels, for example 96"):
        plugin.build_model(_spec(100))
