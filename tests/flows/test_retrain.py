"""The flow as a person runs it, against a real Prefect server, on stages that cost nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from subprocess import CompletedProcess
from types import SimpleNamespace
from typing import Any

import pytest

from components.errors import ConfigError
from flows.pipeline import Pipeline
from flows.start import Options
from tests.flows.conftest import ask, eventually, newest_flow_run

Darkroom = Callable[..., CompletedProcess[str]]

#: One process that can be interrupted as soon as it says that it is there: a shell between two commands may overhear Ctrl-C.
SLEEP = """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_DFL)
open("started", "w").close()
time.sleep(600)
"""


def states(api: str, flow_run: str) -> dict[str, str]:
    return {run["name"]: run["state"]["name"] for run in ask(api, "task_runs", flow_runs={"id": {"any_": [flow_run]}})}


def test_stages_are_tasks_and_those_up_to_date_are_shown_as_skipped(project: Path, darkroom: Darkroom, prefect_api: str) -> None:
    done = darkroom("run", "--until", "second")
    assert done.returncode == 0, done.stderr
    assert "Done up to second" in done.stdout
    assert done.stderr.index("reading parameters and data …") < done.stderr.index("looking for what is out of date …") < done.stderr.index("▸ first")
    run = newest_flow_run(prefect_api)
    assert run["state"]["type"] == "COMPLETED"
    eventually(lambda: states(prefect_api, run["id"]), {"first": "Completed", "second": "Completed"})
    artifacts = ask(prefect_api, "artifacts", artifacts={"flow_run_id": {"any_": [run["id"]]}})
    assert "| first | ran |" in next(artifact for artifact in artifacts if artifact["type"] == "markdown")["data"]

    again = darkroom("run", "--until", "second")
    assert again.returncode == 0, again.stderr
    assert "Everything up to second is up to date" in again.stdout
    run = newest_flow_run(prefect_api)
    eventually(lambda: states(prefect_api, run["id"]), {"first": "Skipped", "second": "Skipped"})
    assert (project / "reports" / "index.html").exists()


@pytest.mark.parametrize(
    ("code", "exit_code", "name", "tries"),
    [
        pytest.param(2, 2, "Invalid input", 1, id="wrong input is not retried"),
        pytest.param(3, 3, "Refused", 1, id="a gate is not retried"),
        pytest.param(75, 75, "Try again", 3, id="transient is retried"),
        pytest.param(137, 1, "Crashed", 3, id="a crash is retried"),
    ],
)
def test_how_a_run_fails(project: Path, darkroom: Darkroom, prefect_api: str, code: int, exit_code: int, name: str, tries: int) -> None:
    (project / "params.yaml").write_text("data: {name: toy}")
    config = project / "dvc.yaml"
    command = f"""echo . >> tries; sh -c "exit {code}" """
    config.write_text(f"stages:\n  fail:\n    cmd: {command}\n    outs: [never.txt]\n  after:\n    cmd: 'true'\n    deps: [never.txt]\n")
    done = darkroom("run", "--until", "after")
    assert done.returncode == exit_code, done.stderr
    assert "Traceback" not in done.stderr
    assert len((project / "tries").read_text().split()) == tries
    run = newest_flow_run(prefect_api)
    assert (run["state"]["type"], run["state"]["name"]) == ("FAILED", name)
    eventually(lambda: states(prefect_api, run["id"]), {"fail": name})
    assert "not reached" in done.stdout
    assert not (project / "dvc.lock").exists()


def test_ctrl_c_ends_tidily_and_a_killed_run_does_not_stay_running(project: Path, prefect_api: str, darkroom: Darkroom) -> None:
    (project / "params.yaml").write_text("data: {name: toy}")
    (project / "sleep.py").write_text(SLEEP)
    (project / "dvc.yaml").write_text("stages:\n  sleep:\n    cmd: python sleep.py\n    outs: [started]\n")
    environment = {**os.environ, "PREFECT_API_URL": prefect_api}

    def start() -> subprocess.Popen[str]:
        (project / "started").unlink(missing_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.retrain", "--until", "sleep"], env=environment, start_new_session=True, stderr=subprocess.PIPE, text=True
        )
        while not (project / "started").exists() and process.poll() is None:
            time.sleep(0.05)
        return process

    interrupted = start()
    os.killpg(interrupted.pid, signal.SIGINT)
    _, said = interrupted.communicate()
    assert interrupted.returncode == 130, said
    assert "Traceback" not in said
    assert newest_flow_run(prefect_api)["state"]["type"] == "CANCELLED"

    killed = start()
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    left = newest_flow_run(prefect_api)
    assert left["state"]["type"] == "RUNNING"
    (project / "dvc.yaml").write_text("stages:\n  quick:\n    cmd: 'true'\n")
    assert darkroom("run", "--until", "quick").returncode == 0
    found = ask(prefect_api, "flow_runs", flow_runs={"id": {"any_": [left["id"]]}})
    assert found[0]["state"]["type"] == "CRASHED"


def test_what_is_edited_after_its_stage_ran_registers_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As params.yaml for the next training, while this one is exported: the lineage would name the new values."""
    from flows import retrain
    from flows.stages import Outcome, Workshop

    def run_stage(shop: Workshop, stage: Any) -> Outcome:
        inputs = shop.pipeline.begin(stage)
        subprocess.run(stage.cmd.replace("python", sys.executable), shell=True, cwd=project, check=True)
        shop.pipeline.record(stage, inputs)
        (project / "in.txt").write_text("other")  # what `first` reads, also when `second` runs
        return Outcome(stage.addressing, "ran")

    monkeypatch.setattr(retrain, "run_stage", run_stage)
    account: Any = SimpleNamespace(going=True, track=lambda: None, plan=lambda _stages: None, add=lambda _outcome: None)
    with closing(Pipeline(project)) as pipeline:
        shop = Workshop(pipeline, project / ".darkroom", "run")
        with pytest.raises(ConfigError, match=r"in.txt modified.*nothing is registered"):
            retrain._stages(shop, Options(), account)
        retrain._stages(shop, Options(until="second"), account)
