import json
import os
import socket
import sqlite3
import time
from pathlib import Path

import pytest

from components.errors import TransientError
from components.tracking import store


def test_the_copied_database_is_one_that_mlflow_itself_calls_current(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store.ensure_database(tmp_path / "first" / "mlflow.db")
    home = tmp_path / "second"
    store.ensure_database(home / "mlflow.db")
    client = store.connect(home)
    client.create_experiment("digits")
    assert client.get_experiment_by_name("digits").name == "digits"
    assert "MLFLOW_TRACKING_URI" not in os.environ, "what MLflow puts there would be taken for what a person set"
    with sqlite3.connect(tmp_path / "first" / "mlflow.db") as untouched:
        assert untouched.execute("SELECT count(*) FROM experiments").fetchone() == (0,)


def test_a_server_that_is_away_is_an_answer_within_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{server.getsockname()[1]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.replace("http://", "http://ada:secret@"))
    started = time.monotonic()
    with pytest.raises(TransientError, match=uri) as raised:
        store.connect(tmp_path)
    assert raised.value.exit_code == 75
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)
    assert time.monotonic() - started < 10


def test_a_started_server_is_used_while_its_process_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    servers = tmp_path / "servers.json"
    assert store.tracking_uri(tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    servers.write_text(json.dumps({"mlflow": {"url": "http://127.0.0.1:5000", "pid": os.getpid()}}))
    assert store.tracking_uri(tmp_path) == "http://127.0.0.1:5000"
    servers.write_text(json.dumps({"mlflow": {"url": "http://127.0.0.1:5000", "pid": 2**22 + 1}}))
    assert store.tracking_uri(tmp_path).startswith("sqlite:")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere")
    assert store.tracking_uri(tmp_path) == "http://elsewhere"
