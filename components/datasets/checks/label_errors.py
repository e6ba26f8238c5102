"""Likely wrong labels: cleanlab over the out-of-fold probabilities of a quick model, ranked for a person to look at.

The model is a ridge regression on features that need no network and no training (`_features`), solved in closed form, so that each
image is judged by a model that never saw it. Whether an image and its mirror image are described alike is tried on a sample: it helps
photographs and would blind the model to left and right. Scores become probabilities by one temperature, fitted to the out-of-fold
likelihood: Guo et al. 2017, "On calibration of modern neural networks" (ICML).

**How it ranks.** By cleanlab's `self_confidence`, the calibrated probability of the given label: Northcutt, Jiang and Chuang 2021,
"Confident learning: estimating uncertainty in dataset labels" (JAIR 70). With 2% of CIFAR-10's labels flipped it came to a higher
average precision than `normalized_margin` (0.50 against 0.36, measured with 256 filters; benchmarks/label_errors.py measures what is
used now). Which images to look at is cleanlab's `find_label_issues`: with a weak model they are many, so look from the top.

**Whose labels are judged.** Single labels of whole images. For the boxes of a detection dataset, give the crops as thumbnails and the
boxes' classes as labels. A class with fewer images (or groups) than folds is left out: its labels are not judged, nor is it suggested.
Fewer than 50 images, or fewer than two classes, say nothing. More than 50,000 images are judged in blocks of at most that, drawn at
random class by class, each by a model of its own: memory is bounded (about 3 GB beside the thumbnails), time grows with the images.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from components.datasets.checks._features import MIN_SIDE, describe
from components.datasets.checks._ridge import out_of_fold
from components.datasets.contact_sheet import Pixels, contact_sheet
from components.errors import DataError

log = logging.getLogger(__name__)

Indices = npt.NDArray[np.int64]

COLUMNS = ["index", "label", "suggested", "quality", "issue"]
MIN_IMAGES = 50
#: So many images have a model of their own.
BLOCK = 50_000
_NUM_SHOWN = 24
_NUM_TRIED = 2000


def thumbnail(image: Image.Image, size: int = 32, channels: int = 3) -> Pixels:
    """Bring a decoded image to the model's size, averaged over areas; its aspect ratio is not kept.

    Args:
        image: Upright; of any mode and size.
        size: In pixels.
        channels: 1 or 3.

    Returns:
        uint8 (size, size, channels).
    """
    mode = "L" if channels == 1 else "RGB"
    known = image if image.mode == mode else image.convert(mode)
    larger = min(known.size) >= size
    resized = known.resize((size, size), Image.Resampling.BOX if larger else Image.Resampling.BILINEAR, reducing_gap=2.0 if larger else None)
    return np.asarray(resized, dtype=np.uint8).reshape(size, size, channels)


class _Images(NamedTuple):
    """What is known of all images."""

    thumbnails: npt.NDArray[np.uint8]
    labels: Indices
    owners: Indices
    """Which images belong together, from 0."""


def suspects(
    thumbnails: npt.NDArray[np.uint8],
    labels: Sequence[int] | Indices,
    classes: Sequence[str],
    seed: int = 0,
    folds: int = 5,
    groups: Sequence[str] | npt.NDArray[np.generic] | None = None,
) -> pd.DataFrame:
    """Rank images by how unlikely their label is.

    Args:
        thumbnails: uint8 (N, S, S, C), S at least 8, C 1 or 3; see `thumbnail`. A memory-mapped file will do.
        labels: N indices into classes.
        classes: Their names.
        seed: Of folds, blocks and features.
        folds: Each image is judged by a model of the other folds; at least 2.
        groups: N names; images with the same one (copies of an image, a patient, a video) are never on both sides of a fold. By default
            each image is its own.

    Returns:
        A row for each image that was judged, the worst first: `index` (into thumbnails), `label` and `suggested` (the most probable
        class; may be the label), `quality` (0..1, the probability of the label) and `issue` (whether cleanlab counts it as wrong).
        `attrs["notes"]` says in words what was not judged.

    Raises:
        DataError: Labels, groups and thumbnails do not go together.
    """
    given = np.asarray(labels, dtype=np.int64)
    _refuse_odd(thumbnails, given, classes, folds, groups)
    owners = np.arange(len(given)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1].astype(np.int64)
    notes: list[str] = []
    parts: list[pd.DataFrame] = []
    if len(given) < MIN_IMAGES:
        notes.append(f"{len(given)} images are too few to find wrong labels: at least {MIN_IMAGES} are needed")
    else:
        num_blocks = -(-len(given) // BLOCK)
        block = _deal(given, owners, num_blocks, seed)
        for number in range(num_blocks):
            part, said = _judge(np.flatnonzero(block == number), _Images(thumbnails, given, owners), classes, folds, seed)
            notes += said
            parts += [] if part is None else [part]
    table = pd.concat(parts) if parts else pd.DataFrame({name: [] for name in COLUMNS})
    table = table.sort_values(["quality", "index"], ignore_index=True)
    table = table.astype({"index": "int64", "quality": "float64", "issue": "bool", "label": "str", "suggested": "str"})
    table.attrs["notes"] = list(dict.fromkeys(notes))
    for note in table.attrs["notes"]:
        log.warning("%s", note)
    return table


def report(suspects: pd.DataFrame, image_ids: Sequence[str], read_image: Callable[[str], Pixels | None], out: Path) -> None:
    """Write `label_errors.csv` and a picture of the worst, `label_errors.png`. No label is changed and no image removed.

    Args:
        suspects: What `suspects` returned; those with `issue` are written.
        image_ids: By index.
        read_image: By id uint8 (H, W, 3) or (H, W, 1), None where it cannot be shown; asked for the 24 worst alone.
        out: The folder; made where it is missing. The picture is written only if there is something to show.
    """
    out.mkdir(parents=True, exist_ok=True)
    found = suspects[suspects["issue"]]
    found = found.assign(image_id=np.asarray(image_ids, dtype=object)[found["index"]])
    found[["image_id", "label", "suggested", "quality"]].to_csv(out / "label_errors.csv", index=False, float_format="%.6f", lineterminator="\n")
    picture = out / "label_errors.png"
    picture.unlink(missing_ok=True)
    worst = found.head(_NUM_SHOWN)
    if len(worst):
        rows = list(zip(worst["image_id"], worst["label"], worst["suggested"], worst["quality"], strict=True))
        captions = [f"{name}\n{label}? Rather {suggested} ({quality:.1%})" for name, label, suggested, quality in rows]
        title = f"{len(found)} labels to look at, the {len(worst)} least likely; in brackets how probable the label is"
        contact_sheet([read_image(name) for name in worst["image_id"]], captions, title).save(picture)


def _refuse_odd(
    thumbnails: npt.NDArray[np.uint8], labels: Indices, classes: Sequence[str], folds: int, groups: Sequence[str] | npt.NDArray[np.generic] | None
) -> None:
    if thumbnails.ndim != 4 or thumbnails.dtype != np.uint8 or thumbnails.shape[1] != thumbnails.shape[2] or thumbnails.shape[1] < MIN_SIDE:
        raise DataError(
            f"thumbnails are {thumbnails.dtype} {thumbnails.shape}; expected uint8 (N, S, S, C), S at least {MIN_SIDE}: `thumbnail` makes them"
        )
    if len(labels) != len(thumbnails) or (groups is not None and len(groups) != len(thumbnails)):
        counted = f"{len(labels)} labels" + ("" if groups is None else f" and {len(groups)} groups")
        raise DataError(f"{counted} for {len(thumbnails)} thumbnails: give one for each")
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(classes):
        raise DataError(f"labels from {labels.min()} to {labels.max()} for {len(classes)} classes: give indices from 0 to {len(classes) - 1}")
    if folds < 2:
        raise DataError(f"{folds} folds: at least 2 are needed, so that a label is judged by a model that never saw it")


def _deal(labels: Indices, owners: Indices, num_parts: int, seed: int) -> Indices:
    """Deal images into parts of about one size, class by class, those of one owner into one part; return each image's part."""
    first = np.unique(owners, return_index=True)[1]
    shuffled = np.random.default_rng(seed).permutation(len(first))
    in_order = shuffled[np.argsort(labels[first][shuffled], kind="stable")]
    part = np.empty(len(first), np.int64)
    part[in_order] = np.arange(len(first)) % num_parts
    return part[np.searchsorted(owners[first], owners)]


def _judge(chosen: Indices, images: _Images, classes: Sequence[str], folds: int, seed: int) -> tuple[pd.DataFrame | None, list[str]]:
    """Judge the labels of one block; also say what was not judged."""
    labels, owners = images.labels[chosen], images.owners[chosen]
    num_owners = np.bincount(np.unique(np.stack([labels, owners]), axis=1)[0], minlength=len(classes))
    notes = [
        f"labels '{classes[index]}' are not judged: {num_owners[index]} images or groups of it, at least {folds} (one a fold) are needed"
        for index in np.flatnonzero((num_owners > 0) & (num_owners < folds)).tolist()
    ]
    known = np.flatnonzero(num_owners >= folds)
    kept = np.isin(labels, known)
    chosen, owners, labels = chosen[kept], owners[kept], np.searchsorted(known, labels[kept])
    if len(known) < 2 or len(chosen) < MIN_IMAGES:
        several = "class" if len(known) == 1 else "classes"
        return None, [
            *notes,
            f"{len(known)} {several} with {len(chosen)} images: wrong labels are found among at least two classes and {MIN_IMAGES} images",
        ]
    fold = _deal(labels, owners, folds, seed)
    probabilities = _probabilities(images.thumbnails[chosen], labels, fold, seed)

    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    names = np.asarray(classes, dtype=object)[known]
    columns = {
        "index": chosen,
        "label": names[labels],
        "suggested": names[probabilities.argmax(axis=1)],
        "quality": get_label_quality_scores(labels, probabilities, method="self_confidence"),
        "issue": find_label_issues(labels, probabilities, filter_by="prune_by_noise_rate", n_jobs=1),
    }
    return pd.DataFrame(columns), notes


def _probabilities(thumbnails: npt.NDArray[np.uint8], labels: Indices, fold: Indices, seed: int) -> npt.NDArray[np.float64]:
    """Return each image's class probabilities by the model of the other folds, float64 (N, classes).

    Whether a picture and its mirror image are described alike is tried on a sample: a cat is one either way, an arrow to the left is not.
    """
    some = np.random.default_rng(seed).permutation(len(labels))[:_NUM_TRIED]
    names = np.unique(labels[some], return_inverse=True)[1]
    plain, mirrored = (out_of_fold(describe(thumbnails[some], seed, either), names, fold[some]) for either in (False, True))
    better = min(plain, mirrored, key=lambda found: found.loss)
    if len(some) == len(labels):  # the sample is all there is
        found = np.empty_like(better.probabilities)
        found[some] = better.probabilities
        return found
    return out_of_fold(describe(thumbnails, seed, mirrored=better is mirrored), labels, fold).probabilities
