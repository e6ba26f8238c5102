"""The model registry, for as long as a command works on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from components.tracking.store import connect, reachable, tracking_uri


@contextmanager
def open_registry(home: Path) -> Iterator[Any]:
    """Yield an `MlflowClient`, one command of this checkout at a time: MLflow's aliases know no compare-and-set, so the last writer would win.

    Args:
        home: The `.darkroom` folder.

    Raises:
        TransientError: MLflow is away, or goes away in the block.
    """
    home.mkdir(parents=True, exist_ok=True)
    client = connect(home)
    with FileLock(home / "registry.lock"), reachable(tracking_uri(home)):
        yield client
