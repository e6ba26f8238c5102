from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest

from components.errors import TransientError
from flows import servers
from flows.servers import Prefect, Server
from flows.start import Options, run_flow
from tests.flows.conftest import ask, ended, post


def test_a_record_of_a_dead_or_another_process_is_dropped(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    created = psutil.Process(dead.pid).create_time()
    dead.wait()
    here = psutil.Process().create_time()
    records = {
        "dead": Server("http://127.0.0.1:1", dead.pid, created),
        "another": Server("http://127.0.0.1:2", os.getpid(), here - 3600),
        "alive": Server("http://127.0.0.1:3", os.getpid(), here),
    }
    (tmp_path / "servers.json").write_text(json.dumps({name: asdict(server) for name, server in records.items()}))
    assert list(servers.running(tmp_path)) == ["alive"]


def test_a_server_of_the_environment_that_is_away_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    server = Prefect(tmp_path)
    server.start()
    with pytest.raises(TransientError, match=r"http://127\.0\.0\.1:9/api does not answer.*PREFECT_API_URL"):
        server.wait()
    assert not server.temporary


def test_a_server_that_goes_away_during_a_run_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def retrain(**_: object) -> None:
        raise ConnectionError("All connection attempts failed")

    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    monkeypatch.setattr("flows.retrain.retrain", retrain)
    with pytest.raises(TransientError, match="the Prefect server does not answer any more"):
        run_flow(Options())


def test_a_server_that_takes_its_time_is_told_of_once_and_its_log_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "_TOLD_AFTER_S", 0)
    monkeypatch.setattr(servers, "_START_UP_S", 0.3)
    told = []
    monkeypatch.setattr(servers.log, "info", lambda text, *values: told.append(text % values))
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with pytest.raises(TransientError, match=r"the prefect server did not answer within .* Its log says why: .*prefect-temporary\.log"):
        servers._wait_for("prefect-temporary", process, "http://127.0.0.1:9/api/health", tmp_path)
    assert told == ["waiting for the prefect server to start"]
    assert not psutil.pid_exists(process.pid)


def test_up_leaves_no_server_behind_that_down_does_not_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "_START_UP_S", 0.3)
    begun = []

    def sleeper(*_: object) -> subprocess.Popen[bytes]:
        begun.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]))
        return begun[-1]

    monkeypatch.setattr(servers, "_spawn", sleeper)
    with pytest.raises(TransientError, match="the prefect server did not answer"):
        servers.up(tmp_path)
    assert len(begun) == 2
    assert not [process for process in begun if process.poll() is None]
    assert servers.down(tmp_path) == []


def test_up_answers_is_used_by_a_run_and_down_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))  # what it schedules is nobody else's newest run
    monkeypatch.setattr(servers, "_START_UP_S", 600)
    monkeypatch.setattr(servers, "_ANSWER_S", 60)
    started = {}
    try:
        started = servers.up(tmp_path, prefect_port=14200, mlflow_port=15000)
        assert set(started) == {"prefect", "mlflow"}
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        for name, path in (("prefect", "/api/health"), ("mlflow", "/health")):
            with opener.open(started[name].url + path) as response:
                assert response.status == 200
        assert is_scheduled(f"{started['prefect'].url}/api")
        assert servers.up(tmp_path) == started
        server = Prefect(tmp_path)
        server.start()
        server.wait()
        assert (server.api_url, server.temporary) == (f"{started['prefect'].url}/api", False)
    finally:
        stopped = servers.down(tmp_path)
        os.environ.pop("PREFECT_API_URL", None)
    assert stopped == ["mlflow", "prefect"]
    assert not any(server.alive for server in started.values())
    assert servers.running(tmp_path) == {}


def is_scheduled(api: str) -> bool:
    """Make a deployment with a schedule, and tell whether the server plans its runs: that is the server's own scheduler at work."""
    flow = post(api, "flows/", {"name": "retrain"})["id"]
    post(api, "deployments/", {"name": "scheduled", "flow_id": flow, "schedules": [{"schedule": {"cron": "0 3 * * 1"}, "active": True}]})
    until = time.monotonic() + 120
    while time.monotonic() < until:
        if ask(api, "flow_runs", limit=1):
            return True
        time.sleep(0.2)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
def test_the_temporary_server_ends_with_a_run_that_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    code = "import pathlib, sys; from flows.servers import Prefect\n"
    code += "Prefect(pathlib.Path(sys.argv[1])).start(); print('up', flush=True); sys.stdin.read()"
    run = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    assert run.stdout.readline() == "up\n"
    [server] = psutil.Process(run.pid).children()
    run.kill()
    run.communicate()
    assert ended(server)
