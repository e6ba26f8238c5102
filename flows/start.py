"""How a run begins: input is checked while the Prefect server starts, and Prefect is imported last."""

from __future__ import annotations

import importlib
import logging
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from flows.terminal import doing

if TYPE_CHECKING:
    from components.reporting.records import RunReport

log = logging.getLogger(__name__)

_EXIT_CODES = {"Refused": 3, "Invalid input": 2, "Try again": 75, "Interrupted": 130}


@dataclass(frozen=True)
class Options:
    """What a person asks of a run: the parameters of the flow `retrain`."""

    data_version: Literal["checked-out", "latest"] = "checked-out"
    params: dict[str, Any] | None = None
    until: str | None = None
    promote: Literal["auto", "never"] = "auto"
    isolated: bool = False
    wait: bool = False
    debug: bool = False


def start(options: Options) -> int:
    """Run the flow once, with a Prefect server for its length if there is none, and return the exit code."""
    from flows.parameters import require_project
    from flows.servers import Prefect

    project = Path.cwd()
    require_project(project)
    prefect = Prefect(project / ".darkroom")
    prefect.start()
    prepare_tracking(project / ".darkroom")
    try:
        with doing("starting a Prefect server for this run, reading parameters and data" if prefect.temporary else "reading parameters and data"):
            _preflight(project, options)
            prefect.wait()
            importlib.import_module("flows.retrain")  # and with it Prefect, which takes seconds
        return run_flow(options)
    finally:
        prefect.stop()


def run_flow(options: Options) -> int:
    """Run the flow against the server that the environment names, and return the exit code.

    Raises:
        TransientError: The server went away meanwhile.
    """
    from components.errors import TransientError
    from flows.retrain import retrain
    from flows.servers import prefect_answers

    try:
        state = retrain(**asdict(options), return_state=True)
    except Exception as error:
        if prefect_answers():
            raise
        raise TransientError("the Prefect server does not answer any more, and does not know how this run ended. Run again to go on") from error
    _send_the_rest()
    if state.is_completed():
        return 0
    return _EXIT_CODES.get(str(state.name), 1)


def run_act(debug: bool, home: Path) -> tuple[int, RunReport]:
    """Run the flow once and return the exit code with the report of the run."""
    from components.reporting.records import RunReport

    code = run_flow(Options(debug=debug))
    return code, RunReport.load(home / "last-run.json")


def prepare_tracking(home: Path) -> None:
    """Begin to make the local MLflow database if there is none: that takes seconds, and can go on beside everything else."""
    from components.tracking.store import tracking_uri

    if tracking_uri(home).startswith("sqlite:") and not (home / "mlflow.db").exists():
        command = [sys.executable, "-m", "components.tracking.store", str(home)]
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def _send_the_rest() -> None:
    """Send Prefect the log lines and events that its workers still hold: the server may stop after this."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    APILogWorker.drain_all(timeout=5)
    EventsWorker.drain_all(timeout=5)


def _preflight(project: Path, options: Options) -> None:
    """Look at what can be seen before a run begins: nothing is changed yet.

    Raises:
        DarkroomError: The input is wrong, or another run is at work.
    """
    from components.__main__ import check_sections
    from components.errors import DataError
    from flows.lock import refuse_if_locked
    from flows.parameters import dataset_name
    from flows.pipeline import Pipeline

    dataset = dataset_name(project, options.params or {})
    pipeline = Pipeline(project)
    try:
        stages = pipeline.stages(options.until)
        if not options.isolated:
            ours = any("python -m components " in str(stage.cmd) for stage in stages)
            if ours:
                check_sections(options.params or {})
            refuse_if_locked(project, options.wait)
            if options.data_version == "checked-out":
                pipeline.check_data()
                if ours and not (project / "data" / dataset).is_dir():
                    there = ", ".join(sorted(path.parent.name for path in (project / "data").glob("*/dataset.yaml"))) or "none"
                    raise DataError(f"data/{dataset} not found; there are: {there}. Bring one in: darkroom data import SOURCE --name {dataset}")
    finally:
        pipeline.close()


def serve(cron: str, latest: bool) -> None:
    """Serve the flow on a schedule, with a local server that stays if none is running."""
    import os

    from components.errors import ConfigError
    from components.git import git
    from flows import servers
    from flows.data_versions import newest
    from flows.parameters import dataset_name

    project = Path.cwd()
    home = project / ".darkroom"
    name = dataset_name(project, {})
    if git(project, "rev-parse", "--verify", "--quiet", "HEAD^{commit}", check=False) is None:
        raise ConfigError("scheduled runs work on the last commit, and there is none here: git init, git add, git commit")
    if latest:
        newest(project, name)  # what no run could find is told now, not at three in the morning
    if "PREFECT_API_URL" not in os.environ:
        servers.up(home)
    prefect = servers.Prefect(home)
    prefect.start()
    prefect.wait()
    from prefect.types.entrypoint import EntrypointType

    from flows.retrain import retrain

    command = Path(sys.executable).parent / "prefect"
    print(f"retraining at '{cron}', each run in a worktree of its own; its page: {prefect.api_url.removesuffix('/api')}")
    print(f"to run it now: PREFECT_API_URL={prefect.api_url} {command} deployment run retrain/scheduled")
    options = Options("latest" if latest else "checked-out", isolated=True)
    module = EntrypointType.MODULE_PATH
    retrain.serve(name="scheduled", cron=cron, parameters=asdict(options), limit=1, print_starting_message=False, entrypoint_type=module)
