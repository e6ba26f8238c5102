"""A copy of the committed project in a temporary folder, to measure commands on without touching this one."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


@contextmanager
def clone() -> Iterator[Path]:
    """Yield a fresh clone; its servers are stopped and its files deleted afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(project)], check=True)
        try:
            yield project
        finally:
            run(project, "darkroom", "down")


def environment(project: Path) -> dict[str, str]:
    """Return the environment of a command in `project`: its own code first, this environment's programs."""
    return {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": str(project), "DVC_NO_ANALYTICS": "1"}


def run(project: Path, *command: str) -> float:
    """Run a command of the virtual environment, and return its wall seconds; its output goes nowhere.

    Raises:
        CalledProcessError: It failed; the output tells why.
    """
    program = shutil.which(command[0], path=str(BIN)) or command[0]
    started = time.perf_counter()
    subprocess.run([program, *command[1:]], cwd=project, env=environment(project), check=True, capture_output=True, text=True)
    return time.perf_counter() - started


def median_run(project: Path, *command: str, repeats: int = 5) -> float:
    """Return the median wall seconds of a command, after one run that is not counted."""
    run(project, *command)
    return statistics.median(run(project, *command) for _ in range(repeats))
