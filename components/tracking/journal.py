"""A run's write-ahead log: one JSON line an event, on disk before the call returns, sent to MLflow by `shipping` whenever MLflow can take it.

Events: start (who and what), params, metrics, tags, link (a stage that was skipped), end.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


class JournalTracker:
    """The `Tracker` that steps report to. Any number of processes may write to one journal, one after another or at once.

    Args:
        path: The journal; made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._warned = False

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record settings, flat or nested; nested keys are joined with a dot."""
        self.write("params", params={key: _text(value) for key, value in _flat(params)})

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Record numbers at a step."""
        self.write("metrics", step=int(step), metrics={key: float(value) for key, value in metrics.items()})

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Record texts."""
        self.write("tags", tags={key: str(value) for key, value in tags.items()})

    def write(self, kind: str, **content: Any) -> None:
        """Append one event. A disk that takes nothing more costs the event and one warning, not the training run."""
        line = json.dumps({"at": time.time_ns() // 1_000_000, "kind": kind, **content}, ensure_ascii=False) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _append(self.path, line.encode())
        except OSError as error:
            if not self._warned:
                log.warning("%s cannot be written (%s): metrics are not recorded until it can", self.path, error.strerror)
            self._warned = True


def _append(path: Path, line: bytes) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":  # a process was killed, or the disk was full, in the middle of a line
            line = b"\n" + line
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def _flat(params: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in params.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


@dataclass(frozen=True)
class Event:
    """One line of a journal; `end` is the offset in bytes behind it."""

    at: int
    kind: str
    content: Mapping[str, Any]
    end: int


def read_events(path: Path, offset: int = 0, limit: int | None = None) -> list[Event]:
    """Return the complete events of a journal behind `offset`, at most `limit`. A line that was cut off by a kill is passed over."""
    events: list[Event] = []
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n") or len(events) == limit:
                break
            offset += len(line)
            try:
                content = json.loads(line)
                events.append(Event(at=content.pop("at"), kind=content.pop("kind"), content=content, end=offset))
            except (ValueError, KeyError, AttributeError):
                continue
    return events
