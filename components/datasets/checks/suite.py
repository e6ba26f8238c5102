"""What is checked, and what a family of checks gives: columns and tables, and the rules that they have to keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from components.datasets.annotations import FlatBoxes, flat_boxes
from components.datasets.checks.config import Level, ValidateConfig
from components.datasets.expectations import Rule
from components.datasets.manifest import ANNOTATIONS, DatasetInfo, frame_of, text_columns_as_objects

#: The annotation columns that a task cannot do without; the first says whether an image is annotated.
NEEDED: dict[str, tuple[str, ...]] = {"classification": ("label",), "detection": ("boxes_xyxy", "box_labels"), "segmentation": ("mask_sha256",)}
#: The tables that are judged, in the order of the report, and the column that names a row of each.
KEYS = {"columns": "column", "dataset": "dataset", "classes": "class", "images": "image_id", "drift": "statistic", "left_out": "image_id"}

Texts = npt.NDArray[np.object_]


@dataclass(frozen=True)
class Subject:
    """A dataset under check; N images.

    Attributes:
        info: Its name, task and classes.
        table: Its manifest.
        measurements: What was measured of the images, a row each (see `files.COLUMNS`).
        config: What it has to be.
    """

    info: DatasetInfo
    table: pa.Table
    measurements: pa.Table
    config: ValidateConfig

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The manifest's image_id, split, group and label."""
        return frame_of(self.table.select(["image_id", "split", "group", "label"]))

    @cached_property
    def measured(self) -> pd.DataFrame:
        """What was measured, but for the texts that stand in the manifest, too."""
        return text_columns_as_objects(self.measurements.drop_columns(["image_id", "sha256"]))

    @cached_property
    def image_ids(self) -> Texts:
        """The ids, N texts."""
        return self.frame["image_id"].to_numpy(dtype=object)

    @cached_property
    def same_bytes(self) -> npt.NDArray[np.int64]:
        """A number for each image; those with the same bytes have the same."""
        return np.asarray(self.table.column("sha256").combine_chunks().dictionary_encode().indices, dtype=np.int64)

    @cached_property
    def boxes(self) -> FlatBoxes:
        """All boxes of all images."""
        return flat_boxes(self.table)

    @property
    def needed(self) -> tuple[str, ...]:
        """The annotation columns that the task cannot do without; those that are there, for a task that is not known here."""
        return NEEDED.get(self.info.task, tuple(name for name in ANNOTATIONS if self.has(name)))

    def has(self, annotation: str) -> bool:
        """Tell whether an annotation column says something of at least one image."""
        return bool(self.table.column(annotation).null_count < len(self))

    def watches(self, *keys: str) -> bool:
        """Tell whether one of these rules is not off."""
        return any(self.level(key) != "off" for key in keys)

    def level(self, key: str) -> Level:
        """Return what a broken rule does."""
        level: Level = getattr(self.config.levels, key)
        return level

    def texts(self, places: npt.NDArray[np.int64], found: Any) -> pd.Series[Any]:
        """Return a column of N texts: what was found at these places (int64, ascending or not), None elsewhere."""
        if not len(places):
            return self._nothing
        column = self._nothing.to_numpy(copy=True)
        column[places] = found
        return pd.Series(column, dtype=object)

    @cached_property
    def _nothing(self) -> pd.Series[Any]:
        return pd.Series(np.full(len(self), None, dtype=object), dtype=object)

    def clean(self, key: str, name: str, column: str, expected: str, max_share: float = 0.0) -> Rule:
        """Return the rule that a column of texts says nothing of any image, or of few."""
        options = {"column": column, "mostly": 1 - max_share}
        return Rule(key, name, "images", "ExpectColumnValuesToBeNull", options, expected, self.level(key))

    def bounds(
        self, key: str, name: str, column: str, low: float, high: float | None, expected: str, *, table: str = "images", max_share: float = 0.0
    ) -> Rule:
        """Return the rule that the numbers of a column (float64 or int64: others are judged in a loop) are in bounds, or most of them."""
        options = {"column": column, "min_value": low, "max_value": high, "mostly": 1 - max_share}
        return Rule(key, name, table, "ExpectColumnValuesToBeBetween", options, expected, self.level(key))


@dataclass
class Part:
    """What a family of checks gives.

    Attributes:
        columns: Of the table `images`, one value an image.
        tables: Further tables by name, see `KEYS`; one without rows is left out, with its rules.
        rules: About these, and about what other families gave before.
    """

    columns: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)


def between(low: float, high: float | None, unit: str = "") -> str:
    """Return bounds for people."""
    return (f"at least {low:g}" if high is None else f"{low:g} to {high:g}") + (f" {unit}" if unit else "")
