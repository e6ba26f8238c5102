"""The whole chain: stages of dvc.yaml, then register, compare and promote, publish, report.

`darkroom run`, `python -m flows.retrain` and the deployment that `darkroom serve` makes all come here. Annotations are evaluated
in this module: the process in which Prefect runs a deployment cannot resolve them from text.
"""

if __name__ == "__main__":  # the command checks the input and starts a server before Prefect is imported
    import sys

    from flows.cli import main

    sys.exit(main(["run", *sys.argv[1:]]))

import logging
import time
import traceback
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Literal

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from components.errors import ConfigError, DarkroomError
from components.registry.config import model_name_of
from components.tracking import runs
from flows import isolation, orphans, release, starting
from flows.account import Account
from flows.data_versions import fetch_newest
from flows.lock import checkout_lock
from flows.parameters import dataset_name, write_overrides
from flows.pipeline import Pipeline
from flows.stages import Outcome, Workshop, as_state, check_params, run_stage, shorten, warm
from flows.start import Options
from flows.terminal import doing, say, set_up

log = logging.getLogger(__name__)


@flow(name="retrain", persist_result=False, validate_parameters=True)
def retrain(
    data_version: Literal["checked-out", "latest"] = "checked-out",
    params: dict[str, Any] | None = None,
    until: str | None = None,
    promote: Literal["auto", "never"] = "auto",
    isolated: bool = False,
    wait: bool = False,
    debug: bool = False,
) -> State[Any]:
    """Bring the model up to date with data, parameters and code, and promote it if it is better.

    Args:
        data_version: The data as checked out, or the newest version, fetched and pulled first.
        params: Values written into params.yaml first, by dotted key.
        until: The last stage to run; what follows, and register, promote and publish, is left alone.
        promote: Judge the challenger and promote it if it is better, or leave it a challenger.
        isolated: Work in a git worktree of its own.
        wait: Wait for a run that is at work in this checkout.
        debug: Show tracebacks.

    Returns:
        Completed; Failed with a name that says of which kind (Refused, Invalid input, Try again); Cancelled.
    """
    set_up()
    options = Options(data_version, params, until, promote, isolated, wait, debug)
    project = Path.cwd()
    account = Account(project / ".darkroom", str(flow_run.name), options.until)
    try:
        with ExitStack() as places:
            if options.isolated:
                project = places.enter_context(isolation.worktree(project, account.run))
            places.enter_context(checkout_lock(project, options.wait))
            places.enter_context(orphans.registered(account.home, account.run, str(flow_run.id)))
            _run(project, options, account)
            if account.ending.state in ("failed", "interrupted"):
                raise isolation.Unfinished  # a worktree of a run that failed stays to be looked at
    except isolation.Unfinished:
        pass
    except DarkroomError as error:
        account.stop(Outcome("start", "failed", text=str(error), exit_code=error.exit_code))
        say(f"darkroom: {error}")
    except Exception as error:
        account.stop(_bug("start", error, options.debug))
        say(f"darkroom: {account.ending.text}")
    return as_state(account.ending)


def _run(project: Path, options: Options, account: Account) -> None:
    started = time.monotonic()
    account.begin(dataset_name(project, options.params or {}))
    try:
        if options.data_version == "latest":
            fetch_newest(project, account.dataset)
        if options.params:
            _check_overrides(project, options.params)
            write_overrides(project / "params.yaml", options.params)
        with closing(Pipeline(project)) as pipeline:
            pipeline.check_data()
            _stages(Workshop(pipeline, account.home, account.run, options.debug), options, account)
        if account.going and options.until is None:
            release.release(project, account, promote=options.promote == "auto", isolated=options.isolated)
    except DarkroomError as error:
        if options.debug:
            traceback.print_exc()
        account.stop(Outcome("run", "failed", text=str(error), exit_code=error.exit_code))
    except KeyboardInterrupt:
        account.stop(Outcome("run", "interrupted", text="interrupted; the next run goes on from here", exit_code=130))
    except Exception as error:
        account.stop(_bug("run", error, options.debug))
    finally:
        account.seconds = time.monotonic() - started
        runs.finish(account.home, account.run, None, account.mlflow_status)
        account.close(project)


def _bug(where: str, error: Exception, debug: bool) -> Outcome:
    if debug:
        traceback.print_exception(error)
    return Outcome(where, "failed", text=f"a bug: {type(error).__name__}: {error}. The whole story: the same command with --debug", exit_code=1)


def _check_overrides(project: Path, overrides: dict[str, Any]) -> None:
    """Refuse values that params.yaml cannot take, before they are written into it."""
    with doing("checking parameters"), closing(Pipeline(project)) as pipeline:
        if warm(project, pipeline.stages()):
            check_params(project, overrides)


def _stages(shop: Workshop, options: Options, account: Account) -> None:
    """Run the stages in order until one does not end well.

    Raises:
        ConfigError: Something that a stage has read changed after it ran; what follows the stages would be about other inputs than the model.
    """
    project, pipeline = shop.pipeline.project, shop.pipeline
    stages = pipeline.stages(options.until)
    with doing("looking for what is out of date"):
        coming = pipeline.out_of_date(stages)
        if starting.wants_champion(project) and "train" in {stage.addressing for stage in coming}:
            starting.start_from_champion(project, account.home, model_name_of(project))
            coming = pipeline.out_of_date(stages)
        if coming and warm(project, coming):
            check_params(project, {})
    if coming:
        account.track()
    account.plan([stage.addressing for stage in stages])
    for stage in stages:
        if stage in coming:
            warm(project, coming[coming.index(stage) :])
        account.add(run_stage(shop, stage))
        if not account.going:
            return
    if coming and options.until is None and (changed := pipeline.changed_inputs(stages)):
        raise ConfigError(
            f"changed while the run went on: {shorten(changed)}. The model is of what was there before, its lineage would name what is there now: "
            "nothing is registered. Run again"
        )
