"""Check of the manifest itself: its columns and their types, ids that stand twice, the dataset's size, what the import left out."""

from __future__ import annotations

import numpy as np
import pandas as pd

from components.datasets.checks.suite import Part, Subject, between
from components.datasets.expectations import Rule
from components.datasets.manifest import ANNOTATIONS, COLUMNS

_ALWAYS_GIVEN = ("image_id", "sha256", "shard", "offset", "length")


def examine(subject: Subject, left_out: pd.DataFrame) -> Part:
    """Check the manifest.

    Args:
        subject: The dataset.
        left_out: What its import could not take: image_id, reason.
    """
    expected = {**COLUMNS, **ANNOTATIONS}
    schema, table = subject.table.schema, subject.table
    columns = pd.DataFrame(
        {
            "column": list(schema.names),
            "type": [str(kind) for kind in schema.types],
            "wrong_type": pd.Series(
                [
                    f"{kind}, not {expected[name]}" if name in expected and kind != expected[name] else None
                    for name, kind in zip(schema.names, schema.types, strict=True)
                ],
                dtype=object,
            ),
            "missing": [table.column(name).null_count if name in _ALWAYS_GIVEN else 0 for name in schema.names],
        }
    )
    ids = pd.Series(subject.image_ids)
    repeated = np.flatnonzero(ids.duplicated(keep=False) & ids.notna())
    dataset = pd.DataFrame({"dataset": [subject.info.name], "images": [len(subject)], "classes": [len(subject.info.classes)]})
    least = subject.config.min_images
    rules = [
        Rule(
            "missing_columns",
            "the manifest has its columns",
            "columns",
            "ExpectColumnDistinctValuesToContainSet",
            {"column": "column", "value_set": list(expected)},
            ", ".join(expected),
            subject.level("missing_columns"),
        ),
        Rule(
            "wrong_types",
            "its columns are of their types",
            "columns",
            "ExpectColumnValuesToBeNull",
            {"column": "wrong_type"},
            "the manifest's types",
            subject.level("wrong_types"),
        ),
        subject.bounds(
            "missing_values", f"{', '.join(_ALWAYS_GIVEN[:-1])} and {_ALWAYS_GIVEN[-1]} are given", "missing", 0, 0, "a value", table="columns"
        ),
        subject.clean("repeated_ids", "image ids are unique", "repeated_id", "each id once"),
        subject.bounds("num_images", "there are enough images", "images", least, None, between(least, None), table="dataset"),
        Rule(
            "left_out",
            "the import took everything",
            "left_out",
            "ExpectColumnValuesToBeNull",
            {"column": "reason"},
            "nothing",
            subject.level("left_out"),
        ),
    ]
    if "label" in subject.needed:
        rules.append(subject.bounds("num_classes", "there are two classes or more", "classes", 2, None, between(2, None), table="dataset"))
    columns_of_images = {"repeated_id": subject.texts(repeated, "it stands several times")}
    return Part(columns_of_images, {"columns": columns, "dataset": dataset, "left_out": left_out}, rules)
