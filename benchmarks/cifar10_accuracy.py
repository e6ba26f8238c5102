"""CIFAR-10 by the committed command: the accuracy of the small network, and whether `auto` settings cost any of it.

The whole recipe once; then its first stage cut to four epochs, in float32 and as `auto` chooses, three seeds of each: the whole of it
would take fifteen hours. A run that was stopped goes on from its checkpoint, one that is done is not repeated.
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
#: Where float32 and `auto` are compared.
_FEW_EPOCHS = 4


def trained() -> Path:
    """Return the folder of the model that was trained and fine-tuned, at the first call; its .cost.json sums up all attempts."""
    out = cifar10.FOLDER / "models" / "auto-0"
    with _cost(out.with_suffix(".cost.json")):
        model = _once(out.with_name(f"{out.name}-first"), {})
        for number in range(_NUM_ROUNDS):
            tuned = out if number == _NUM_ROUNDS - 1 else out.with_name(f"{out.name}-tuned-{number}")
            if not (tuned / "summary.json").is_file():
                tuning = section_of(cifar10.PARAMS, FinetuneConfig).model_copy(update={"seed": number})
                context = Context(scratch=cifar10.FOLDER / "scratch" / tuned.name)
                finetune(tuning, cifar10.TASK, cifar10.FOLDER / "training", model, tuned, context)
            model = tuned
    return out


def briefly(precision: str, seed: int) -> Path:
    """Return the folder of a model that was trained for a few epochs, at the first call."""
    out = cifar10.FOLDER / "models" / f"{precision}-{seed}-{_FEW_EPOCHS}-epochs"
    return _once(out, {"seed": seed, "precision": precision, "epochs": _FEW_EPOCHS})


def _once(out: Path, changes: dict[str, object]) -> Path:
    """Train from random weights by the recipe but for the changes, if that was not done before."""
    if not (out / "summary.json").is_file():
        cifar10.prepared()
        start = cifar10.FOLDER / "start"
        start.mkdir(parents=True, exist_ok=True)
        (start / "start.json").write_text('{"source": null}')
        config = section_of(cifar10.PARAMS, TrainConfig).model_copy(update=changes)
        train(config, cifar10.TASK, cifar10.FOLDER / "training", start, out, Context(scratch=cifar10.FOLDER / "scratch" / out.name))
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
    """Train what is missing, and measure: first the whole recipe, then the short ones."""
    folder = trained()
    accuracy = test_accuracy(folder)
    cost = json.loads(folder.with_suffix(".cost.json").read_text())
    note = f"trained and fine-tuned in {cost['cpu_seconds']:,.0f} CPU seconds on one core ({cost['seconds']:,.0f} s, other work beside it)"
    yield Row("CIFAR-10 test accuracy of whitened_vgg", f"{accuracy:.2%}", "90%", accuracy / TARGET, accuracy >= TARGET, note)
    scores = {precision: [test_accuracy(briefly(precision, seed)) for seed in SEEDS] for precision in ("auto", "float32")}
    texts = {precision: f"{statistics.mean(values):.2%} ({', '.join(f'{value:.2%}' for value in values)})" for precision, values in scores.items()}
    loss = statistics.mean(scores["float32"]) - statistics.mean(scores["auto"])
    yield Row(
        "`auto` settings against float32: CIFAR-10 accuracy lost, three seeds",
        f"{100 * loss:+.2f} points",
        "at most 0.3 points",
        None,
        loss <= LARGEST_LOSS,
        f"{_FEW_EPOCHS} epochs of the recipe's first stage; auto {texts['auto']}, float32 {texts['float32']}",
    )
