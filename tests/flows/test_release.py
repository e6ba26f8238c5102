"""What follows the stages: how its lineage is told."""

from __future__ import annotations

from components.records import DatasetRef
from components.registry.lineage import Lineage
from flows.release import lineage_lines


def test_a_lineage_is_told_as_people_read_it() -> None:
    lineage = Lineage(
        git_commit="ab12",
        git_dirty=False,
        git_changed=[],
        dataset=DatasetRef(name="digits", version="1.0.0", manifest_digest="cd", num_images=3),
        dvc_hash=None,
        dvc_lock_sha256=None,
        params_sha256="ef",
        run_id=None,
        params={"train": {"lr": 0.1, "init": None}},
        training_digest="01",
        settings={},
        libraries={"torch": "2"},
        python="3.11",
    )
    assert lineage_lines(lineage) == {
        **{"git_commit": "ab12", "git_dirty": "no", "params_sha256": "ef", "params": "train:\n  lr: 0.1\n  init:", "training_digest": "01"},
        **{"libraries": "torch: '2'", "python": "3.11"},
    }
