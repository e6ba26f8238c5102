import json
import os
import sqlite3
from pathlib import Path

import psutil
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


def test_a_server_that_is_away_is_an_answer_before_mlflow_tries_for_minutes(
    tmp_path: Path, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"http://127.0.0.1:{closed_port}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.replace("http://", "http://ada:secret@"))
    monkeypatch.setattr(store, "import_mlflow", lambda: pytest.fail("MLflow itself was asked"))
    with pytest.raises(TransientError, match=uri) as raised:
        store.connect(tmp_path)
    assert raised.value.exit_code == 75
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_started_server_is_used_while_its_process_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    servers = tmp_path / "servers.json"
    assert store.tracking_uri(tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    alive = {"url": "http://127.0.0.1:5000", "pid": os.getpid(), "created": psutil.Process().create_time()}
    servers.write_text(json.dumps({"mlflow": alive}))
    assert store.tracking_uri(tmp_path) == "http://127.0.0.1:5000"
    for dead in ({"pid": 2**22 + 1}, {"created": alive["created"] - 3600}):  # since the machine was started again its pid is another's
        servers.write_text(json.dumps({"mlflow": alive | dead}))
        assert store.tracking_uri(tmp_path).startswith("sqlite:")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere")
    assert store.tracking_uri(tmp_path) == "http://elsewhere"
