"""The account of one run: told line by line while it goes on, and at its end as summary, Prefect artifacts and report."""

from __future__ import annotations

import logging
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from components.tracking import runs
from components.tracking.positions import mlflow_run_id
from components.tracking.shipping import Shipper
from flows import shipper
from flows.stages import Outcome
from flows.terminal import say

if TYPE_CHECKING:
    from components.registry.decision import Decision

log = logging.getLogger(__name__)

_MARKS = {"ran": "✓", "restored": "✓", "skipped": "–", "refused": "✗", "failed": "✗", "interrupted": "■"}


class Account:
    """What happened so far.

    Args:
        home: The `.darkroom` folder.
        run: The run's name, as Prefect calls it.
        until: The stage at which it is to end, or None.
    """

    def __init__(self, home: Path, run: str, until: str | None) -> None:
        self.home, self.run, self.until = home, f"{time.strftime('%Y%m%d-%H%M%S')}-{run}", until
        self.started, self.seconds = time.strftime("%Y-%m-%dT%H:%M:%S%z"), 0.0
        self.outcomes: list[Outcome] = []
        self.planned: list[str] = []
        self.ending = Outcome("run", "ran", text="done")
        self.dataset = ""
        self.model = ""
        self.version: int | None = None
        self.registered_now = False
        self.decision: Decision | None = None
        self.lineage: dict[str, str] = {}
        self._shipper: Shipper | None = None
        self._tracked = False

    @property
    def going(self) -> bool:
        """Whether all went well so far."""
        return self.ending.exit_code == 0

    @property
    def mlflow_status(self) -> runs.Status:
        """How MLflow is to call the run's end."""
        return "KILLED" if self.ending.state == "interrupted" else "FINISHED" if self.going or self.ending.state == "refused" else "FAILED"

    def begin(self, dataset: str) -> None:
        """Open the run's journal."""
        self.dataset = self.model = dataset
        runs.start_run(self.home, self.run, dataset, self.run, {"darkroom.started": self.started})

    def plan(self, stages: list[str]) -> None:
        """Say which stages there are."""
        self.planned = stages

    def track(self) -> None:
        """Begin to send journals to MLflow: from this process if it is going to register a model, else from one of its own."""
        if self._tracked:
            return
        self._tracked = True
        if self.until is None:
            self._shipper = Shipper(self.home).__enter__()  # MLflow's import, which registering needs, goes on beside the stages
        else:
            shipper.spawn(self.home, os.getpid())

    def mlflow_run(self) -> str | None:
        """Return the run's id in MLflow once all so far is sent; None if MLflow does not take it."""
        if self._shipper is not None:
            self._shipper.flush(30.0)
        return mlflow_run_id(self.home, self.run)

    def add(self, outcome: Outcome) -> None:
        """Take in how a stage ended, and tell it."""
        self.outcomes.append(outcome)
        took = f"{outcome.seconds:6.1f} s" if outcome.state not in ("skipped",) else " " * 8
        text = outcome.text if outcome.state in ("skipped", "restored") else ""  # of a failure, the summary that follows tells it
        say(f"{_MARKS[outcome.state]} {outcome.stage:<28}{took}  {text}".rstrip())
        if outcome.exit_code:
            self.stop(outcome)

    def stop(self, outcome: Outcome) -> None:
        """Let the run end here."""
        self.ending = outcome

    def close(self, project: Path) -> None:
        """Write the report, the Prefect artifacts and the summary, and send what MLflow does not have."""
        from components.reporting.page import write_page
        from flows import summary

        report = summary.run_report(self, project)
        report.save(self.home / "last-run.json")
        page = project / "reports" / "index.html"
        write_page(report, project, page)
        if (project / ".darkroom").is_symlink():  # the worktree goes, its page stays
            kept = self.home / "reports" / f"{self.run}.html"
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(page, kept)
            page = kept
        try:
            summary.to_prefect(report, project)
        except Exception as error:  # whatever Prefect's client raises of a server that is away
            log.warning("Prefect does not take the summary: %s: %s", type(error).__name__, error)
        if self._shipper is not None:
            self._shipper.__exit__(None, None, None)
        summary.show(report, project, page)
