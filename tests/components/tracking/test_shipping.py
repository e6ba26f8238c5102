import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from components.tracking import runs, shipping, store
from components.tracking.positions import mlflow_run_id
from components.tracking.shipping import Shipper, ship_pending


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path / ".darkroom"


def a_run(home: Path, num_metrics: int = 3) -> None:
    runs.start_run(home, "r1", "digits", "retrain 1", {"who": "me"})
    tracker = runs.start_stage(home, "r1", "train", "key-1")
    for step in range(num_metrics):
        tracker.log_metrics({"loss": 1 / (step + 1)}, step)
    tracker.log_params({f"p{index}": index for index in range(150)})
    tracker.set_tags({f"t{index}": "x" for index in range(150)})


def end(home: Path) -> None:
    runs.finish(home, "r1", "train", "FINISHED")
    runs.finish(home, "r1", None, "FINISHED")


def run_of(home: Path, stage: str | None = None) -> Any:
    return store.connect(home).get_run(mlflow_run_id(home, "r1", stage))


def test_everything_arrives_in_batches_under_nested_runs(home: Path) -> None:
    a_run(home, num_metrics=2500)
    end(home)
    assert ship_pending(home).waiting == 0
    client = store.connect(home)
    train, flow = run_of(home, "train"), run_of(home)
    assert len(client.get_metric_history(train.info.run_id, "loss")) == 2500
    assert len(train.data.params) == 150
    assert train.data.tags["t149"] == "x"
    assert (train.info.status, flow.info.status) == ("FINISHED", "FINISHED")
    assert train.data.tags["mlflow.parentRunId"] == flow.info.run_id
    assert flow.data.tags["darkroom.stage.train"] == train.info.run_id
    assert client.get_experiment(flow.info.experiment_id).name == "digits"
    assert ship_pending(home) == shipping.Pending(0, 0)


def test_nothing_is_doubled_when_a_pass_is_killed_before_it_notes_how_far_it_was(home: Path) -> None:
    a_run(home)
    ship_pending(home)
    first = mlflow_run_id(home, "r1", "train")
    for position in (home / "journals" / "r1").glob("*.position.json"):
        position.unlink()
    end(home)
    ship_pending(home)
    client = store.connect(home)
    assert mlflow_run_id(home, "r1", "train") == first
    assert len(client.get_metric_history(first, "loss")) == 3
    assert len(client.search_runs([client.get_experiment_by_name("digits").experiment_id])) == 2


def test_a_server_that_is_away_costs_nothing_and_the_next_run_sends_the_rest(home: Path, closed_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{closed_port}")
    ended, connect = threading.Event(), store.connect
    monkeypatch.setattr(store, "connect", lambda home: (ended.wait(), connect(home))[1])  # no answer while the run goes on
    with Shipper(home) as shipper:
        a_run(home)
        end(home)
        ended.set()
        assert not shipper.flush(240)
        assert "does not answer" in str(shipper.problem)
    assert mlflow_run_id(home, "r1") is None
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert ship_pending(home).problem is None
    assert run_of(home, "train").data.metrics["loss"] == pytest.approx(1 / 3)


def test_a_store_that_does_not_know_the_run_gets_the_whole_journal(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_run(home)
    ship_pending(home)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/other.db")
    end(home)
    assert ship_pending(home).problem is None
    train = run_of(home, "train")
    assert len(train.data.params) == 150
    assert train.info.status == "FINISHED"


def test_a_run_whose_process_was_killed_is_closed_as_killed(home: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from components.tracking import runs;"
        "home = Path(sys.argv[1]); runs.start_run(home, 'r1', 'digits', 'retrain');"
        "runs.start_stage(home, 'r1', 'train', 'k').log_metrics({'loss': 1.0}, 1); print('on', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3])
    assert process.stdout is not None
    process.stdout.readline()
    ship_pending(home)
    assert run_of(home).info.status == "RUNNING"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    ship_pending(home)
    assert run_of(home).info.status == "KILLED"
    assert run_of(home, "train").info.status == "KILLED"
    assert run_of(home, "train").data.metrics["loss"] == 1.0


def test_what_mlflow_will_never_take_is_put_aside_and_the_rest_goes_on(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    runs.start_run(home, "r1", "digits", "retrain 1")
    tracker = runs.start_stage(home, "r1", "train", "key-1")
    tracker.log_params({"lr": 0.1})
    tracker.log_params({"lr": 0.2})
    tracker.log_metrics({"loss": 1.0}, 1)
    end(home)
    assert ship_pending(home).waiting == 0
    train = run_of(home, "train")
    assert train.data.params == {"lr": "0.1"}
    assert train.data.metrics == {"loss": 1.0}
    assert train.info.status == "FINISHED"
    assert '"0.2"' in (home / "journals" / "r1" / "train.rejected").read_text()
    assert "does not take" in caplog.text


def test_a_skipped_stage_is_linked_to_the_run_that_made_its_outputs(home: Path) -> None:
    a_run(home)
    end(home)
    ship_pending(home)
    runs.start_run(home, "r2", "digits", "retrain 2")
    runs.link_stage(home, "r2", "train", "key-1")
    runs.link_stage(home, "r2", "split", "key-of-nothing")
    ship_pending(home)
    tags = store.connect(home).get_run(mlflow_run_id(home, "r2")).data.tags
    assert tags["darkroom.stage.train"] == mlflow_run_id(home, "r1", "train")
    assert tags["darkroom.stage.split"].startswith("skipped")


def test_while_the_run_goes_on_its_metrics_are_seen(home: Path) -> None:
    with Shipper(home, every_s=0.2) as shipper:
        a_run(home)
        assert shipper.flush(240)
        assert run_of(home, "train").info.status == "RUNNING"
        assert run_of(home, "train").data.metrics["loss"] == pytest.approx(1 / 3)
        end(home)
        assert shipper.flush(240)
    assert run_of(home, "train").info.status == "FINISHED"
