"""What a stage resumes from: a folder for each stage and its inputs under `.darkroom/scratch`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

_KEPT = 10


@contextmanager
def scratch(home: Path, stage: str, digest: str) -> Iterator[Path]:
    """Lend a stage its folder, the same for the same code, parameters and inputs.

    Whoever has recorded what came of it calls `forget`. Else it stays for the next run; the oldest of more than ten go, unless a run is at
    work in them.

    Args:
        home: The `.darkroom` folder.
        stage: The stage's name.
        digest: Of all that it depends on.
    """
    root = (home / "scratch").absolute()
    root.mkdir(parents=True, exist_ok=True)
    folder = root / f"{stage}-{digest[:32]}"
    lock = _lock(folder)
    try:
        lock.acquire(timeout=0)
    except Timeout:  # an isolated run trains the very same: its checkpoints are left to it
        folder = root / f"{folder.name}-{os.getpid()}"
        lock = _lock(folder)
        lock.acquire()
    try:
        folder.mkdir(exist_ok=True)
        os.utime(folder)  # checkpoints come and go below it: it would look as old as its first run
        for other in sorted((path for path in root.iterdir() if path.is_dir()), key=_last_used)[:-_KEPT]:
            _forget_unused(other)
        yield folder
    finally:
        lock.release()


def forget(folder: Path) -> None:
    """Delete a folder that `scratch` lent, and its lock; by whoever holds it."""
    shutil.rmtree(folder, ignore_errors=True)
    Path(_lock(folder).lock_file).unlink(missing_ok=True)


def _last_used(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:  # another run forgot it in this moment
        return 0.0


def _forget_unused(folder: Path) -> None:
    try:
        with _lock(folder).acquire(timeout=0):
            forget(folder)
    except Timeout:
        return


def _lock(folder: Path) -> FileLock:
    return FileLock(folder.with_name(f"{folder.name}.lock"))
