"""Options of training that boxes and masks need, through the one loop: several sizes, mixed images, frozen norms, images without a target."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from components.config import section_of
from components.datasets.annotations import Truth
from components.datasets.composed import scenes
from components.datasets.masks import mask_png
from components.datasets.policy import Policy
from components.datasets.prepared import PreparedSplit
from components.errors import ConfigError, InputError
from components.protocols import Context, NullTracker, plugin
from components.records import DatasetRef, ModelSpec, Preprocess
from components.steps.train import TrainConfig
from components.training.loop import fit
from components.training.multi_scale import MultiScale
from components.training.options import FitOptions
from components.training.problem import Problem

SIDE = 32
NETWORKS: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "detection": ("yolo_nano", {}, ["digit"]),
    "segmentation": ("unet", {"width": 4, "depth": 2}, ["background", "digit"]),
}
POLICIES = {
    "detection": Policy(mosaic=0.7, mixup=1.5, horizontal_flip=0.5, scale=0.3, shear=5.0, mixed_epochs=0.5),
    "segmentation": Policy(mosaic=0.7, cutmix=1.0, copy_paste=0.5, crop=0.1, scale=0.3, mixed_epochs=0.5),
}
MANY = FitOptions(epochs=2, batch_size=4, lr=0.002, multi_scale=[1.0, 2.0], ema=0.9, precision="float32", num_threads=1)


def _split(num: int, seed: int, empty: bool = False) -> PreparedSplit:
    found = list(scenes(num, SIDE, seed))
    nothing = np.zeros((SIDE, SIDE), np.uint8)
    rows = {
        "height": SIDE,
        "width": SIDE,
        "boxes_xyxy": [[] if empty else scene.boxes_xyxy.tolist() for scene in found],
        "box_labels": [[] if empty else ["digit"] * len(scene.labels) for scene in found],
        "mask_png": [mask_png(nothing + 255 if empty else (scene.mask > 0).astype(np.uint8)) for scene in found],
    }
    images = np.stack([scene.pixels[:, :, None] for scene in found])
    return PreparedSplit(images, pd.DataFrame({"image_id": [f"{n}.png" for n in range(num)], **rows}), np.arange(num))


def _problem(task: str, train: PreparedSplit, side: int = SIDE, **model_options: Any) -> Problem:
    model, options, classes = NETWORKS[task]
    spec = ModelSpec(
        task=task,
        model=model,
        model_options=options | model_options,
        classes=classes,
        preprocess=Preprocess(size_hw=(side, side), channels=1, resize="stretch"),
        mean=[0.2],
        std=[0.2],
        dataset=DatasetRef(name="d", version="1", manifest_digest="0", num_images=8),
        training_digest="0",
    )
    torch.manual_seed(0)
    learnt = plugin("components.tasks", "task", task)
    evaluator = plugin("components.evaluation.metrics", "task", task)(classes)
    return Problem(learnt.build_model(spec), spec, learnt, evaluator, train, _split(4, 2))


class Stop(NullTracker):
    def log_metrics(self, metrics: Any, step: int) -> None:
        if step == 1:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("task", NETWORKS)
def test_several_sizes_and_mixed_images_go_on_bit_by_bit_after_a_stop(task: str, tmp_path: Path) -> None:
    policy, train = POLICIES[task], _split(8, 1)
    sizes: list[tuple[int, ...]] = []
    whole, other = _problem(task, train), _problem(task, train)
    whole.model.register_forward_pre_hook(lambda module, inputs: sizes.append(tuple(inputs[0].shape[2:])) if module.training else None)
    expected = fit(whole, MANY, policy, context=Context())
    assert len(set(sizes)) > 1
    assert all(SIDE <= side <= 2 * SIDE for size in sizes for side in size)
    with pytest.raises(KeyboardInterrupt):
        fit(other, MANY, policy, context=Context(tracker=Stop(), scratch=tmp_path))
    again = _problem(task, train)
    result = fit(again, MANY, policy, context=Context(scratch=tmp_path))
    assert result.history == expected.history
    assert all(torch.equal(a, b) for a, b in zip(again.model.state_dict().values(), whole.model.state_dict().values(), strict=True))


@pytest.mark.parametrize("task", NETWORKS)
def test_images_without_a_target_are_learnt_from_and_a_loss_that_is_no_number_stops(task: str) -> None:
    problem = _problem(task, _split(4, 1, empty=True))
    result = fit(problem, MANY.model_copy(update={"epochs": 1}), POLICIES[task], context=Context())
    assert np.isfinite(result.history[0]["train_loss"])
    assert all(tensor.isfinite().all() for tensor in problem.model.state_dict().values())
    problem = _problem(task, _split(8, 1))
    nn.init.constant_(problem.model.get_parameter(problem.task.head_names(problem.model)[0]), float("inf"))
    with pytest.raises(InputError, match=r"the loss became (nan|inf) in epoch 1, step 1 of 2"):
        fit(problem, MANY, Policy(), context=Context())


def test_labels_are_learnt_at_several_sizes_too(problem: Any) -> None:
    sizes: set[tuple[int, ...]] = set()
    model = problem.model()
    model.register_forward_pre_hook(lambda module, inputs: sizes.add(tuple(inputs[0].shape[2:])) if module.training else None)
    assert problem.fit(model, epochs=4, multi_scale=[0.75, 1.5]).value > 0.9
    assert sizes == {(8, 8), (12, 12)}


def test_targets_follow_images_to_another_size() -> None:
    detection, segmentation = (plugin("components.tasks", "task", task) for task in NETWORKS)
    objects = detection.collate([Truth(np.array([[2.0, 4, 10, 20]]), np.array([0]), np.array([False]))], torch.device("cpu"))
    assert detection.rescale(objects, (32, 32), (64, 96)).boxes_xyxy.tolist() == [[[6.0, 8.0, 30.0, 40.0]]]
    masks = torch.tensor([[[0, 1], [255, 2]]])
    assert torch.equal(segmentation.rescale(masks, (2, 2), (4, 6)), masks.repeat_interleave(2, dim=1).repeat_interleave(3, dim=2))
    problem = _problem("segmentation", _split(4, 1), 64)
    scales = MultiScale.of(problem, FitOptions(multi_scale=[0.75, 1.25]))
    assert scales is not None
    assert scales.sizes == [(48 + 4 * n, 48 + 4 * n) for n in range(9)]
    image = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    image[:, :, 16:48, 16:48] = 255
    mask = (image[:, 0] > 0).long()
    for seed in range(5):
        seen, shown = scales(image, mask, seed)
        assert seen.shape[2:] == shown.shape[1:]
        assert ((seen[:, 0].float() > 0.5) == (shown == 1)).float().mean() > 0.97
        assert torch.equal(scales(image, mask, seed)[0], seen)


def test_no_more_than_nine_sizes_in_steps_of_the_network_and_none_where_it_is_off() -> None:
    problem = _problem("detection", _split(4, 1), 640)
    assert MultiScale.of(problem, FitOptions()) is None
    scales = MultiScale.of(problem, FitOptions(multi_scale=[0.5, 1.5]))
    assert scales is not None
    assert scales.sizes[0] == (320, 320)
    assert scales.sizes[-1] == (960, 960)
    assert len(scales.sizes) == 9
    assert all(side % 32 == 0 for size in scales.sizes for side in size)


def test_sizes_that_there_are_not_are_refused_in_one_line(problem: Any, make_spec: Any) -> None:
    with pytest.raises(ConfigError, match=r"multi_scale: found \[0\.9, 1\.1\]; in steps of 32 pixels images of 64×64 have no other size there"):
        MultiScale.of(_problem("detection", _split(4, 1), 64), FitOptions(multi_scale=[0.9, 1.1]))
    preprocess = Preprocess(size_hw=(32, 32), channels=1, resize="stretch")
    vit = make_spec(model="vit_b_16", model_options={}, preprocess=preprocess)
    with torch.device("meta"):
        network = problem.task.build_model(vit)
    posed = Problem(network, vit, problem.task, problem.evaluator, problem.train, problem.val)
    with pytest.raises(ConfigError, match=r"multi_scale: found \[0\.5, 1\]; vit_b_16 cannot take images of 16×16 pixels\. Leave it out"):
        MultiScale.of(posed, FitOptions(multi_scale=[0.5, 1.0]))
    for wrong in ([1.1, 1.5], [0.5, 0.9], [1.0], [0.0, 1.0], [1.0, 9.0]):
        with pytest.raises(
            ConfigError, match=r"^params\.yaml: train\.multi_scale: found \[.*\]; expected \[low, high\] with 0 < low <= 1 <= high <= 4.*judges$"
        ):
            section_of({"train": {"multi_scale": wrong}}, TrainConfig)

    class Bare:
        """A task that knows no other size."""

    posed = Problem(posed.model, vit, Bare(), problem.evaluator, problem.train, problem.val)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="the task classification cannot follow images to another size"):
        MultiScale.of(posed, FitOptions(multi_scale=[0.5, 1.0]))
