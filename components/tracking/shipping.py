"""Sends journals to MLflow: in batches, from where it was, whether or not the run that wrote them still lives.

Beside each journal stands its position (how far MLflow has it, and under which run id). Sending a batch twice changes nothing in MLflow (a metric
is identified by its time, step and value), so the position is saved after the batch, and a kill between the two loses and doubles nothing.
A server that is away costs nothing but time: what is left is sent by the next pass, of this process or of the next run.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from components.errors import TransientError
from components.tracking import store
from components.tracking.journal import read_events
from components.tracking.positions import Position, alive, has_more, journals, position_of, position_path, prune, save_position, start_of
from components.tracking.sending import run_of, send

log = logging.getLogger(__name__)

_EVENTS_AT_ONCE = 1000
_EVERY_S, _LONGEST_WAIT_S = 2.0, 30.0
_BUSY = "another process is sending"


@dataclass(frozen=True)
class Pending:
    """What a pass did: events sent, journals that still hold something, and why."""

    sent: int
    waiting: int
    problem: str | None = None


def ship_pending(home: Path) -> Pending:
    """Send all that MLflow does not have yet, once over all journals. A server that is away is an answer, not an error.

    Args:
        home: The `.darkroom` folder.
    """
    waiting = [path for path in journals(home) if not position_of(path).done]
    if not any(has_more(path) for path in waiting):
        return Pending(0, 0)
    sent = 0
    try:
        with FileLock(home / "journals" / ".lock", timeout=0):
            client = store.connect(home)
            with store.reachable(store.tracking_uri(home)):
                for path in waiting:
                    sent += _ship(client, home, path)
            prune(home)
    except Timeout:
        return Pending(0, sum(has_more(path) for path in waiting), _BUSY)
    except TransientError as error:
        return Pending(sent, sum(has_more(path) for path in waiting), str(error))
    return Pending(sent, sum(has_more(path) for path in waiting))


class Shipper:
    """Sends journals from a thread of its own while the block runs, and for a moment after it.

    Args:
        home: The `.darkroom` folder.
        every_s: Seconds between two passes; longer and longer ones while the server is away.
    """

    def __init__(self, home: Path, every_s: float = _EVERY_S) -> None:
        self.problem: str | None = None
        self._home, self._every_s = home, every_s
        self._stop, self._wake = threading.Event(), threading.Event()
        self._passes = threading.Condition()
        self._num_passes = 0
        self._thread = threading.Thread(target=self._run, name="mlflow-shipper", daemon=True)

    def __enter__(self) -> Shipper:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.flush(30.0)
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout=5)

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that was written before this call is sent; False if the time is up or MLflow is away."""
        deadline = time.monotonic() + timeout_s
        with self._passes:
            wanted = self._num_passes + 2  # the pass that is under way may have read a journal already
            self._wake.set()
            while self._num_passes < wanted and self._thread.is_alive():
                if not self._passes.wait(timeout=max(0.0, deadline - time.monotonic())):
                    return False
                self._wake.set()
        return self.problem is None

    def _run(self) -> None:
        wait = self._every_s
        while True:
            try:
                problem = ship_pending(self._home).problem
            except Exception as error:  # tracking must not stop the run that it follows
                log.exception("sending metrics to MLflow failed; they stay in %s", self._home / "journals")
                problem = str(error)
            if problem and problem not in (self.problem, _BUSY):
                log.warning("%s. The run goes on; what it reports is kept and sent by the next run", problem)
            with self._passes:
                self.problem = problem
                self._num_passes += 1
                self._passes.notify_all()
            if self._stop.is_set():
                return
            wait = min(2 * wait, _LONGEST_WAIT_S) if problem else self._every_s
            self._wake.wait(wait)
            self._wake.clear()


def _ship(client: Any, home: Path, path: Path) -> int:
    """Send one journal's events from where it was; return how many."""
    from mlflow.exceptions import MlflowException

    start, position = start_of(path), position_of(path)
    if start is None:
        return 0
    if position.run_id is None:
        position = save_position(path, Position(run_id=run_of(client, home, path, start)))
    lives, sent, last = alive(path), 0, start.at
    while events := read_events(path, position.offset, _EVENTS_AT_ONCE):
        try:
            done = send(client, path, str(position.run_id), events)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":  # another store than last time: it gets the whole journal
                position_path(path).unlink()
                return sent + _ship(client, home, path)
            raise
        sent, last = sent + len(events), events[-1].at
        position = save_position(path, Position(events[-1].end, position.run_id, done))
    if not lives and not position.done:
        client.set_terminated(position.run_id, "KILLED", end_time=last)
        save_position(path, Position(position.offset, position.run_id, done=True))
    return sent
