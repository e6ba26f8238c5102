"""The rules of promotion, as checks with what was found.

A class is held to have fallen when it lost more than `promote.max_class_drop` of its first metric and that is at least two of its test images: one
image more or less is what any two trainings differ by, and in a class of ten images it is 10 points.
"""

from __future__ import annotations

from pathlib import Path

from components.evaluation.intervals import bootstrap
from components.protocols import Evaluator, plugin
from components.records import BundleRecord
from components.registry.bundle import RECORD
from components.registry.compare import Comparison, compare_bundles, refuse_overlap
from components.registry.config import PromoteConfig
from components.registry.decision import Check, Decision
from components.registry.testset import TestImages, statistics_of
from components.registry.versions import Version, bundle_of

LEAST_LOST_IMAGES = 2


def judge(home: Path, challenger: Version, champion: Version | None, images: TestImages, config: PromoteConfig) -> tuple[Decision, dict[str, float]]:
    """Judge a version against the champion, or by the floors if there is none.

    Args:
        home: The `.darkroom` folder.
        challenger: The version.
        champion: The version that it has to beat; None: there is none.
        images: The test images.
        config: The section `promote`.

    Returns:
        The decision, and its figures for the history.

    Raises:
        InputError: One of them has seen test images, or their classes differ.
    """
    folder = bundle_of(home, challenger)
    comparison = None
    if champion is None:
        checks, numbers = floors(challenger.ref, folder, images, config)
    else:
        comparison = compare_bundles((champion.ref, bundle_of(home, champion)), (challenger.ref, folder), images, config)
        checks, numbers = superiority(comparison, config), numbers_of(comparison)
    passed = all(check.passed for check in checks)
    decision = Decision(
        verdict="promoted" if passed else "refused",
        reason=_reason(challenger, champion, checks, numbers),
        challenger=challenger.ref,
        champion=champion.ref if champion else None,
        checks=checks,
        comparison=comparison.paired if comparison else None,
    )
    return decision, numbers


def _reason(challenger: Version, champion: Version | None, checks: list[Check], numbers: dict[str, float]) -> str:
    images = f"on {numbers['num_images']:.0f} test images"
    broken = [check for check in checks if not check.passed]
    if broken:
        return f"{challenger.ref} {images}: " + "; ".join(f"{check.name}: found {check.found}; wanted: {check.limit}" for check in broken)
    if champion is None:
        return f"{challenger.ref} is the first: {checks[0].found} {images}, above the floors"
    return f"{challenger.ref} {numbers['challenger']:.2%} against {numbers['champion']:.2%} of {champion.ref} {images}: {checks[0].found}"


def superiority(comparison: Comparison, config: PromoteConfig) -> list[Check]:
    """Return the checks of a challenger against the champion."""
    paired = comparison.paired
    gain = Check(
        name=f"gain in {paired.metric}",
        found=f"{points(paired.gain.value)} points, 95% interval {points(paired.gain.low)} to {points(paired.gain.high)}",
        limit=f"lower end above {100 * config.min_gain:g}",
        passed=paired.superior(config.min_gain),
    )
    fallen = {
        name: drop
        for name, drop in paired.class_drops.items()
        if drop > config.max_class_drop and drop * comparison.support[name] > LEAST_LOST_IMAGES - 0.5
    }
    worst = max(fallen, key=lambda name: fallen[name]) if fallen else paired.worst_class
    found = f"'{worst}' {points(-paired.class_drops[worst])} points on {comparison.support[worst]} images"
    classes = Check(
        name="worst class",
        found=found + (f", and {len(fallen) - 1} more classes" if len(fallen) > 1 else ""),
        limit=f"no fall of more than {100 * config.max_class_drop:.1f} points and at least {LEAST_LOST_IMAGES} images",
        passed=not fallen,
    )
    return [gain, classes]


def floors(name: str, folder: Path, images: TestImages, config: PromoteConfig) -> tuple[list[Check], dict[str, float]]:
    """Return the checks of a model that has no champion before it, and the numbers behind them.

    Args:
        name: NAME/V.
        folder: Its bundle.
        images: The test images.
        config: The section `promote`.

    Raises:
        InputError: The model has seen test images.
    """
    record = BundleRecord.load(folder / RECORD)
    refuse_overlap(name, folder, images)
    evaluator: Evaluator = plugin("components.evaluation.metrics", "task", record.task)(record.classes)
    statistics = statistics_of(folder, evaluator, images, f"judge {name}")
    interval = bootstrap(evaluator, statistics, config.num_resamples, config.seed, images.groups)[evaluator.metric]
    targets = images.targets(evaluator, images.rows)
    constant = evaluator.baseline(images.targets(evaluator, images.train))
    baseline = evaluator.score(evaluator.statistics([constant] * len(targets), targets))[evaluator.metric]
    found = f"{interval.value:.2%}, 95% interval {interval.low:.2%} to {interval.high:.2%}"
    checks = [
        Check(
            name=f"{evaluator.metric} floor",
            found=found,
            limit=f"lower end at least {config.min_accuracy:.0%}",
            passed=interval.low >= config.min_accuracy,
        ),
        Check(
            name="ignoring the image",
            found=found,
            limit=f"lower end above {baseline:.2%}, what the best answer that is the same for all images gives",
            passed=interval.low > baseline,
        ),
    ]
    numbers = {evaluator.metric: interval.value, "low": interval.low, "high": interval.high, "baseline": baseline, "num_images": float(len(targets))}
    return checks, numbers


def numbers_of(comparison: Comparison) -> dict[str, float]:
    """Return the figures of a comparison that its history line keeps."""
    paired = comparison.paired
    return {
        "champion": paired.a.value,
        "challenger": paired.b.value,
        "gain": paired.gain.value,
        "gain_low": paired.gain.low,
        "gain_high": paired.gain.high,
        "worst_class_drop": paired.worst_class_drop,
        "num_images": float(paired.num_images),
    }


def points(share: float) -> str:
    """Return a difference of shares in percentage points, with its sign."""
    return f"{round(100 * share, 1) + 0.0:+.1f}"  # + 0.0: no minus before zero
