"""What an artifact costs to run, on this machine. Bounded in time: a second or two an artifact."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from components.records import BenchmarkRecord, Interval

if TYPE_CHECKING:
    from components.protocols import Array, Exporter, Runner

Result = TypeVar("Result")

_WARM_UP = 3
_LEAST_RUNS, _MOST_RUNS, _SECONDS = 15, 300, 0.3
_LEAST_SAMPLE_S = 1e-3
_RESAMPLES = 2000
_BATCH = 32


def measure(name: str, exporter: Exporter, path: Path, images: Array, accuracy: float, baseline: Runner | None) -> BenchmarkRecord:
    """Measure a written artifact.

    Args:
        name: VARIANT-FORMAT.
        exporter: Loads it.
        path: The artifact.
        images: uint8 (N, H, W, C), real ones.
        accuracy: What the proof found on the test images.
        baseline: What its speed is compared with, on one thread; None: nothing.
    """
    image = np.ascontiguousarray(images[:1])
    batch = np.resize(images[:_BATCH], (_BATCH, *image.shape[1:]))
    runner = exporter.runner(path, 1)
    latencies = latencies_ms(runner, image)
    return BenchmarkRecord(
        artifact=name,
        num_bytes=path.stat().st_size,
        latency_ms_median=float(np.median(latencies)),
        latency_ms_p95=float(np.percentile(latencies, 95)),
        images_per_second=images_per_second(exporter.runner(path, num_cores()), batch),
        accuracy=accuracy,
        speedup=speedup(baseline, runner, image) if baseline else None,
        machine=machine(),
    )


def not_measured(name: str, num_bytes: int | None, warnings: Sequence[str]) -> BenchmarkRecord:
    """Return the record of an artifact that could not be made or run."""
    return BenchmarkRecord(
        artifact=name,
        num_bytes=num_bytes,
        latency_ms_median=None,
        latency_ms_p95=None,
        images_per_second=None,
        accuracy=None,
        machine=machine(),
        warnings=list(warnings),
    )


def latencies_ms(runner: Runner, image_NHWC: Array) -> Array:
    """Return milliseconds of repeated runs on one image, float64 (R,)."""
    for _ in range(_WARM_UP):
        runner(image_NHWC)
    return np.array(_repeat(lambda: _seconds(runner, image_NHWC), _SECONDS)) * 1e3


def images_per_second(runner: Runner, images_NHWC: Array) -> float:
    """Return the median throughput over repeated runs of one batch."""
    runner(images_NHWC)
    return float(len(images_NHWC) / np.median(_repeat(lambda: _seconds(runner, images_NHWC), _SECONDS)))


def speedup(baseline: Runner, runner: Runner, image_NHWC: Array, seconds: float = 2 * _SECONDS) -> Interval:
    """Return how many times faster `runner` is than `baseline` on one image.

    Both run in turn, so that what else the machine does meets both alike; the value is the median ratio of the pairs, the
    interval a percentile bootstrap over the pairs (Efron and Tibshirani 1993, chapter 13). A run that is too short for the
    clock is repeated within its sample.
    """
    for loaded in (baseline, runner):
        for _ in range(_WARM_UP):
            loaded(image_NHWC)
    repeats = max(1, int(np.ceil(_LEAST_SAMPLE_S / _seconds(runner, image_NHWC))))
    pairs = _repeat(lambda: (_seconds(baseline, image_NHWC, repeats), _seconds(runner, image_NHWC, repeats)), seconds)
    ratios = np.array([slow / fast for slow, fast in pairs])
    chosen = np.random.default_rng(0).integers(0, len(ratios), (_RESAMPLES, len(ratios)))
    low, high = np.percentile(np.median(ratios[chosen], axis=1), [2.5, 97.5])
    return Interval(value=float(np.median(ratios)), low=float(low), high=float(high))


def num_cores() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> str:
    """Name the processor and its cores."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        name = next((line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")), name)
    return f"{name}, {num_cores()} cores"


def _repeat(sample: Callable[[], Result], seconds: float) -> list[Result]:
    samples: list[Result] = []
    end = time.perf_counter() + seconds
    while len(samples) < _LEAST_RUNS or (len(samples) < _MOST_RUNS and time.perf_counter() < end):
        samples.append(sample())
    return samples


def _seconds(runner: Runner, images_NHWC: Array, repeats: int = 1) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        runner(images_NHWC)
    return (time.perf_counter() - start) / repeats
