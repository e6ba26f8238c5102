"""A dataset under check, made of a few rows; no image, unless a test writes some."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from components.datasets.checks.config import ValidateConfig
from components.datasets.checks.files import COLUMNS as MEASURED
from components.datasets.checks.suite import Part, Subject
from components.datasets.manifest import ANNOTATIONS, COLUMNS, DatasetInfo

PLAIN = {
    "decodes": True,
    "height": 40,
    "width": 60,
    "channels": 3,
    "brightness": 0.5,
    "contrast": 0.2,
    "sharpness": 0.01,
    "format": "JPEG",
    "mode": "RGB",
    "frames": 1,
    "bits": 8,
    "alpha": False,
    "orientation": 1,
    "suffix_fits": True,
}


@pytest.fixture
def make_subject() -> Callable[..., Subject]:
    def make(*rows: dict[str, Any], task: str = "classification", classes: tuple[str, ...] = ("cat", "dog"), **config: Any) -> Subject:
        """Each row holds what is not plain, of the manifest or of what was measured."""
        manifest, measured = [], []
        for number, row in enumerate(rows):
            place = {
                "image_id": f"{number}.jpg",
                "sha256": f"{number:064x}",
                "shard": "000000.tar",
                "offset": 512,
                "length": 9,
                "height": 40,
                "width": 60,
            }
            known = {name: value for name, value in row.items() if name in COLUMNS or name in ANNOTATIONS}
            manifest.append({**place, **known})
            found = {name: value for name, value in row.items() if name in MEASURED and name not in known}
            measured.append({**PLAIN, "image_id": manifest[-1]["image_id"], "sha256": row.get("found_sha256", manifest[-1]["sha256"]), **found})
        table = pa.Table.from_pylist(manifest, pa.schema([*COLUMNS.items(), *ANNOTATIONS.items()]))
        info = DatasetInfo(name="pets", version="1.0.0", task=task, classes=list(classes))
        return Subject(info, table, pa.Table.from_pylist(measured, pa.schema(list(MEASURED.items()))), ValidateConfig(**config))

    return make


@pytest.fixture
def told() -> Callable[[Part, str], dict[int, str]]:
    """What a column of texts says, by row."""
    return lambda part, column: {row: text for row, text in enumerate(part.columns[column]) if text is not None}
