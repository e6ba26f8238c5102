"""The local Prefect and MLflow servers: started and stopped by `darkroom up` and `down`, or for the length of one run.

Loopback only, SQLite under `.darkroom/`. A server that the environment names (`PREFECT_API_URL`, `MLFLOW_TRACKING_URI`) is used
as it is and never started or stopped from here.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from components.errors import DarkroomError, TransientError
from components.tracking.owners import lives

log = logging.getLogger(__name__)

_START_UP_S = 120.0
_TOLD_AFTER_S = 2.0
_PROBE_S = 3.0
#: A server that is there may be busy, as the machine is; one that is not refuses at once.
_ANSWER_S = 15.0
PREFECT_PORT, MLFLOW_PORT = 4200, 5000


@dataclass(frozen=True)
class Server:
    """A server of ours that is running."""

    url: str
    """Where a person's browser goes."""
    pid: int
    created: float
    """When the process was made: its pid may be another's by now."""

    @property
    def alive(self) -> bool:
        """Whether the process is still there and is still the one that was started."""
        return lives(self.pid, self.created)


def running(home: Path) -> dict[str, Server]:
    """Return the servers that `up` started and that still run, by name; records of dead ones are dropped."""
    try:
        record = json.loads((home / "servers.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    servers = {name: Server(**fields) for name, fields in record.items()}
    return {name: server for name, server in servers.items() if server.alive}


def up(home: Path, prefect_port: int = PREFECT_PORT, mlflow_port: int = MLFLOW_PORT) -> dict[str, Server]:
    """Start what does not run yet, wait until both answer, and return them.

    Args:
        home: The `.darkroom` folder.
        prefect_port: The port of Prefect's page; the next free one if it is taken.
        mlflow_port: The port of MLflow's page; likewise.

    Raises:
        TransientError: A server did not start; its log is named.
    """
    from components.tracking.store import server_command

    servers = running(home)
    started: dict[str, tuple[subprocess.Popen[bytes], str, str]] = {}
    if "prefect" not in servers:
        port = _free_port(prefect_port)
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
        started["prefect"] = (_spawn("prefect", command, home, _prefect_server_environment(home, port)), f"http://127.0.0.1:{port}", "/api/health")
    if "mlflow" not in servers:
        port = _free_port(mlflow_port)
        started["mlflow"] = (_spawn("mlflow", server_command(home, "127.0.0.1", port), home, {}), f"http://127.0.0.1:{port}", "/health")
    try:
        for name, (process, url, health) in started.items():
            _wait_for(name, process, url + health, home)
            servers[name] = Server(url, process.pid, psutil.Process(process.pid).create_time())
            _write(home, servers)
    finally:
        for name, (process, _, _) in started.items():
            if name not in servers:  # one that is on no record could never be stopped
                _end(process.pid)
    return servers


def down(home: Path) -> list[str]:
    """Stop the servers that `up` started and return their names."""
    servers = running(home)
    for server in servers.values():
        _end(server.pid)
    (home / "servers.json").unlink(missing_ok=True)
    return sorted(servers)


class Prefect:
    """The Prefect server of one run: the environment's, the one that `up` started, or a temporary one.

    Args:
        home: The `.darkroom` folder.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None
        self.api_url = os.environ.get("PREFECT_API_URL", "")
        self.temporary = False
        self._given = bool(self.api_url)

    def start(self) -> None:
        """Choose the server and start it if it has to be, without waiting; to be called before `prefect` is imported."""
        if not self._given:
            server = running(self._home).get("prefect")
            port = _free_port(0)
            self.temporary = server is None
            self.api_url = f"{server.url}/api" if server else f"http://127.0.0.1:{port}/api"
            if self.temporary:
                environment = {**_prefect_server_environment(self._home, port), **_TEMPORARY_ENVIRONMENT}
                command = [sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app"]
                command += ["--host", "127.0.0.1", "--port", str(port), "--log-level", "error"]
                self._process = _spawn("prefect-temporary", command, self._home, environment, die_with_us=True)
                atexit.register(self.stop)
            os.environ.setdefault("PREFECT_HOME", str(self._home / "prefect"))
        os.environ.update(_CLIENT_ENVIRONMENT, PREFECT_API_URL=self.api_url)

    def wait(self) -> None:
        """Wait until the server answers.

        Raises:
            TransientError: It does not.
        """
        if self._process is not None:
            _wait_for("prefect-temporary", self._process, f"{self.api_url}/health", self._home)
        elif not _answers(f"{self.api_url}/health", _ANSWER_S):
            what = "Start it, or unset PREFECT_API_URL to use a local one" if self._given else "Start it afresh: darkroom down && darkroom up"
            raise TransientError(f"the Prefect server at {self.api_url} does not answer. {what}")

    def stop(self) -> None:
        """Stop the server if it was started for this run."""
        if self._process is not None:
            _end(self._process.pid)
            self._process.wait()
            self._process = None
            atexit.unregister(self.stop)
            os.environ.pop("PREFECT_API_URL", None)


def prefect_answers() -> bool:
    """Tell whether the Prefect server that the environment names answers."""
    return _answers(f"{os.environ.get('PREFECT_API_URL', '')}/health", _ANSWER_S)


#: As Prefect starts its own temporary servers: no page, few services.
_TEMPORARY_ENVIRONMENT = {"PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1", "PREFECT_UI_ENABLED": "0"}

#: Quiet at the terminal; run logs of our own loggers go to the server.
_CLIENT_ENVIRONMENT = {
    "PREFECT_LOGGING_EXTRA_LOGGERS": "components,flows",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_INTERNAL_LOGGING_LEVEL": "CRITICAL",  # of a server that is away it would print whole events
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}


def _prefect_server_environment(home: Path, port: int) -> dict[str, str]:
    return {
        "PREFECT_SERVER_UI_API_URL": f"http://127.0.0.1:{port}/api",  # the page asks port 4200 otherwise, whatever port it came from
        "PREFECT_HOME": os.environ.get("PREFECT_HOME", str(home / "prefect")),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    }


def _spawn(name: str, command: list[str], home: Path, environment: dict[str, str], die_with_us: bool = False) -> subprocess.Popen[bytes]:
    """Start a process that outlives Ctrl-C, its output in `.darkroom/logs/`; with `die_with_us` it ends with this process, even if that is killed."""
    logs = home / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    inherited = {key: value for key, value in os.environ.items() if key != "PREFECT_API_URL"}
    with (logs / f"{name}.log").open("wb") as output:
        return subprocess.Popen(
            command,
            env={**inherited, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_end_with_parent if die_with_us and sys.platform == "linux" else None,  # noqa: PLW1509 (no thread runs yet)
        )


def _end_with_parent() -> None:
    """Ask Linux for SIGTERM when the parent dies (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _wait_for(name: str, process: subprocess.Popen[bytes], url: str, home: Path) -> None:
    started, told = time.monotonic(), False
    while not _answers(url, _PROBE_S):
        if not told and time.monotonic() - started > _TOLD_AFTER_S:
            told = True
            log.info("waiting for the %s server to start", name.partition("-")[0])
        if process.poll() is not None or time.monotonic() - started > _START_UP_S:
            _end(process.pid)
            what = f"ended with code {process.returncode}" if process.returncode is not None else f"did not answer within {_START_UP_S:.0f} s"
            raise TransientError(f"the {name.partition('-')[0]} server {what}. Its log says why: {home / 'logs' / name}.log")
        time.sleep(0.05)


def _answers(url: str, timeout_s: float) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout_s) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError, ValueError):
        return False


def _free_port(wanted: int) -> int:
    """Return `wanted` or the next port that is free; any free one for 0."""
    for port in range(wanted, wanted + 100) if wanted else [0]:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return int(probe.getsockname()[1])
    raise DarkroomError(f"no free port from {wanted} to {wanted + 99}")


def _end(pid: int) -> None:
    """End a server and its children: politely, then not."""
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGTERM)
    _, left = psutil.wait_procs(family, timeout=5)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=30)  # a busy machine takes its time over that, too


def _write(home: Path, servers: dict[str, Server]) -> None:
    path = home / "servers.json"
    temporary = path.with_suffix(".partial")
    temporary.write_text(json.dumps({name: asdict(server) for name, server in servers.items()}, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)
