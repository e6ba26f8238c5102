"""One run at a time in one checkout. The operating system lets go of the lock when its owner dies, however it dies."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from components.errors import TransientError
from flows.terminal import say


@contextmanager
def checkout_lock(project: Path, wait: bool) -> Iterator[None]:
    """Hold the lock of a checkout.

    Args:
        project: The checkout; an isolated run has a lock of its own in its worktree.
        wait: Wait for a run that is at work, instead of refusing.

    Raises:
        TransientError: Another run is at work; the error names its process and since when.
    """
    lock, owner = _files(project)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not wait:
            raise _refusal(owner) from None
        say(f"waiting for {_describe(owner)}")
        lock.acquire(poll_interval=0.5)
    try:
        owner.write_text(json.dumps({"pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}), encoding="utf-8")
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def refuse_if_locked(project: Path, wait: bool) -> None:
    """Refuse early what `checkout_lock` would refuse a moment later.

    Raises:
        TransientError: Another run is at work, and `wait` is false.
    """
    if not wait and is_locked(project):
        raise _refusal(_files(project)[1])


def is_locked(project: Path) -> bool:
    """Tell whether a run is at work in a checkout."""
    lock, _ = _files(project)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def _files(project: Path) -> tuple[FileLock, Path]:
    path = project / ".dvc" / "tmp" / "darkroom.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path), path.with_suffix(".json")


def _refusal(owner: Path) -> TransientError:
    return TransientError(f"another run is at work in this checkout: {_describe(owner)}. Wait for it with --wait, or run beside it with --isolated")


def _describe(owner: Path) -> str:
    try:
        fields = json.loads(owner.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return "a process that is just starting or ending"
    return f"process {fields['pid']}, since {fields['since']}"
