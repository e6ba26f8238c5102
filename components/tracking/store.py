"""Where MLflow is, and how to get at it: a server, or the SQLite database under `.darkroom/`.

`python -m components.tracking.store HOME` makes the database, so that it is there when it is needed.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock

from components.errors import TransientError
from components.tracking.owners import lives

log = logging.getLogger(__name__)

_PROBE_TIMEOUT_S = 10.0
#: MLflow's own defaults keep a caller waiting for minutes when a server is away.
_MLFLOW_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}


def tracking_uri(home: Path) -> str:
    """Return where MLflow is: MLFLOW_TRACKING_URI, else the server that `darkroom up` started, else the database under `home`."""
    if given := os.environ.get("MLFLOW_TRACKING_URI"):
        return given
    try:
        server = json.loads((home / "servers.json").read_text())["mlflow"]
        if lives(server["pid"], server["created"]):
            return str(server["url"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # no server was started
    return f"sqlite:///{(home / 'mlflow.db').resolve()}"


def connect(home: Path) -> Any:
    """Return an `MlflowClient` on the store of `home`, and point MLflow's own functions there too.

    Raises:
        TransientError: The server does not answer.
    """
    uri = tracking_uri(home)
    if uri.startswith(("http://", "https://")):
        _probe(uri)
    elif uri.startswith("sqlite:///"):
        ensure_database(Path(uri.removeprefix("sqlite:///")))
    mlflow = import_mlflow()
    _point(mlflow, uri)
    with reachable(uri):
        return mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)


def _point(mlflow: Any, uri: str) -> None:
    """Point MLflow's own functions to a store, and keep its variables in the environment as they were: they are read as what a person set."""
    before = {name: os.environ.get(name) for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")}
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def import_mlflow() -> Any:
    """Return the module `mlflow` with settings under which a server that is away is an answer within seconds."""
    for key, value in _MLFLOW_SETTINGS.items():
        os.environ.setdefault(key, value)
    import mlflow

    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return mlflow


def _probe(uri: str) -> None:
    shown = without_secrets(uri)  # urllib takes no user and password in a URI, and neither is for a log
    request = urllib.request.Request(f"{shown.rstrip('/')}/health")  # noqa: S310 (`connect` lets http and https alone come here)
    try:
        urllib.request.urlopen(request, timeout=_PROBE_TIMEOUT_S).close()  # noqa: S310
    except urllib.error.HTTPError:
        pass  # it answers: whether it lets us in is for the real call to say
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise TransientError(f"the MLflow server at {shown} does not answer ({reason}). Start it, or correct or unset MLFLOW_TRACKING_URI") from None


@contextmanager
def reachable(uri: str) -> Iterator[None]:
    """Turn what MLflow raises when its server or its database is away into a `TransientError`."""
    import requests
    from mlflow.exceptions import MlflowException

    try:
        yield
    except requests.exceptions.RequestException as error:
        raise TransientError(f"the MLflow server at {without_secrets(uri)} is away: {_first_line(error)}. Try again when it is back") from error
    except MlflowException as error:
        if is_transient(error):
            raise TransientError(f"MLflow at {without_secrets(uri)} could not answer: {_first_line(error)}. Try again when it is back") from error
        raise


def is_transient(error: Exception) -> bool:
    """Tell whether an MLflow error says that the server is away, and not that the request is wrong."""
    code = getattr(error, "error_code", "")
    text = str(error)
    away = "API request" in text and ("failed with exception" in text or "failed with error code 5" in text)
    return away or code in ("TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED")


def _first_line(error: Exception) -> str:
    return without_secrets((str(error).splitlines() or [type(error).__name__])[0])[:200]


def without_secrets(text: str) -> str:
    """Return a text without the user and password of the URIs in it."""
    return re.sub(r"(?<=://)[^/@\s]+@", "", text)


def ensure_database(path: Path) -> None:
    """Create MLflow's SQLite database unless it is there.

    MLflow migrates an empty database through all of its versions, which takes seconds. That is done once for an environment; the result is kept
    there and copied.
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if path.exists():
            return
        template = _template()
        partial = path.with_name(f".{path.name}.partial")
        if template.exists():
            shutil.copyfile(template, partial)
        else:
            _migrate(partial)
            _keep(partial, template)
        partial.replace(path)


def _template() -> Path:
    return Path(sys.prefix) / "share" / "darkroom" / f"mlflow-{version('mlflow')}.db"


def _migrate(path: Path) -> None:
    import_mlflow()
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    path.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as artifacts:
        engine = SqlAlchemyStore(f"sqlite:///{path}", artifacts).engine  # type: ignore[no-untyped-call]
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM experiments")  # the default experiment bears the artifact folder of who made the database
    engine.dispose()


def _keep(database: Path, template: Path) -> None:
    partial = template.with_name(f".{template.name}.{os.getpid()}.partial")
    try:
        template.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(database, partial)
        partial.replace(template)
    except OSError as error:
        log.info("MLflow's empty database is not kept for the next time (%s)", error)


def artifact_root(home: Path) -> str:
    """Return where the artifacts of runs in the local store are."""
    return (home / "mlartifacts").resolve().as_uri()


def server_command(home: Path, host: str, port: int) -> list[str]:
    """Return the command that serves the local store to people. Its artifacts stay plain files that are also read without the server."""
    database = (home / "mlflow.db").resolve()
    ensure_database(database)
    store = ["--backend-store-uri", f"sqlite:///{database}", "--default-artifact-root", artifact_root(home), "--no-serve-artifacts"]
    no_jobs = ["env", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false"]  # nothing here evaluates language models; its workers are four more processes
    return [*no_jobs, sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1", *store]


if __name__ == "__main__":
    ensure_database(Path(sys.argv[1]) / "mlflow.db")
