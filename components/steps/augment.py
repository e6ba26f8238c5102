"""augment: builds what training reads. Resized once, stored for fast reading, rare classes balanced; a preview of the random policy for people."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field

from components.config import Section, TaskConfig
from components.datasets.annotations import MASK_PNG, classes_shown
from components.datasets.dataset import with_masks
from components.datasets.manifest import dataset_ref, given_annotations, metadata_columns, read_dataset, read_manifest
from components.datasets.parallel import map_batches, num_threads_for
from components.datasets.policy import Policy
from components.datasets.prepared import ORDER, POLICY, RECORD, SPLITS, Prepared, images_file, write_split
from components.datasets.shards import ShardReader
from components.datasets.splits import read_splits
from components.errors import ConfigError, DataError
from components.files import replacing
from components.progress import Progress, bar
from components.records import PreparedRecord, Preprocess
from components.serving.image import decode, fit
from components.steps._preview import draw_preview

log = logging.getLogger(__name__)

Images = dict[tuple[int, int], npt.NDArray[np.uint8]]
"""By height and width a batch of images, uint8 (n, H, W, C)."""

_BATCH = 64
_EXPONENTS = {"none": 0.0, "sqrt": 0.5, "full": 1.0}


class AugmentConfig(Section):
    """The section `augment` of params.yaml."""

    section: ClassVar[str] = "augment"
    balance: Literal["none", "sqrt", "full"] = Field(
        default="none",
        description="how often rare classes are shown: as they come, nearer to the largest class by the square root, or as often as it",
    )
    policy: Policy = Policy()


def augment(config: AugmentConfig, task: TaskConfig, data: Path, splits: Path, out: Path, preview: Path) -> PreparedRecord:
    """Write what training reads.

    Args:
        config: Balance and random policy.
        task: Size, channels and how to resize.
        data: The dataset's folder.
        splits: split's Parquet of image_id and split.
        out: The folder for `components.datasets.prepared`.
        preview: The folder for policy.png, originals beside augmented versions.

    Raises:
        DataError: An image is missing or damaged; a row has no side.
        ConfigError: The dataset is for another task.
    """
    info, frame = read_dataset(data), read_manifest(data)
    if info.task != task.name:
        raise ConfigError(f"task.name is {task.name}, but {data} is labelled for {info.task}; change params.yaml or the dataset")
    sides = read_splits(splits)
    if list(sides.index) != list(frame["image_id"]):
        raise DataError(f"{splits} is about other images than {data} holds now; run split again")
    sizes = list(dict.fromkeys([task.size_hw, task.finetune_size_hw]))
    grouped = ["group"] if frame["group"].notna().any() else []
    kept = ["image_id", "sha256", "height", "width", *grouped, *given_annotations(frame), *metadata_columns(frame)]
    rows = {side: frame[(sides == side).to_numpy()].reset_index(drop=True) for side in SPLITS}
    with replacing(out) as folder:
        with ShardReader(data) as shards, bar("prepare images", sum(len(part) for part in rows.values())) as progress:
            for side, part in rows.items():
                shapes = {size: (len(part), *size, task.channels) for size in sizes}
                whole = with_masks(part, shards)
                columns = [*kept, *(column for column in (MASK_PNG,) if column in whole)]
                write_split(folder / side, whole[columns], _counted(_prepared(part, shards, task, sizes), progress), shapes)
                if side == "train":
                    shown = classes_shown(whole, info.classes)
        if "mask_sha256" in kept:  # into masks split has not looked
            _refuse_unseen(shown, info.classes)
        np.save(folder / "train" / ORDER, balanced_order(shown, config.balance))
        (folder / POLICY).write_text(json.dumps(config.policy.model_dump(), indent=2, sort_keys=True) + "\n", encoding="utf-8")
        mean, std = _statistics(np.load(images_file(folder / "train", task.size_hw), mmap_mode="r"))
        record = PreparedRecord(
            task=task.name,
            dataset=dataset_ref(data, frame),
            classes=info.classes,
            channels=task.channels,
            resize=task.resize,
            sizes=sizes,
            mean=mean,
            std=std,
            counts={side: len(part) for side, part in rows.items()},
            training_digest=hashlib.sha256("\n".join(sorted(rows["train"]["sha256"])).encode()).hexdigest(),
        )
        record.save(folder / RECORD)
        with replacing(preview) as pictures:
            pictures.mkdir(parents=True)
            draw_preview(Prepared.open(folder), config.policy, pictures / "policy.png")
    log.info(
        "augment: %s images at %s px",
        ", ".join(f"{count} {side}" for side, count in record.counts.items()),
        " and ".join(f"{height}×{width}" for height, width in sizes),
    )
    return record


def balanced_order(shown: Sequence[frozenset[str]], balance: str) -> npt.NDArray[np.int64]:
    """Return the indices of one epoch: an image is shown (m/n)^e times, e = 0, ½ or 1, with n the images of its rarest class and m of the commonest.

    So each class of a classification is shown n·(m/n)^e times; for images of several classes it is the repeat factor of Gupta et al. 2019
    (LVIS, arXiv:1908.03195). An image of no class is shown once.

    Args:
        shown: The classes that each image shows.
        balance: none, sqrt or full.
    """
    counts = Counter(name for names in shown for name in names)
    most = max(counts.values(), default=1)
    rarest = pd.Series([min(names, key=lambda name: (counts[name], name), default=None) for names in shown], dtype=object)
    parts = [np.flatnonzero(rarest.isna())]
    for name in sorted(rarest.dropna().unique()):
        images = np.flatnonzero(rarest == name)
        parts.append(np.resize(images, int(np.rint(len(images) * (most / counts[name]) ** _EXPONENTS[balance]))))
    return np.sort(np.concatenate(parts)).astype(np.int64)


def _refuse_unseen(shown: Sequence[frozenset[str]], classes: Sequence[str]) -> None:
    unseen = [name for name in classes if not any(name in names for names in shown)]
    if unseen:
        raise DataError(f"no training image of {', '.join(unseen[:5])}: each class needs one; add images or change split.seed")


def _prepared(rows: pd.DataFrame, shards: ShardReader, task: TaskConfig, sizes: list[tuple[int, int]]) -> Iterator[Images]:
    """Yield the images batch by batch, decoded once for all sizes."""
    wanted = {size: Preprocess(size_hw=size, channels=task.channels, resize=task.resize) for size in sizes}
    places = list(rows[["image_id", "shard", "offset", "length"]].itertuples(index=False, name=None))

    def work(batch: Sequence[tuple[str, str, int, int]]) -> Images:
        images = {size: np.empty((len(batch), *size, task.channels), np.uint8) for size in wanted}
        for index, (image_id, shard, offset, length) in enumerate(batch):
            try:
                pixels = decode(shards.read(shard, offset, length))
            except DataError as error:
                raise DataError(f"{image_id}: {error}") from error
            for size, preprocess in wanted.items():
                images[size][index] = fit(pixels, preprocess)
        return images

    return map_batches(work, places, _BATCH, num_threads_for(rows))


def _counted(batches: Iterator[Images], progress: Progress) -> Iterator[Images]:
    for batch in batches:
        yield batch
        progress.update(len(next(iter(batch.values()))))


def _statistics(images_NHWC: npt.NDArray[np.uint8]) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation per channel of values in 0..1, from exact sums."""
    channels = images_NHWC.shape[-1]
    histogram = np.zeros((channels, 256), np.int64)
    for start in range(0, len(images_NHWC), _BATCH):
        batch = images_NHWC[start : start + _BATCH]
        for channel in range(channels):
            histogram[channel] += np.bincount(batch[..., channel].ravel(), minlength=256)
    values = np.arange(256) / 255
    total = histogram.sum(axis=1)
    mean = histogram @ values / total
    std = np.sqrt(np.maximum(histogram @ values**2 / total - mean**2, 0))
    return [round(float(value), 6) for value in mean], [round(max(float(value), 1e-6), 6) for value in std]
