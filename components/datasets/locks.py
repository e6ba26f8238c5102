"""One process at a time writes a dataset. The operating system lets go of the lock when its owner dies, however it dies."""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.errors import TransientError
from components.files import explaining_full_disk

_mine = threading.local()
_MOST_BYTES = 1000


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Let no other process or thread write a dataset while the block runs; a thread that holds the lock may ask for it again.

    Args:
        folder: The dataset, there or not. Its lock is the file `.NAME.lock` beside it, which goes with the block. Where the folder that it is to
            stand in is not there, there is nothing to protect.

    Raises:
        TransientError: Another is at work on it; names its process and since when.
    """
    path = folder.parent.absolute() / f".{folder.name}.lock"
    held: set[Path] = _mine.__dict__.setdefault("held", set())
    if path in held or not path.parent.is_dir():
        yield
        return
    with explaining_full_disk(folder):
        descriptor = _acquire(path, folder)
    held.add(path)
    try:
        yield
    finally:
        held.discard(path)
        path.unlink(missing_ok=True)  # while it is held: who opened the same file a moment ago sees that it is gone
        os.close(descriptor)


def _acquire(path: Path, folder: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = _describe(os.pread(descriptor, _MOST_BYTES, 0))
            os.close(descriptor)
            raise TransientError(f"{folder} is being written by {owner}. Run again when it has ended") from None
        if os.fstat(descriptor).st_nlink:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}).encode(), 0)
            return descriptor
        os.close(descriptor)  # its owner took it away between the two calls


def _describe(content: bytes) -> str:
    try:
        fields = json.loads(content)
        return f"process {fields['pid']}, since {fields['since']}"
    except (ValueError, KeyError, TypeError):
        return "a process that is just starting or ending"
