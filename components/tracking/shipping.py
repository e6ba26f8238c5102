"""Sends journals to MLflow: in batches, from where it was, whether or not the run that wrote them still lives.

Beside each journal stands its position (how far MLflow has it, and under which run id). Sending a batch twice changes nothing in MLflow (a metric
is identified by its time, step and value), so the position is saved after the batch, and a kill between the two loses and doubles nothing.
A server that is away costs nothing but time: what is left is sent by the next pass, of this process or of the next run.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import psutil
from filelock import FileLock, Timeout

from components.errors import TransientError
from components.tracking import store
from components.tracking.journal import Event, read_events
from components.tracking.runs import FLOW_RUN, journal_path

log = logging.getLogger(__name__)

T = TypeVar("T")

#: What MLflow takes in one call.
MAX_METRICS, MAX_PARAMS, MAX_TAGS = 1000, 100, 100
_EVENTS_AT_ONCE = 1000
_EVERY_S, _LONGEST_WAIT_S = 2.0, 30.0
_KEPT_RUNS = 50
_BUSY = "another process is sending"


@dataclass(frozen=True)
class Pending:
    """What a pass did: events sent, journals that still hold something, and why."""

    sent: int
    waiting: int
    problem: str | None = None


@dataclass(frozen=True)
class Position:
    """How far MLflow has a journal."""

    offset: int = 0
    run_id: str | None = None
    done: bool = False


def mlflow_run_id(home: Path, run: str, stage: str | None = None) -> str | None:
    """Return the MLflow run of a journal; None while MLflow does not have it."""
    return _position(journal_path(home, run, stage)).run_id


def ship_pending(home: Path) -> Pending:
    """Send all that MLflow does not have yet, once over all journals. A server that is away is an answer, not an error.

    Args:
        home: The `.darkroom` folder.
    """
    waiting = [path for path in _journals(home) if not _position(path).done]
    if not any(_has_more(path) for path in waiting):
        return Pending(0, 0)
    sent = 0
    try:
        with FileLock(home / "journals" / ".lock", timeout=0):
            client = store.connect(home)
            with store.reachable(store.tracking_uri(home)):
                for path in waiting:
                    sent += _ship(client, home, path)
            _prune(home)
    except Timeout:
        return Pending(0, sum(_has_more(path) for path in waiting), _BUSY)
    except TransientError as error:
        return Pending(sent, sum(_has_more(path) for path in waiting), str(error))
    return Pending(sent, sum(_has_more(path) for path in waiting))


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


def _journals(home: Path) -> list[Path]:
    """Return all journals, each flow run's own before those of its stages."""
    return sorted((home / "journals").glob("*/*.jsonl"), key=lambda path: (path.parent.name, path.stem != FLOW_RUN, path.name))


def _has_more(path: Path) -> bool:
    position = _position(path)
    return not position.done and (path.stat().st_size > position.offset or not _alive(path))


def _position_path(path: Path) -> Path:
    return path.with_suffix(".position.json")


def _position(path: Path) -> Position:
    try:
        return Position(**json.loads(_position_path(path).read_text()))
    except FileNotFoundError:
        return Position()


def _save(path: Path, position: Position) -> Position:
    partial = _position_path(path).with_suffix(".partial")
    partial.write_text(json.dumps(asdict(position)))
    partial.replace(_position_path(path))
    return position


def _start(path: Path) -> Event | None:
    events = read_events(path, limit=1)
    return events[0] if events and events[0].kind == "start" else None


def _alive(path: Path) -> bool:
    start = _start(path)
    try:
        return start is not None and abs(psutil.Process(start.content["pid"]).create_time() - start.content["pid_started"]) < 1.0
    except psutil.NoSuchProcess:
        return False


def _ship(client: Any, home: Path, path: Path) -> int:
    """Send one journal's events from where it was; return how many."""
    from mlflow.exceptions import MlflowException

    start, position = _start(path), _position(path)
    if start is None:
        return 0
    if position.run_id is None:
        position = _save(path, Position(run_id=_run_of(client, home, path, start)))
    alive, sent, last = _alive(path), 0, start.at
    while events := read_events(path, position.offset, _EVENTS_AT_ONCE):
        try:
            done = _send(client, path, str(position.run_id), events)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":  # another store than last time: it gets the whole journal
                _position_path(path).unlink()
                return sent + _ship(client, home, path)
            raise
        sent, last = sent + len(events), events[-1].at
        position = _save(path, Position(events[-1].end, position.run_id, done))
    if not alive and not position.done:
        client.set_terminated(position.run_id, "KILLED", end_time=last)
        _save(path, Position(position.offset, position.run_id, done=True))
    return sent


def _run_of(client: Any, home: Path, path: Path, start: Event) -> str:
    """Return the MLflow run of a journal; made unless an earlier pass was killed right after it made it."""
    is_stage = path.stem != FLOW_RUN
    parent = _start(path.with_name(f"{FLOW_RUN}.jsonl")) if is_stage else start
    experiment = experiment_id(client, home, parent.content["experiment"] if parent else "darkroom")
    found = client.search_runs([experiment], f"tags.`darkroom.journal` = '{start.content['journal']}'", max_results=1)
    if found:
        return str(found[0].info.run_id)
    tags = {
        **start.content["tags"],
        "darkroom.journal": start.content["journal"],
        "mlflow.user": start.content["user"],
        "mlflow.source.name": "darkroom",
    }
    parent_id = _position(path.with_name(f"{FLOW_RUN}.jsonl")).run_id if is_stage else None
    if parent_id:
        tags["mlflow.parentRunId"] = parent_id
    run_id = str(client.create_run(experiment, start_time=start.at, tags=tags, run_name=start.content["name"]).info.run_id)
    if parent_id:
        client.set_tag(parent_id, f"darkroom.stage.{path.stem}", run_id)
    return run_id


def experiment_id(client: Any, home: Path, name: str) -> str:
    """Return the id of an experiment; made if it is not there."""
    found = client.get_experiment_by_name(name)
    if found:
        return str(found.experiment_id)
    local = store.tracking_uri(home).startswith("sqlite:")
    return str(client.create_experiment(name, artifact_location=f"{store.artifact_root(home)}/{name}" if local else None))


def _send(client: Any, path: Path, run_id: str, events: Sequence[Event]) -> bool:
    """Send events in batches; those that MLflow will never take are put aside. Return whether the run has ended with them."""
    from mlflow.exceptions import MlflowException

    try:
        _send_batches(client, run_id, events)
    except MlflowException as error:
        if error.error_code not in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST"):
            raise
        if len(events) > 1:
            ended = [_send(client, path, run_id, [event]) for event in events]
            return any(ended)
        log.warning("MLflow does not take an event of %s: %s", path, str(error).splitlines()[0][:300])
        with path.with_suffix(".rejected").open("a") as file:
            file.write(json.dumps(asdict(events[0])) + "\n")
    return any(event.kind == "end" for event in events)


def _send_batches(client: Any, run_id: str, events: Sequence[Event]) -> None:
    from mlflow.entities import Param, RunTag

    for metrics in _chunks(list(_metrics(events)), MAX_METRICS):
        client.log_batch(run_id, metrics=metrics)
    params = [Param(key, value) for event in events if event.kind == "params" for key, value in event.content["params"].items()]
    for few_params in _chunks(params, MAX_PARAMS):
        client.log_batch(run_id, params=few_params)
    tags = [RunTag(key, value) for event in events if event.kind == "tags" for key, value in event.content["tags"].items()]
    tags += [_link(client, event) for event in events if event.kind == "link"]
    for few_tags in _chunks(tags, MAX_TAGS):
        client.log_batch(run_id, tags=few_tags)
    for event in events:
        if event.kind == "end":
            client.set_terminated(run_id, event.content["status"], end_time=event.at)


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _metrics(events: Sequence[Event]) -> Iterator[Any]:
    from mlflow.entities import Metric

    for event in events:
        if event.kind == "metrics":
            for key, value in event.content["metrics"].items():
                yield Metric(key, value, event.at, event.content["step"])


def _link(client: Any, event: Event) -> Any:
    from mlflow.entities import RunTag

    stage, key = event.content["stage"], event.content["dvc_key"]
    run = find_stage_run(client, stage, key)
    return RunTag(f"darkroom.stage.{stage}", run or "skipped; the run that made its outputs is not in this store")


def find_stage_run(client: Any, stage: str, dvc_key: str) -> str | None:
    """Return the MLflow run in which a stage last ran to its end with these inputs, parameters and code."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    wanted = f"tags.`darkroom.stage` = '{stage}' and tags.`darkroom.dvc_key` = '{dvc_key}' and attributes.status = 'FINISHED'"
    found = client.search_runs(experiments, wanted, max_results=1, order_by=["attributes.start_time DESC"])
    return str(found[0].info.run_id) if found else None


def _prune(home: Path) -> None:
    """Delete the journals of old flow runs that MLflow has whole."""
    folders = sorted({path.parent for path in _journals(home)}, key=os.path.getmtime)
    for folder in folders[:-_KEPT_RUNS]:
        if all(_position(path).done for path in folder.glob("*.jsonl")) and not any(folder.glob("*.rejected")):
            shutil.rmtree(folder)
