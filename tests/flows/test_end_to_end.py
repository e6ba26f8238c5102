"""The real flow on real digits: a Prefect server, MLflow on SQLite, a DVC repository with an S3 remote, releases in S3."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from components.storage import open_store
from flows import demo_versions
from flows.status import num_stale
from tests.flows.conftest import ROOT, ask, commit, eventually, make_project, newest_flow_run

SMALL = {
    "train.epochs": 4,
    "train.model_options.width": "8",
    "finetune.epochs": 1,
    "compress.variants": "[dense]",
    "export.formats": "[onnx]",
    "evaluate.num_resamples": 200,
    "explain.num_images": 4,
    "explain.num_pictures": 2,
}


@pytest.fixture
def checkout(tmp_path: Path, s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone of Darkroom with the second version of digits, as a person has it before the first run."""
    folder = make_project(tmp_path / "checkout", (ROOT / "dvc.yaml").read_text(), (ROOT / "params.yaml").read_text())
    for name in ("components", "flows", "models/start"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for option in (["remote", "add", "-d", "s3", f"s3://{s3_bucket}/dvc"], ["remote", "modify", "s3", "endpointurl", os.environ["AWS_ENDPOINT_URL"]]):
        dvc(folder, *option)
    monkeypatch.chdir(folder)
    demo_versions.make_version("1.1")
    dvc(folder, "add", "-q", "data/digits")
    commit(folder)
    return folder


def dvc(folder: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=folder, check=True)


def test_data_to_a_released_model_and_bad_data_to_nothing(
    checkout: Path, s3_bucket: str, darkroom: Callable[..., CompletedProcess[str]], prefect_api: str
) -> None:
    uri = f"s3://{s3_bucket}/releases"
    sets = [word for key, value in {**SMALL, "publish.uri": uri}.items() for word in ("--set", f"{key}={value}")]
    done = darkroom("run", *sets)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "digits/1 is the champion now" in done.stdout
    for text in ("accuracy  ", "95% interval", "dense-onnx", "ms (p95", "alike", "reports/index.html", "darkroom up"):
        assert text in done.stdout
    assert "images/s" in done.stderr
    page = (checkout / "reports" / "index.html").read_text(encoding="utf-8")
    assert page.count('alt="heat maps of') == 2

    run = newest_flow_run(prefect_api)
    some = {"validate", "split", "train", "compress@dense", "export@dense-onnx", "register", "promote", "publish"}

    def tasks() -> dict[str, Any]:
        return {task["name"]: task for task in ask(prefect_api, "task_runs", flow_runs={"id": {"any_": [run["id"]]}})}

    eventually(lambda: {task["state"]["name"] for task in tasks().values()} | (some - set(tasks())), {"Completed"})
    logs = {"task_run_id": {"any_": [tasks()["split"]["id"]]}}
    eventually(lambda: any("1163 train" in entry["message"] for entry in ask(prefect_api, "logs", logs=logs)), wanted=True)
    artifacts = ask(prefect_api, "artifacts", artifacts={"flow_run_id": {"any_": [run["id"]]}})
    assert {"markdown", "table"} <= {artifact["type"] for artifact in artifacts}

    with closing(sqlite3.connect(checkout / ".darkroom" / "mlflow.db")) as database:
        runs = dict(database.execute("select name, status from runs"))
        assert {"validate", "train", "evaluate"} <= set(runs)
        assert set(runs.values()) == {"FINISHED"}
        metrics = {
            key for (key,) in database.execute("select distinct m.key from metrics m join runs r on r.run_uuid = m.run_uuid where r.name = 'train'")
        }
        assert any("accuracy" in key for key in metrics)
    store = open_store(uri)
    pointer = json.loads(store.get("digits/champion.json"))
    assert (pointer["name"], pointer["version"]) == ("digits", 1)
    assert num_stale(checkout) == 0
    dvc(checkout, "push", "-q")

    again = darkroom("run")
    assert again.returncode == 0, again.stderr
    assert "Nothing changed: every stage was skipped, and nothing was registered twice. The model is digits/1" in again.stdout

    tuned = (checkout / "models" / "tuned" / "weights.safetensors").read_bytes()
    passed_on = darkroom("run", "--set", "train.init=registered", "--set", "train.epochs=0", "--until", "train")
    assert passed_on.returncode == 0, passed_on.stderr
    assert json.loads((checkout / "models" / "start" / "start.json").read_text()) == {"source": "models:/digits/1"}
    assert (checkout / "models" / "base" / "weights.safetensors").read_bytes() == tuned

    demo_versions.make_version("1.2")
    dvc(checkout, "add", "-q", "data/digits")
    refused = darkroom("run")
    assert refused.returncode == 3, refused.stderr
    assert "damaged" in refused.stdout
    assert (checkout / "reports" / "validation" / "failures.csv").exists()
    assert newest_flow_run(prefect_api)["state"]["name"] == "Refused"
    assert json.loads(store.get("digits/champion.json")) == pointer

    predicted = darkroom("predict", str(next((checkout / "reports").rglob("*.png"))), "--out", "out.json")
    assert predicted.returncode == 0, predicted.stderr
    assert {"label", "score"} <= set(json.loads((checkout / "out.json").read_text())[0])
