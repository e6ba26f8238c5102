"""CIFAR-10 pruned to half its multiply-adds: what the small network loses after recovery, of one training, then over three seeds.

It starts from the models of cifar10_accuracy. A run that was stopped goes on from its checkpoint, one that is done is not repeated.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path

from benchmarks import cifar10
from benchmarks.cifar10_accuracy import SEEDS, test_accuracy, trained
from benchmarks.rows import Row
from components.compression._options import CompressConfig
from components.config import section_of
from components.protocols import Context
from components.records import CompressRecord
from components.steps.compress import compress

LONG = True
LARGEST_LOSS = 0.003


def pruned(dense: Path, seed: int) -> Path:
    """Return the folder of a pruned and recovered model, made at the first call."""
    out = cifar10.FOLDER / "models" / f"pruned-{seed}"
    if not (out / "compression.json").is_file():
        config = section_of(cifar10.PARAMS, CompressConfig)
        config = config.model_copy(update={"recovery": config.recovery.model_copy(update={"seed": seed})})
        compress(config, "pruned", cifar10.FOLDER / "training", dense, out, Context(scratch=cifar10.FOLDER / "scratch" / out.name))
    return out


def rows() -> Iterator[Row]:
    """Train and prune what is missing, and measure: first one training, then all."""
    for seeds in (SEEDS[:1], SEEDS):
        dense = [trained("auto", seed) for seed in seeds]
        small = [pruned(folder, seed) for folder, seed in zip(dense, seeds, strict=True)]
        before, after = [test_accuracy(folder) for folder in dense], [test_accuracy(folder) for folder in small]
        lost = [100 * (one - other) for one, other in zip(before, after, strict=True)]
        records = [CompressRecord.load(folder / "compression.json") for folder in small]
        left = statistics.mean(record.multiply_adds / record.multiply_adds_before for record in records)
        measured = f"{statistics.mean(lost):+.2f} points lost"
        if len(lost) > 1:
            measured += f", spread {statistics.stdev(lost):.2f} ({', '.join(f'{one:+.2f}' for one in lost)})"
        note = f"{left:.0%} of the multiply-adds; test accuracy {statistics.mean(before):.2%} before, {statistics.mean(after):.2%} after"
        what = "one training" if len(seeds) == 1 else "three seeds"
        met = statistics.mean(lost) <= 100 * LARGEST_LOSS
        yield Row(f"whitened_vgg on CIFAR-10 pruned to half its multiply-adds, {what}", measured, "at most 0.3 points lost", None, met, note)
