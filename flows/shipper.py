"""`python -m flows.shipper HOME PID`: sends metrics to MLflow while a run goes on, so that the run need not import MLflow itself."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import psutil

from components.tracking.shipping import Shipper
from flows.terminal import set_up


def spawn(home: Path, pid: int) -> None:
    """Start it beside the run; it ends by itself when the run has ended and all is sent."""
    command = [sys.executable, "-m", "flows.shipper", str(home), str(pid)]
    log = home / "logs" / "shipper.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)


def main(home: Path, pid: int) -> None:
    """Send until the process `pid` has ended, and then what is left."""
    set_up()
    with Shipper(home), contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(pid).wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
