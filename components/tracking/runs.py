"""The runs of one pass of the flow: a parent, and nested under it a run for each stage that really ran.

All of this is written to journals at once and sent to MLflow when MLflow can take it. Journals: home/journals/RUN/run.jsonl and STAGE.jsonl.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import psutil

from components.tracking.journal import JournalTracker

Status = Literal["FINISHED", "FAILED", "KILLED"]

FLOW_RUN = "run"


def journal_path(home: Path, run: str, stage: str | None = None) -> Path:
    """Return where the journal of a flow run, or of one of its stages, is."""
    return home / "journals" / run / f"{stage or FLOW_RUN}.jsonl"


def start_run(home: Path, run: str, experiment: str, name: str, tags: Mapping[str, str] | None = None) -> JournalTracker:
    """Begin the journal of a flow run.

    Args:
        home: The `.darkroom` folder.
        run: A name that no other flow run has; a folder of the journals.
        experiment: The MLflow experiment: the dataset's name.
        name: What MLflow's page calls the run.
        tags: Anything a person may want to search for.
    """
    tracker = JournalTracker(journal_path(home, run))
    tracker.write("start", journal=run, experiment=experiment, name=name, tags=dict(tags or {}), **_owner())
    return tracker


def start_stage(home: Path, run: str, stage: str, dvc_key: str, tags: Mapping[str, str] | None = None) -> JournalTracker:
    """Begin the journal of a stage that really runs, nested under its flow run; `dvc_key` says which inputs, parameters and code it ran on."""
    tracker = JournalTracker(journal_path(home, run, stage))
    tags = {**(tags or {}), "darkroom.stage": stage, "darkroom.dvc_key": dvc_key}
    tracker.write("start", journal=f"{run}/{stage}", name=stage, tags=tags, **_owner())
    return tracker


def link_stage(home: Path, run: str, stage: str, dvc_key: str) -> None:
    """Say that a stage was skipped; its earlier run, found by `dvc_key`, is named on the flow run as tag `darkroom.stage.STAGE`."""
    JournalTracker(journal_path(home, run)).write("link", stage=stage, dvc_key=dvc_key)


def finish(home: Path, run: str, stage: str | None, status: Status) -> None:
    """End a flow run (`stage` None) or one of its stages. A journal that is never ended is closed as KILLED once its process is gone."""
    JournalTracker(journal_path(home, run, stage)).write("end", status=status)


def _owner() -> dict[str, str | int | float]:
    return {"user": getpass.getuser(), "pid": os.getpid(), "pid_started": psutil.Process().create_time()}
