"""Feeding: prepared CIFAR-10 with flip and crop to float batches, against ImageFolder + DataLoader with two workers."""

from __future__ import annotations

import time

import torch

from benchmarks import cifar10
from benchmarks.pairs import interleaved
from benchmarks.rows import Row
from components.augmentation.random_policy import augment, to_float
from components.datasets.policy import Policy
from components.training.feed import Feed
from components.training.runtime import threads

BATCH, NUM_IMAGES, TARGET = 128, 10_240, 10.0


def ours() -> float:
    """Return images per second out of the memory-mapped file, as the loop reads them, on one thread."""
    side, policy = cifar10.prepared().split("train"), Policy(horizontal_flip=0.5, crop=0.125)
    labels = side.rows["label"].tolist()
    feed = Feed(side.images, labels, side.order, BATCH, 0, torch.device("cpu"))
    generator = torch.Generator()
    with threads(1):
        began, count = time.perf_counter(), 0
        for images, _ in feed.batches(1):
            count += len(to_float(augment(images, policy, generator)))
        return count / (time.perf_counter() - began)


def theirs() -> float:
    """Return images per second of torchvision's own way, its workers' start left out."""
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    ways = [transforms.RandomHorizontalFlip(), transforms.RandomCrop(32, padding=4), transforms.ToTensor()]
    folder = datasets.ImageFolder(str(cifar10.jpegs() / "train"), transforms.Compose(ways))
    batches = iter(DataLoader(folder, batch_size=BATCH, shuffle=True, num_workers=2))
    next(batches)
    began, count = time.perf_counter(), 0
    while count < NUM_IMAGES:
        count += len(next(batches)[0])
    return count / (time.perf_counter() - began)


def rows() -> list[Row]:
    """Measure."""
    cifar10.prepared()
    pairs = interleaved(ours, theirs, 3, "feeding")
    measured = f"{pairs.ours:,.0f} against {pairs.theirs:,.0f} images/s: {pairs.ratio:.1f}× ({pairs.low:.1f} to {pairs.high:.1f})"
    return [
        Row(
            "feeding CIFAR-10 with flip and crop, against ImageFolder + DataLoader",
            measured,
            "10×",
            pairs.ratio,
            pairs.ratio >= TARGET,
            "one thread against two workers",
        )
    ]
