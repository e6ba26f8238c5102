"""What every task has to keep: the plugins, and a tiny second task whose targets have any length, so that the seam knows no labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from components.augmentation.random_policy import augment, to_float
from components.datasets.composed import scenes
from components.datasets.masks import mask_png
from components.datasets.policy import Policy
from components.datasets.prepared import PreparedSplit
from components.errors import DataError
from components.evaluation.comparison import compare_paired
from components.evaluation.intervals import bootstrap
from components.evaluation.slices import slice_table
from components.networks.normalisation import Normalised
from components.protocols import Context, Evaluator, Postprocess, Task, plugin, plugin_names
from components.records import DatasetRef, ModelSpec, Preprocess
from components.training.inference import predict, predict_originals
from components.training.loop import fit
from components.training.options import FitOptions
from components.training.problem import Problem

SIDE, SCENE = 8, 64


class DotEvaluator:
    """The share of right columns among all that were found or should have been."""

    metric = "overlap"

    def targets(self, rows: pd.DataFrame) -> Sequence[list[int]]:
        if "dots" not in rows:
            raise DataError("no column dots")
        return [list(dots) for dots in rows["dots"]]

    def statistics(self, predictions: Sequence[list[int]], targets: Sequence[list[int]]) -> Any:
        both = [(set(found), set(wanted)) for found, wanted in zip(predictions, targets, strict=True)]
        return np.array([[len(found & wanted), len(found | wanted)] for found, wanted in both], dtype=np.float64)

    def score(self, statistics: Any, weights: Any = None) -> dict[str, float]:
        sums = statistics.sum(0) if weights is None else weights @ statistics
        return {"overlap": float(sums[0] / sums[1]) if sums[1] else 1.0}

    def per_class(self, statistics: Any) -> pd.DataFrame:
        return pd.DataFrame({"class": ["dot"], "support": [len(statistics)], "overlap": [self.score(statistics)["overlap"]]})

    def baseline(self, targets: Sequence[list[int]]) -> list[int]:
        return []

    def mistakes(self, statistics: Any) -> list[tuple[int, str]]:
        wrong = statistics[:, 1] - statistics[:, 0]
        return [(int(image), f"{wrong[image]:.0f} columns wrong") for image in np.argsort(-wrong, kind="stable") if wrong[image]]

    def confusion(self, statistics: Any) -> pd.DataFrame:
        return pd.DataFrame(columns=["label", "predicted"])


class DotsServed:
    """Columns are the same in every size."""

    def restore(self, prediction: list[int], size_hw: tuple[int, int], preprocess: Preprocess) -> list[int]:
        return prediction


class Dots:
    """In which columns is a dot? A target is a list of columns, empty for some images."""

    name = "dots"
    postprocess = cast(Postprocess, DotsServed())

    def model_names(self) -> list[str]:
        return ["own"]

    def head_names(self, model: nn.Module) -> list[str]:
        return ["network.3.weight", "network.3.bias"]

    def place(self, targets: Sequence[list[int]], sizes_hw: Sequence[tuple[int, int]], preprocess: Preprocess) -> Sequence[list[int]]:
        return targets

    def separate(self, targets: list[torch.Tensor]) -> list[list[int]]:
        return [columns.tolist() for columns in targets]

    def build_model(self, spec: ModelSpec) -> nn.Module:
        network = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Dropout(0.05), nn.Conv2d(8, 1, (SIDE, 1)), nn.Flatten())
        return Normalised(network, spec.mean, spec.std)

    def collate(self, targets: Sequence[list[int]], device: torch.device) -> list[torch.Tensor]:
        return [torch.tensor(columns, dtype=torch.int64, device=device) for columns in targets]

    def augment(self, images_NCHW: torch.Tensor, targets: Any, policy: Policy, generator: torch.Generator) -> tuple[torch.Tensor, Any]:
        return augment(images_NCHW, policy.model_copy(update={"horizontal_flip": 0.0, "crop": 0.0}), generator), targets

    def loss_options(self, settings: Mapping[str, Any], targets: Sequence[Any], classes: Sequence[str]) -> dict[str, Any]:
        return {}

    def loss(self, model: nn.Module, images_NCHW: torch.Tensor, targets: list[torch.Tensor], options: Mapping[str, Any]) -> torch.Tensor:
        wanted = torch.zeros(len(targets), SIDE)
        for row, columns in zip(wanted, targets, strict=True):
            row[columns] = 1
        return nn.functional.binary_cross_entropy_with_logits(model(images_NCHW).float(), wanted)

    def predict(self, model: nn.Module, images_NCHW: torch.Tensor) -> list[Any]:
        return [row.nonzero().flatten().tolist() for row in model(to_float(images_NCHW)).float() > 0]

    def deploy_graph(self, model: nn.Module, spec: ModelSpec) -> nn.Module:
        return nn.Sequential(model)


@dataclass(frozen=True)
class Case:
    task: Task
    evaluator: Evaluator
    spec: ModelSpec
    split: Callable[[int, int], PreparedSplit]
    options: FitOptions
    reached: float
    """What the primary metric is at least after `options`."""


def _spec(task: str, model: str, options: dict[str, Any], classes: list[str], side: int = SIDE) -> ModelSpec:
    dataset = DatasetRef(name="d", version="1", manifest_digest="0", num_images=0)
    preprocess = Preprocess(size_hw=(side, side), channels=1, resize="stretch")
    return ModelSpec(
        task=task,
        model=model,
        model_options=options,
        classes=classes,
        preprocess=preprocess,
        mean=[0.3],
        std=[0.3],
        dataset=dataset,
        training_digest="0",
    )


def _dots(num: int, seed: int) -> PreparedSplit:
    draws = np.random.default_rng(seed)
    images = draws.integers(0, 60, (num, SIDE, SIDE, 1), dtype=np.uint8)
    dots = [sorted(draws.choice(SIDE, draws.integers(0, 4), replace=False).tolist()) for _ in range(num)]
    for image, columns in zip(images, dots, strict=True):
        image[draws.integers(0, SIDE), columns] = 255
    return PreparedSplit(images, pd.DataFrame({"dots": dots}), np.arange(num))


def _quadrants(num: int, seed: int) -> PreparedSplit:
    draws = np.random.default_rng(seed)
    images = draws.integers(0, 100, (num, SIDE, SIDE, 1), dtype=np.uint8)
    labels = draws.integers(0, 4, num)
    for image, label in zip(images, labels, strict=True):
        image[label // 2 * 4 : label // 2 * 4 + 4, label % 2 * 4 : label % 2 * 4 + 4] += 120
    return PreparedSplit(images, pd.DataFrame({"label": [f"q{label}" for label in labels]}), np.arange(num))


def _composed(num: int, seed: int) -> PreparedSplit:
    """Scenes of digits, which are all of one class: with boxes, and with masks of background and digit."""
    found = list(scenes(num, SCENE, seed))
    rows = pd.DataFrame(
        {
            "image_id": [f"{index}.png" for index in range(num)],
            "height": SCENE,
            "width": SCENE,
            "boxes_xyxy": [scene.boxes_xyxy.tolist() for scene in found],
            "box_labels": [["digit"] * len(scene.labels) for scene in found],
            "mask_png": [mask_png((scene.mask > 0).astype(np.uint8)) for scene in found],
        }
    )
    return PreparedSplit(np.stack([scene.pixels[:, :, None] for scene in found]), rows, np.arange(num))


QUADRANTS = [f"q{label}" for label in range(4)]
OPTIONS = FitOptions(epochs=8, batch_size=8, lr=0.02, schedule="onecycle", ema=0.9, accumulate=2, precision="float32")
CASES: dict[str, Callable[[], Case]] = {
    "dots": lambda: Case(Dots(), DotEvaluator(), _spec("dots", "own", {}, ["dot"]), _dots, OPTIONS, 0.8),
    "classification": lambda: Case(
        plugin("components.tasks", "task", "classification"),
        plugin("components.evaluation.metrics", "task", "classification")(QUADRANTS),
        _spec("classification", "resnet9", {"width": 4}, QUADRANTS),
        _quadrants,
        OPTIONS,
        0.8,
    ),
    "segmentation": lambda: Case(
        plugin("components.tasks", "task", "segmentation"),
        plugin("components.evaluation.metrics", "task", "segmentation")(["background", "digit"]),
        _spec("segmentation", "unet", {"width": 4, "depth": 2}, ["background", "digit"], SCENE),
        _composed,
        OPTIONS.model_copy(update={"epochs": 2}),
        0.8,
    ),
    "detection": lambda: Case(
        plugin("components.tasks", "task", "detection"),
        plugin("components.evaluation.metrics", "task", "detection")(["digit"]),
        _spec("detection", "yolo_nano", {}, ["digit"], SCENE),
        _composed,
        OPTIONS.model_copy(update={"epochs": 4, "lr": 0.005}),
        0.25,
    ),
}


def test_every_task_has_a_case_here() -> None:
    assert set(plugin_names("components.tasks")) <= set(CASES)


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    torch.manual_seed(0)
    return CASES[request.param]()


def test_a_batch_gives_a_loss_that_can_be_learnt_from(case: Case) -> None:
    split, cpu = case.split(6, 0), torch.device("cpu")
    targets = case.task.place(case.evaluator.targets(split.rows), [case.spec.preprocess.size_hw] * 6, case.spec.preprocess)
    options = case.task.loss_options(FitOptions().model_dump(), targets, case.spec.classes)
    model = case.task.build_model(case.spec).train()
    images = torch.from_numpy(split.images).permute(0, 3, 1, 2)
    policy = Policy(horizontal_flip=0.5, crop=0.1, brightness=0.2, erasing=0.3)
    images, wanted = case.task.augment(images, case.task.collate(targets, cpu), policy, torch.Generator().manual_seed(0))
    loss = case.task.loss(model, to_float(images), wanted, options)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.shape == ()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())
    assert len(case.task.separate(wanted)) == 6


def test_predictions_are_one_an_image_free_of_torch_and_judged_by_the_evaluator(case: Case) -> None:
    split = case.split(7, 0)
    model = case.task.build_model(case.spec)
    predictions = predict(case.task, model, split.images, batch_size=3)
    assert len(predictions) == 7
    assert not any(isinstance(prediction, torch.Tensor) for prediction in predictions)
    statistics = case.evaluator.statistics(predictions, case.evaluator.targets(split.rows))
    assert statistics.shape[0] == 7
    assert statistics.dtype == np.float64
    assert case.evaluator.metric in case.evaluator.score(statistics)


def test_intervals_slices_and_comparison_know_a_task_by_its_evaluator_alone(case: Case) -> None:
    split, evaluator = case.split(40, 0), case.evaluator
    targets = evaluator.targets(split.rows)
    predictions = predict(case.task, case.task.build_model(case.spec), split.images)
    statistics = evaluator.statistics(predictions, targets)
    found = bootstrap(evaluator, statistics, 50)[evaluator.metric]
    assert found.low <= found.value <= found.high
    doubled, once = evaluator.score(statistics, np.full(40, 2.0)), evaluator.score(statistics)
    assert doubled == pytest.approx({name: once[name] for name in doubled}, nan_ok=True)
    assert not compare_paired(evaluator, statistics, statistics, 50).superior(0.0)
    ignorant = evaluator.statistics([evaluator.baseline(targets)] * 40, targets)
    assert evaluator.score(ignorant)[evaluator.metric] < 0.6
    sites = split.rows.assign(site=["north", "south"] * 20)
    assert slice_table(evaluator, statistics, sites, ["site"], 20)["images"].tolist() == [20, 20]
    assert all(0 <= image < 40 and caption for image, caption in evaluator.mistakes(statistics))
    assert list(evaluator.confusion(statistics).columns) == ["label", "predicted"]


def test_the_loop_learns_it(case: Case, tmp_path: Path) -> None:
    train, val = case.split(256, 1), case.split(48, 2)
    model = case.task.build_model(case.spec)
    result = fit(
        Problem(model, case.spec, case.task, case.evaluator, train, val), case.options, Policy(), context=Context(scratch=tmp_path), start=True
    )
    start = cast(float, result.start_value)
    assert result.value > max(case.reached, start)
    predictions = predict_originals(case.task, model, val, case.spec.preprocess)
    statistics = case.evaluator.statistics(predictions, case.evaluator.targets(val.rows))
    assert case.evaluator.score(statistics)[case.evaluator.metric] == result.value  # the model holds the weights that were judged best


@pytest.mark.parametrize("name", plugin_names("components.tasks"))
def test_the_deploy_graph_and_its_torch_free_half_predict_what_the_task_predicts(name: str) -> None:
    case = CASES[name]()
    split = case.split(5, 0)
    torch.manual_seed(0)
    model = case.task.build_model(case.spec).train()
    for parameter in map(model.get_parameter, case.task.head_names(model)):
        nn.init.normal_(parameter)  # a detector that has learnt nothing finds nothing
    for _ in range(20):  # BatchNorm learns what to expect, so that images differ
        model(to_float(torch.from_numpy(split.images).permute(0, 3, 1, 2)))
    model.eval()
    graph = case.task.deploy_graph(model, case.spec)
    with torch.no_grad():
        outputs = graph(torch.from_numpy(split.images))
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    arrays = {key: value.numpy() for key, value in zip(cast(Any, graph).output_names, outputs, strict=True)}
    served = plugin("components.serving.postprocess", "task", name).predictions(arrays)
    for ours, theirs in zip(predict(case.task, model, split.images), served, strict=True):
        for one, other in zip(*((each if isinstance(each, tuple) else (each,)) for each in (ours, theirs)), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
