"""A stage of dvc.yaml as a Prefect task: the one adapter.

Up to date: a skipped task. Cached by DVC for these inputs: outputs are brought back. Else its command runs, and is recorded if
nothing that it read changed meanwhile.
"""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from prefect import task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from components.errors import ConfigError, DarkroomError, TransientError
from components.stage_code import step_of
from components.tracking import runs
from components.tracking.system import SystemMetrics
from flows.pipeline import Inputs, Pipeline
from flows.processes import End, ProcessServer, Request
from flows.scratch import forget, scratch
from flows.terminal import say

if TYPE_CHECKING:
    from dvc.stage import PipelineStage

log = logging.getLogger(__name__)

_RESUMABLE = ("train", "finetune", "compress")
_NUM_RETRIES, _RETRY_AFTER_S = 2, 3
_PROGRESS_EVERY_S = 3.0

#: What the process servers import, in the order in which their steps come.
_PRELOAD = {
    "light": ("great_expectations", "pandas", "components.__main__", "components.steps.validate", "components.steps.split"),
    "torch": (
        "torch",
        "torchvision",
        "pandas",
        "components.__main__",
        "components.training.loop",
        "components.tracking.journal",
        "matplotlib.figure",
        "captum.attr",
    ),
    "export": (
        "torch",
        "torchvision",
        "onnxruntime",
        "onnxscript",
        "torch.export._trace",
        "torch.onnx._internal.exporter._core",
        "onnxscript.function_libs.torch_lib.ops",
        "pandas",
        "components.__main__",
    ),
}
_KIND_OF_STEP = {"validate": "light", "split": "light", "export": "export"}

EXIT_TRANSIENT = TransientError.exit_code
EXIT_STATES = {2: "Invalid input", 3: "Refused", 75: "Try again", 130: "Interrupted"}


@dataclass(frozen=True)
class Outcome:
    """What became of a stage."""

    stage: str
    state: Literal["ran", "restored", "skipped", "refused", "failed", "interrupted"]
    seconds: float = 0.0
    text: str = ""
    exit_code: int = 0


@dataclass(frozen=True)
class Workshop:
    """What the stages of one run share.

    Attributes:
        pipeline: dvc.yaml of the checkout in which the run works.
        home: The `.darkroom` folder.
        run: The run's name, a folder of the journals.
        debug: Show tracebacks.
    """

    pipeline: Pipeline
    home: Path
    run: str
    debug: bool = False


@cache
def process_server(project: Path, kind: str) -> ProcessServer:
    """Return the process server of a checkout for steps of one kind; it serves all runs of this process."""
    return ProcessServer(project, _PRELOAD[kind])


def warm(project: Path, stages: Sequence[PipelineStage]) -> bool:
    """Begin to import what the first of these stages needs, and what comes after it; return whether any of them is a step of ours.

    The third kind waits until the second is at work: two cores import two things at a time.
    """
    kinds = list(dict.fromkeys(_kind(step[0]) for step in (step_of(str(stage.cmd)) for stage in stages) if step))
    for kind in kinds[:2]:
        process_server(project, kind).start()
    return bool(kinds)


def _kind(step: str) -> str:
    return _KIND_OF_STEP.get(step, "torch")


def check_params(project: Path, overrides: Mapping[str, Any]) -> None:
    """Check params.yaml as a whole, names of models and plugins included; a child does it, as it takes torch to know them.

    Raises:
        ConfigError: Something in it is wrong.
    """
    server = process_server(project, "torch")
    end = server.run(Request("", [json.dumps(overrides)]), lambda _kind, _value: None)
    if end.exit_code == 2:
        raise ConfigError(end.text)
    if end.exit_code:
        raise DarkroomError(f"params.yaml could not be checked: {end.text or f'exit code {end.exit_code}'}")


def run_task(name: str, attempt: Callable[[], Outcome]) -> Outcome:
    """Run something as a Prefect task, retried if it is transient or crashed.

    Returns:
        What became of it; a failure is an outcome, not an exception.

    Raises:
        Exception: What `attempt` raises, a bug: Prefect would keep it to itself.
    """
    ends: list[Outcome | Exception] = []

    def run() -> State[Any]:
        try:
            outcome = attempt()
        except Exception as error:
            ends.append(error)
            raise
        ends.append(outcome)
        return as_state(outcome)

    def again(*_: object) -> bool:
        end = ends[-1]
        if isinstance(end, Exception) or not (end.exit_code == EXIT_TRANSIENT or end.exit_code < 0):
            return False
        log.warning("%s: %s. Trying again", name, end.text)
        return True

    task(
        name=name,
        task_run_name=name,
        retries=_NUM_RETRIES,
        retry_delay_seconds=_RETRY_AFTER_S,
        retry_condition_fn=again,
        cache_policy=NO_CACHE,
        persist_result=False,
    )(run)(return_state=True)
    if isinstance(ends[-1], Exception):
        raise ends[-1]
    return ends[-1]


def run_stage(shop: Workshop, stage: PipelineStage) -> Outcome:
    """Run one stage of dvc.yaml as a Prefect task."""
    return run_task(stage.addressing, lambda: _attempt(shop, stage))


def as_state(outcome: Outcome) -> State[Any]:
    """Return an outcome as Prefect's state."""
    if outcome.state in ("ran", "restored", "skipped"):
        name = {"ran": "Completed", "restored": "Restored", "skipped": "Skipped"}[outcome.state]
        return Completed(name=name, message=outcome.text)
    if outcome.state == "interrupted":
        return Cancelled(name="Interrupted", message=outcome.text)
    if outcome.exit_code == 0:  # a challenger that was judged and kept out
        return Completed(name="Refused", message=outcome.text)
    return Failed(name=EXIT_STATES.get(outcome.exit_code, "Crashed" if outcome.exit_code < 0 else "Failed"), message=outcome.text)


def _attempt(shop: Workshop, stage: PipelineStage) -> Outcome:
    started, name = time.monotonic(), stage.addressing
    try:
        reasons = shop.pipeline.reasons(stage)
        if not reasons:
            runs.link_stage(shop.home, shop.run, journal_name(name), shop.pipeline.key(stage))
            return Outcome(name, "skipped", text="up to date")
        if shop.pipeline.restore(stage):
            runs.link_stage(shop.home, shop.run, journal_name(name), shop.pipeline.key(stage))
            return Outcome(name, "restored", time.monotonic() - started, "from DVC's cache of earlier runs")
        say(f"▸ {name}  ({shorten(reasons)})")
        inputs = shop.pipeline.begin(stage)
        with scratch(shop.home, name, inputs.digest) if _resumable(stage) else nullcontext() as folder:
            end = _execute(shop, stage, inputs, folder)
            if end.exit_code == 0:
                shop.pipeline.record(stage, inputs)
                if folder:
                    forget(folder)  # not before: a full disk may stop the recording, and the next run then goes on from here
                return Outcome(name, "ran", time.monotonic() - started, shorten(reasons))
        state: Literal["refused", "failed"] = "refused" if end.exit_code == 3 else "failed"
        return Outcome(name, state, time.monotonic() - started, end.text, end.exit_code)
    except DarkroomError as error:
        return Outcome(name, "failed", time.monotonic() - started, str(error), error.exit_code)
    except KeyboardInterrupt:
        return Outcome(name, "interrupted", time.monotonic() - started, "interrupted; the next run goes on from here", 130)


def shorten(reasons: list[str]) -> str:
    """Return reasons as one line that is not too long."""
    return ", ".join(reasons[:3]) + (f" and {len(reasons) - 3} more" if len(reasons) > 3 else "")


def _resumable(stage: PipelineStage) -> bool:
    step = step_of(str(stage.cmd))
    return step is not None and step[0] in _RESUMABLE


def _execute(shop: Workshop, stage: PipelineStage, inputs: Inputs, folder: Path | None) -> End:
    """Run the stage's command with everything that listens to it."""
    name = stage.addressing
    tracker = runs.start_stage(shop.home, shop.run, journal_name(name), inputs.digest)
    status: runs.Status = "FAILED"
    try:
        with SystemMetrics(tracker):
            step = step_of(str(stage.cmd))
            end = _fork(shop, name, step, folder) if step else _shell(shop.pipeline.project, stage.cmd)
        status = "FINISHED" if end.exit_code == 0 else "FAILED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        runs.finish(shop.home, shop.run, journal_name(name), status)
    if end.exit_code < 0 and not end.text:
        kind = signal.Signals(-end.exit_code).name
        memory = " (the system ends a process like this when memory runs out)" if kind == "SIGKILL" else ""
        return End(end.exit_code, f"crashed: its process was ended by {kind}{memory}")
    return end


def journal_name(stage: str) -> str:
    """Return a stage's name as MLflow's tags can bear it."""
    return stage.replace("@", ":")


def _fork(shop: Workshop, name: str, step: list[str], folder: Path | None) -> End:
    journal = runs.journal_path(shop.home, shop.run, journal_name(name))
    server = process_server(shop.pipeline.project, _kind(step[0]))
    listener = _Listener(name)
    end = server.run(Request(step[0], step[1:], journal.absolute(), folder, shop.debug), listener)
    if end.exit_code == 0:
        listener.finish()
    return end


def _shell(project: Path, commands: str | list[str]) -> End:
    """Run any other command as DVC does, `python` being this Python; its output becomes log lines."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    for command in [commands] if isinstance(commands, str) else commands:
        process = subprocess.Popen(  # noqa: S602 (dvc.yaml's commands are shell lines)
            command, shell=True, cwd=project, env={**os.environ, "PATH": path}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            for text in process.stdout or ():
                log.info("%s", text.rstrip())
            code = process.wait()
        except BaseException:  # the terminal sends Ctrl-C to the command as well; a cancelled run has to
            process.send_signal(signal.SIGINT)
            process.wait()
            raise
        if code:
            return End(128 - code if code > 128 else code, f"`{command}` ended with code {code}")
    return End(0)


class _Listener:
    """Passes a step's log lines and progress on to Prefect."""

    def __init__(self, stage: str) -> None:
        self._key = "progress-" + "".join(character if character.isalnum() else "-" for character in stage.lower())
        self._artifact: Any = None
        self._last = time.monotonic()

    def __call__(self, kind: str, value: Any) -> None:
        if kind == "log":
            logging.getLogger(value.name).handle(value)
            return
        now = time.monotonic()
        description, done, total, unit = value
        if total and now - self._last >= _PROGRESS_EVERY_S:
            self._last = now
            self._tell(min(100.0, 100.0 * done / total), f"{description}: {done} of {total} {unit}")

    def finish(self) -> None:
        """Leave the progress of a step that ended well at its end, and not where it was told last."""
        if self._artifact is not None and self._last != math.inf:
            self._tell(100.0, "done")

    def _tell(self, percent: float, text: str) -> None:
        try:
            if self._artifact is None:
                self._artifact = create_progress_artifact(percent, key=self._key, description=text)
            else:
                update_progress_artifact(self._artifact, percent, description=text)
        except Exception as error:  # whatever Prefect's client raises after a minute of trying; the step goes on, and is not held up again
            self._last = math.inf
            log.warning("Prefect takes no progress of this stage any more: %s: %s", type(error).__name__, error)
