"""A registry behind a server: the same store with it and without it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from components.errors import TransientError
from components.registry.config import PromoteConfig
from components.registry.promote import judge_and_promote
from components.registry.versions import fetch_bundle, versions
from components.tracking import runs, store
from components.tracking.positions import mlflow_run_id
from components.tracking.shipping import ship_pending
from components.tracking.store import connect, server_command, tracking_uri
from tests.components.registry.conftest import Project
from tests.conftest import free_port


@pytest.fixture
def server(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """What `darkroom up` starts."""
    port = free_port()
    monkeypatch.setattr(store, "_PROBE_TIMEOUT_S", 60.0)  # whatever else the machine does
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(server_command(project.home, "127.0.0.1", port), stdout=log, stderr=log, cwd=tmp_path, start_new_session=True)
    entry = {"url": f"http://127.0.0.1:{port}", "pid": process.pid, "created": psutil.Process(process.pid).create_time()}
    (project.home / "servers.json").write_text(json.dumps({"mlflow": entry}))
    try:
        while True:
            assert process.poll() is None, (tmp_path / "log").read_text()[-2000:]
            try:
                connect(project.home)
                break
            except TransientError:
                time.sleep(0.2)
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_what_was_registered_with_the_server_is_there_without_it_and_the_other_way(
    project: Project, server: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tracking_uri(project.home).startswith("http://127.0.0.1")
    runs.start_run(project.home, "r1", "toy", "retrain")
    runs.finish(project.home, "r1", None, "FINISHED")
    ship_pending(project.home)
    run_id = mlflow_run_id(project.home, "r1")
    project.train(0.7)
    first = project.register(run_id=run_id)
    assert judge_and_promote(project.root, project.home, "toy", first.version, PromoteConfig()).verdict == "promoted"
    first.bundle.rename(project.root / "put-away")
    fetch_bundle(project.home, "toy@champion")

    monkeypatch.setattr(store, "_PROBE_TIMEOUT_S", 1.0)
    os.killpg(server.pid, signal.SIGSTOP)  # it takes connections and says nothing
    with pytest.raises(TransientError, match="does not answer"):
        fetch_bundle(project.home, "toy@champion")
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()
    assert tracking_uri(project.home).startswith("sqlite:")
    (project.home / "bundles" / first.digest).rename(project.root / "put-away-too")
    assert fetch_bundle(project.home, "toy@champion").name == first.digest
    assert connect(project.home).get_run(run_id).info.status == "FINISHED"
    project.train(0.9)
    assert judge_and_promote(project.root, project.home, "toy", project.register().version, PromoteConfig()).verdict == "promoted"
    assert [version.number for version in versions(connect(project.home), "toy")] == [1, 2]
