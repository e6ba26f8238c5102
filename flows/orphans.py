"""Runs whose process died: Prefect still calls them running, until the next run here says otherwise."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from components.files import replacing
from components.tracking.owners import lives

log = logging.getLogger(__name__)


@contextmanager
def registered(home: Path, run: str, flow_run_id: str) -> Iterator[None]:
    """Write down which process works on a flow run while the block runs, and close the flow runs of those that died."""
    folder = home / "flow-runs"
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.json"):
        _close_if_dead(path)
    path = folder / f"{flow_run_id}.json"
    record = {"run": run, "flow_run": flow_run_id, "pid": os.getpid(), "started": psutil.Process().create_time()}
    with replacing(path) as partial:
        partial.write_text(json.dumps(record), encoding="utf-8")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _close_if_dead(path: Path) -> None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):  # another run, which began in the same moment, has closed it; or the machine lost its power
        path.unlink(missing_ok=True)
        return
    if lives(record["pid"], record["started"]):
        return
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound
    from prefect.states import Crashed

    with get_client(sync_client=True) as client:
        try:
            state = client.read_flow_run(record["flow_run"]).state
            if state is None or not state.is_final():
                client.set_flow_run_state(record["flow_run"], Crashed(message=f"its process {record['pid']} died"), force=True)
                log.info("run %s died; Prefect now says so", record["run"])
        except ObjectNotFound:  # another Prefect server than then
            pass
    path.unlink(missing_ok=True)
