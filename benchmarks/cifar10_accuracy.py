"""CIFAR-10 by the committed command: the accuracy of the small network, and whether `auto` settings cost any of it.

One training, then three seeds in float32 and three as `auto` chooses. A run that was stopped goes on from its checkpoint, one that
is done is not repeated.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import cifar10
from benchmarks.rows import Row
from components.config import section_of
from components.protocols import Context, plugin
from components.steps.finetune import FinetuneConfig, finetune
from components.steps.train import TrainConfig, train
from components.training.inference import predict
from components.training.model_files import load_model

LONG = True
SEEDS, TARGET, LARGEST_LOSS = (0, 1, 2), 0.90, 0.003
#: Of fine-tuning, each from the weights that the one before left.
_NUM_ROUNDS = 2


def trained(precision: str, seed: int) -> Path:
    """Return the folder of a model that was trained and fine-tuned, at the first call; its .cost.json sums up all attempts."""
    out = cifar10.FOLDER / "models" / f"{precision}-{seed}"
    if (out / "summary.json").is_file():
        return out
    changes = {"seed": seed, "precision": precision}
    start, first = cifar10.FOLDER / "start", out.with_name(f"{out.name}-first")
    start.mkdir(parents=True, exist_ok=True)
    (start / "start.json").write_text('{"source": null}')
    data, scratch = cifar10.FOLDER / "training", cifar10.FOLDER / "scratch"
    cifar10.prepared()
    with _cost(out.with_suffix(".cost.json")):
        if not (first / "summary.json").is_file():
            config = section_of(cifar10.PARAMS, TrainConfig).model_copy(update=changes)
            train(config, cifar10.TASK, data, start, first, Context(scratch=scratch / first.name))
        model = first
        for number in range(_NUM_ROUNDS):
            tuned = out if number == _NUM_ROUNDS - 1 else out.with_name(f"{out.name}-tuned-{number}")
            if not (tuned / "summary.json").is_file():
                tuning = section_of(cifar10.PARAMS, FinetuneConfig).model_copy(update=changes | {"seed": seed + number})
                finetune(tuning, cifar10.TASK, data, model, tuned, Context(scratch=scratch / tuned.name))
            model = tuned
    return out


@contextmanager
def _cost(path: Path) -> Iterator[None]:
    """Add the block's seconds to those of the attempts before."""
    before = json.loads(path.read_text()) if path.is_file() else {"cpu_seconds": 0.0, "seconds": 0.0}
    cpu, wall = time.process_time(), time.monotonic()
    try:
        yield
    finally:
        path.parent.mkdir(parents=True, exist_ok=True)
        spent = {"cpu_seconds": time.process_time() - cpu, "seconds": time.monotonic() - wall}
        path.write_text(json.dumps({name: before[name] + value for name, value in spent.items()}))


def test_accuracy(model: Path) -> float:
    """Return the accuracy on the 10,000 test images, in float32 whatever it was trained in."""
    network, spec = load_model(model)
    test = cifar10.prepared().split("test")
    evaluator = plugin("components.evaluation.metrics", "task", spec.task)(spec.classes)
    predictions = predict(plugin("components.tasks", "task", spec.task), network, test.images)
    score: float = evaluator.score(evaluator.statistics(predictions, evaluator.targets(test.rows)))["accuracy"]
    return score


def rows() -> Iterator[Row]:
    """Train what is missing, and measure: first one training, then all."""
    folder = trained("auto", SEEDS[0])
    accuracy = test_accuracy(folder)
    name, cost = "CIFAR-10 test accuracy of whitened_vgg", json.loads(folder.with_suffix(".cost.json").read_text())
    note = f"trained and fine-tuned in {cost['cpu_seconds']:,.0f} CPU seconds on one core ({cost['seconds']:,.0f} s, other work beside it)"
    yield Row(f"{name}, one training", f"{accuracy:.2%}", "90%", accuracy / TARGET, accuracy >= TARGET, note)
    scores = {precision: [test_accuracy(trained(precision, seed)) for seed in SEEDS] for precision in ("auto", "float32")}
    texts = {precision: f"{statistics.mean(values):.2%} ({', '.join(f'{value:.2%}' for value in values)})" for precision, values in scores.items()}
    mean = {precision: statistics.mean(values) for precision, values in scores.items()}
    loss = mean["float32"] - mean["auto"]
    yield Row(f"{name}, three seeds", texts["auto"], "90%", mean["auto"] / TARGET, mean["auto"] >= TARGET)
    yield Row(
        "auto settings against float32, CIFAR-10 accuracy lost, three seeds",
        f"{100 * loss:+.2f} points: float32 {texts['float32']}",
        "at most 0.3 points",
        None,
        loss <= LARGEST_LOSS,
    )
