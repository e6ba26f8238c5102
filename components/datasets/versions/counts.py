"""How often each class is annotated, over a million rows."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc


def annotation_counts(table: pa.Table) -> dict[str, int]:
    """Return how often each class is annotated: images where images have labels, else boxes. Of a manifest's columns label and box_labels."""
    labels = table.column("label").combine_chunks()
    if labels.null_count == len(labels):
        labels = pc.list_flatten(table.column("box_labels").combine_chunks())
    counted = pc.value_counts(labels.drop_null())
    return {str(entry["values"]): int(entry["counts"]) for entry in counted.to_pylist()}


def in_order(counts: dict[str, int], classes: Iterable[str]) -> dict[str, int]:
    """Return the counts of all classes in their order, those that are none after them."""
    names = dict.fromkeys([*classes, *sorted(counts)])
    return {name: counts.get(name, 0) for name in names}
