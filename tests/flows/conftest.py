"""Projects to run in, and one real Prefect server for the session."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).parents[2]

DVC_YAML = """
stages:
  first:
    cmd: python -c "open('first.txt', 'w').write(open('in.txt').read().upper())"
    deps: [in.txt]
    outs: [first.txt]
  second:
    cmd: python -c "open('second.txt', 'w').write(open('first.txt').read() * 2)"
    params: [toy.times]
    deps: [first.txt]
    outs: [second.txt]
    metrics:
      - counted.json: {cache: false}
"""


def make_project(folder: Path, dvc_yaml: str, params: str = "data: {name: toy}\ntoy:\n  times: 2   # how often\n") -> Path:
    """Make a git and DVC repository with two cheap stages."""
    folder.mkdir(parents=True, exist_ok=True)
    for command in (["git", "init", "-q"], ["git", "config", "user.email", "t@example.org"], ["git", "config", "user.name", "t"]):
        subprocess.run(command, cwd=folder, check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=folder, check=True)
    (folder / "dvc.yaml").write_text(dvc_yaml)
    (folder / "params.yaml").write_text(params)
    (folder / "in.txt").write_text("in")
    (folder / ".gitignore").write_text(".darkroom\n__pycache__/\nreports/index.html\n")
    commit(folder)
    return folder


def ended(process: psutil.Process, seconds: float = 120) -> bool:
    """Wait until a process that is no child of ours has ended, whether or not whoever inherits it takes notice."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


def commit(folder: Path) -> None:
    subprocess.run(["git", "add", "-A"], cwd=folder, check=True)
    subprocess.run(["git", "commit", "-qm", "as it is"], cwd=folder, check=True)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = make_project(
        tmp_path / "project",
        DVC_YAML.replace("open('first.txt').read() * 2)", "open('first.txt').read() * 2); open('counted.json', 'w').write('{}')"),
    )
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def code_project(project: Path) -> Path:
    """The project with a copy of `components`, to which a test adds steps of its own."""
    shutil.copytree(ROOT / "components", project / "components", ignore=shutil.ignore_patterns("__pycache__"))
    return project


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory, private_caches: None) -> Iterator[str]:
    """A real Prefect server; its API's address."""
    from flows import servers
    from flows.servers import Prefect

    servers._START_UP_S = 600  # whatever else the machine does
    before = os.environ.pop("PREFECT_API_URL", None)
    server = Prefect(tmp_path_factory.mktemp("prefect-server"))
    server.start()
    try:
        server.wait()
        os.environ.pop("PREFECT_API_URL")
        yield server.api_url
    finally:
        server.stop()
        if before:
            os.environ["PREFECT_API_URL"] = before


@pytest.fixture
def darkroom(prefect_api: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `darkroom …` in a process of its own, as a person does."""

    def run(*arguments: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PREFECT_API_URL": prefect_api, **(env or {})}
        command = [sys.executable, "-m", "flows.cli", *arguments]
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)

    return run


def post(api: str, path: str, fields: object) -> Any:
    """Ask a Prefect server, as often as it says 503, as Prefect's own client does: its services write the same database."""
    request = urllib.request.Request(f"{api}/{path}", json.dumps(fields).encode(), {"content-type": "application/json"})
    opener, until = urllib.request.build_opener(urllib.request.ProxyHandler({})), time.monotonic() + 120
    while True:
        try:
            with opener.open(request) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            if error.code != 503 or time.monotonic() > until:
                raise
            time.sleep(0.2)


def ask(api: str, what: str, **filters: Any) -> list[dict[str, Any]]:
    """Ask the Prefect server for flow_runs, task_runs, artifacts or logs."""
    found: list[dict[str, Any]] = post(api, f"{what}/filter", filters)
    return found


def eventually(read: Callable[[], Any], wanted: Any) -> None:
    """Wait until `read` gives what is wanted: task runs and logs reach Prefect's database a while after the run that sent them."""
    deadline = time.monotonic() + 120
    while (found := read()) != wanted and time.monotonic() < deadline:
        time.sleep(0.1)
    assert found == wanted


def newest_flow_run(api: str) -> dict[str, Any]:
    return ask(api, "flow_runs", sort="START_TIME_DESC", limit=1)[0]
