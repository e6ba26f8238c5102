"""Files that are read by position, those that were read last kept open: a dataset has more shards than a process may have open files."""

from __future__ import annotations

import os
import threading
from io import FileIO
from pathlib import Path

_MOST = 256


class OpenFiles:
    """Files to read from; may be used by many threads at once.

    Args:
        most: As many stay open. One that is put away while a thread reads it is closed when that thread has done so.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._files: dict[Path, FileIO] = {}
        self._lock = threading.Lock()

    def read(self, path: Path, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`, fewer where the file ends before.

        Raises:
            FileNotFoundError: There is no such file.
        """
        with self._lock:
            file = self._files.pop(path, None) or FileIO(path)
            self._files[path] = file  # the one used last stands last
            if len(self._files) > self._most:
                del self._files[next(iter(self._files))]
        return os.pread(file.fileno(), length, offset)

    def close(self) -> None:
        """Close what no thread reads."""
        with self._lock:
            self._files.clear()
