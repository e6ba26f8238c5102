"""Whether the process that something belongs to is still there."""

from __future__ import annotations

import psutil


def lives(pid: int, started: float) -> bool:
    """Tell whether a process still runs and is still the same: after its end, or the machine's, its pid may be another's.

    Args:
        pid: Its number.
        started: When it was made, as `psutil.Process.create_time` says.
    """
    try:
        process = psutil.Process(pid)
        return bool(abs(process.create_time() - started) < 1 and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
