"""Check against another version of the same dataset: is this another population?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from components.datasets.annotations import flat_boxes
from components.datasets.checks.drift import Finding
from components.datasets.checks.files import embeddings_of
from components.datasets.checks.roles import Version, offsets_of_labels
from components.datasets.checks.suite import Part, Subject
from components.datasets.expectations import Rule

_MEASURES = ("height", "width", "brightness", "contrast", "sharpness")
_SCOPES = {"version": "all images", "added": "added images"}


def version_of(table: pa.Table, measured: pa.Table) -> Version:
    """Return what drift is measured by.

    Args:
        table: The manifest.
        measured: What was measured of its images, embeddings too, in the same order.
    """
    labels = table.column("label")
    if labels.null_count < len(labels):
        offsets, names = offsets_of_labels(pd.Series(labels.to_pylist(), dtype=object))
    else:
        flat = flat_boxes(table)
        offsets, names = flat.offsets, flat.labels
    measures = pd.DataFrame({name: measured.column(name).to_pandas().astype("float64") for name in _MEASURES})
    return Version(np.asarray(table.column("sha256").to_pylist(), dtype=object), offsets, names, measures, embeddings_of(measured))


def examine(subject: Subject, findings: list[Finding], reference: str) -> Part:
    """Check what `drift` found against `reference`, a version's name."""
    table = pd.DataFrame(
        {
            "statistic": [f"{finding.name} of {_SCOPES[finding.scope]}" for finding in findings],
            "drift": pd.Series([finding.change if finding.flagged else None for finding in findings], dtype=object),
        }
    )
    rule = Rule(
        "drift", f"the images are as in {reference}", "drift", "ExpectColumnValuesToBeNull", {"column": "drift"}, "no drift", subject.level("drift")
    )
    return Part({}, {"drift": table}, [rule])
