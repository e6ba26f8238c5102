"""How far MLflow has each journal: the position beside it, and whether the process that writes it still lives."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from components.tracking.journal import Event, read_events
from components.tracking.owners import lives
from components.tracking.runs import FLOW_RUN, journal_path

_KEPT_RUNS = 50


@dataclass(frozen=True)
class Position:
    """How far MLflow has a journal."""

    offset: int = 0
    run_id: str | None = None
    done: bool = False


def mlflow_run_id(home: Path, run: str, stage: str | None = None) -> str | None:
    """Return the MLflow run of a journal; None while MLflow does not have it."""
    return position_of(journal_path(home, run, stage)).run_id


def journals(home: Path) -> list[Path]:
    """Return all journals, each flow run's own before those of its stages."""
    return sorted((home / "journals").glob("*/*.jsonl"), key=lambda path: (path.parent.name, path.stem != FLOW_RUN, path.name))


def has_more(path: Path) -> bool:
    """Tell whether MLflow lacks something of a journal: events, or the end of a run whose process is gone."""
    position = position_of(path)
    return not position.done and (path.stat().st_size > position.offset or not alive(path))


def position_path(path: Path) -> Path:
    """Return where a journal's position stands."""
    return path.with_suffix(".position.json")


def position_of(path: Path) -> Position:
    """Return how far MLflow has a journal; the beginning if nothing was sent yet."""
    try:
        return Position(**json.loads(position_path(path).read_text()))
    except FileNotFoundError:
        return Position()


def save_position(path: Path, position: Position) -> Position:
    """Keep a journal's position, whole or not at all, and return it."""
    partial = position_path(path).with_suffix(".partial")
    partial.write_text(json.dumps(asdict(position)))
    partial.replace(position_path(path))
    return position


def start_of(path: Path) -> Event | None:
    """Return the first event of a journal; None while it is not whole on disk."""
    events = read_events(path, limit=1)
    return events[0] if events and events[0].kind == "start" else None


def alive(path: Path) -> bool:
    """Tell whether the process that began a journal is still there."""
    start = start_of(path)
    return start is not None and lives(start.content["pid"], start.content["pid_started"])


def prune(home: Path) -> None:
    """Delete the journals of old flow runs that MLflow has whole."""
    folders = sorted({path.parent for path in journals(home)}, key=os.path.getmtime)
    for folder in folders[:-_KEPT_RUNS]:
        if all(position_of(path).done for path in folder.glob("*.jsonl")) and not any(folder.glob("*.rejected")):
            shutil.rmtree(folder)
