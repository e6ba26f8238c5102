"""Wrong labels found: 2% of the labels flipped on purpose, how high the ranking puts them. Quality of digits and of CIFAR-10."""

from __future__ import annotations

import io
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks import cifar10
from benchmarks.rows import Row
from components.datasets.checks.label_errors import report, suspects, thumbnail
from components.datasets.formats.sklearn import digits
from components.progress import bar
from components.training.runtime import threads

SHARE, SEED = 0.02, 0
PICTURES = Path(".darkroom/benchmarks/label_errors")


def measured(name: str, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], classes: list[str], target: float) -> Row:
    """Flip labels uniformly to another class, rank on one thread, and hold the average precision against the target."""
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(SEED)
    flipped = np.zeros(len(labels), bool)
    flipped[rng.choice(len(labels), round(SHARE * len(labels)), replace=False)] = True
    given = np.where(flipped, (labels + rng.integers(1, len(classes), len(labels))) % len(classes), labels)
    began = time.process_time()
    with threads(1):
        found = suspects(images, given, classes)
    seconds = time.process_time() - began
    wrong = flipped[found["index"]]
    precision = float(average_precision_score(wrong, -found["quality"]))
    issues = found["issue"].to_numpy()
    right = np.asarray(found["suggested"] == np.asarray(classes)[labels[found["index"]]])
    report(found, [f"{index}" for index in range(len(labels))], lambda image_id: images[int(image_id)], PICTURES / name)
    note = (
        f"2% flipped, {len(labels):,} images, out-of-fold accuracy {right.mean():.1%}; "
        f"{issues.sum():,} to look at hold {issues[wrong].mean():.0%} of the flipped; {seconds:.0f} s of one core"
    )
    return Row(f"likely wrong labels: {name}", f"average precision {precision:.3f}", f"{target}", precision / target, precision >= target, note)


def cifar10_train() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], list[str]]:
    """Return the 50,000 training images with their labels, which have some errors of their own."""
    folder = cifar10.jpegs() / "train"
    classes = sorted(path.name for path in folder.iterdir())
    paths = [(path, index) for index, name in enumerate(classes) for path in sorted((folder / name).iterdir())]
    images = np.empty((len(paths), 32, 32, 3), np.uint8)
    with bar("reading CIFAR-10", len(paths)) as progress:
        for row, (path, _) in enumerate(paths):
            with Image.open(path) as image:
                images[row] = thumbnail(image)
            progress.update()
    return images, np.array([index for _, index in paths], dtype=np.int64), classes


def rows() -> list[Row]:
    """Measure."""
    found = [(image.content, image.row["label"]) for image in digits()]
    images = np.stack([thumbnail(Image.open(io.BytesIO(content)), channels=1) for content, _ in found])
    labels = np.array([int(label) for _, label in found], dtype=np.int64)
    names = [str(digit) for digit in range(10)]
    return [measured("digits", images, labels, names, 0.8), measured("CIFAR-10", *cifar10_train(), 0.5)]
