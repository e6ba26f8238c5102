from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from components.datasets.checks.change import examine, version_of
from components.datasets.checks.drift import Finding
from components.datasets.checks.embedding import DIMENSIONS
from components.datasets.checks.suite import Subject

Make = Callable[..., Subject]


def with_embeddings(subject: Subject) -> pa.Table:
    column = pa.array([np.full(DIMENSIONS, row, np.float32) for row in range(len(subject))], pa.list_(pa.float32(), DIMENSIONS))
    return subject.measurements.append_column("embedding", column)


def test_a_version_has_one_label_an_image_or_one_a_box(make_subject: Make) -> None:
    labelled = make_subject({"label": "cat"}, {}, {"label": "dog", "height": None, "decodes": False})
    version = version_of(labelled.table, with_embeddings(labelled))
    assert version.offsets.tolist() == [0, 1, 1, 2]
    assert version.labels.tolist() == ["cat", "dog"]
    assert version.embeddings is not None
    assert version.embeddings[:, 0].tolist() == [0, 1, 2]
    boxed = make_subject({"boxes_xyxy": [[0, 0, 1, 1]] * 2, "box_labels": ["cat", "dog"]}, {}, task="detection")
    version = version_of(boxed.table, with_embeddings(boxed))
    assert version.offsets.tolist() == [0, 2, 2]
    assert version.measures["height"].tolist() == [40, 40]


def test_only_what_is_flagged_breaks_the_rule(make_subject: Make) -> None:
    findings = [
        Finding("version", "brightness", 0.5, 0.001, 0.5, "brightness 0.47 → 0.38", True),
        Finding("added", "contrast", 0.01, 0.9, 0.01, "contrast 0.2 → 0.2", False),
    ]
    part = examine(make_subject({}), findings, "pets 1.0.0")
    assert part.tables["drift"]["statistic"].tolist() == ["brightness of all images", "contrast of added images"]
    assert part.tables["drift"]["drift"].tolist() == ["brightness 0.47 → 0.38", None]
    assert [rule.name for rule in part.rules] == ["the images are as in pets 1.0.0"]
