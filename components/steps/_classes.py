"""Which classes the images show, and on which sides of a split they stand."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from components.datasets.annotations import MASK_PNG, classes_shown
from components.datasets.manifest import read_dataset
from components.datasets.shards import ShardReader
from components.errors import DataError
from components.progress import bar

log = logging.getLogger(__name__)

_NAMED = 5


def look(data: Path, frame: pd.DataFrame) -> list[frozenset[str]]:
    """Return the classes that each row of a dataset's manifest shows; masks are looked into.

    Raises:
        DataError: A mask is damaged.
    """
    classes = read_dataset(data).classes
    if frame["mask_shard"].isna().all():
        return classes_shown(frame, classes)
    shown: list[frozenset[str]] = []
    with ShardReader(data) as shards, bar("look into masks", len(frame)) as progress:
        for shard, offset, length in zip(frame["mask_shard"], frame["mask_offset"], frame["mask_length"], strict=True):
            content = None if shard is None else shards.read(str(shard), int(offset), int(length))
            shown += classes_shown(pd.DataFrame({MASK_PNG: [content]}), classes)
            progress.update(1)
    return shown


def check_classes(data: Path, frame: pd.DataFrame, sides: pd.Series, shown: Sequence[frozenset[str]] | None) -> None:
    """Look that each class stands on every side: without training images it is refused, without others it is told.

    Args:
        data: The dataset's folder.
        frame: Its manifest.
        sides: Of each row, None where it is left out.
        shown: What `look` returned; None: nobody has looked, and into masks `augment` looks.

    Raises:
        DataError: A class has no training image.
    """
    if shown is None and frame["mask_shard"].notna().any():
        return
    classes = read_dataset(data).classes
    of_class: dict[str, Counter[str]] = {name: Counter() for name in classes}
    for side, names in zip(sides, classes_shown(frame, classes) if shown is None else shown, strict=True):
        for name in names & of_class.keys() if side is not None else ():
            of_class[name][side] += 1
    without = [name for name in classes if not of_class[name]["train"]]
    if without:
        raise DataError(f"no training image of {_some(without)}: each class needs one; add images, set split.stratify, or change split.seed")
    for side in ("val", "test"):
        missing = [f"{name} ({of_class[name].total()} images)" for name in classes if not of_class[name][side]]
        if missing:
            log.warning("split: no %s image of %s. Set split.stratify, or add images", side, _some(missing))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
