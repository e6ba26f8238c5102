"""Images of CIFAR-10 at random: from Darkroom's shards, and from loose files by torchvision's ImageFolder, in turn, one process, warm cache."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from torchvision.datasets import ImageFolder

from benchmarks.cifar10 import FOLDER, jpegs
from benchmarks.rows import Row
from components.datasets.dataset import Dataset
from components.datasets.decoding import upright_rgb
from components.datasets.headers import open_image
from components.datasets.importing import import_dataset

NUM_READS = 5000
NUM_ROUNDS = 9


def rows() -> list[Row]:
    """Measure."""
    loose = ImageFolder(str(jpegs() / "train"))
    out = FOLDER / "shards"
    if not (out / "cifar10train").is_dir():
        import_dataset(str(jpegs() / "train"), "cifar10train", root=out)
    order = np.random.default_rng(0).permutation(len(loose))[:NUM_READS].tolist()
    with Dataset.of_folder(out / "cifar10train") as dataset:
        paths = [path for path, _ in loose.samples]
        if [Path(path).name for path in paths[:100]] != [Path(name).name for name in dataset.table.column("image_id").to_pylist()[:100]]:
            raise RuntimeError("the two hold their images in different orders")
        if np.asarray(_shards_image(dataset, 7)).tolist() != np.asarray(loose[7][0]).tolist():
            raise RuntimeError("the two decode to different pixels")
        raw = _seconds([dataset.image, lambda index: _read(paths[index])], order)
        decoded = _seconds([lambda index: _shards_image(dataset, index), lambda index: loose[index]], order)
    return [
        _row("Random reads, bytes alone: shards against open() of loose files", raw, "the same 5,000 images, in turn, median of 9 rounds"),
        _row("Random reads, decoded: shards against ImageFolder", decoded, "as above; libjpeg takes most of it on both sides"),
    ]


def _row(name: str, seconds: list[float], note: str) -> Row:
    ours, theirs = seconds
    measured = f"{ours * 1e6:.1f} µs an image against {theirs * 1e6:.1f} µs: {theirs / ours:.2f}×"
    return Row(name, measured, "1.0×", theirs / ours, theirs >= ours, note)


def _shards_image(dataset: Dataset, index: int) -> Image.Image:
    return upright_rgb(open_image(dataset.image(index)))


def _read(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 - as ImageFolder does
        return file.read()


def _seconds(ways: list[Callable[[int], object]], order: list[int]) -> list[float]:
    """Return the seconds an image takes by each way, the median of rounds that go through the ways in turn."""
    found: list[list[float]] = [[] for _ in ways]
    for _ in range(NUM_ROUNDS):
        for times, way in zip(found, ways, strict=True):
            started = time.perf_counter()
            for index in order:
                way(index)
            times.append((time.perf_counter() - started) / len(order))
    return [float(np.median(times)) for times in found]
