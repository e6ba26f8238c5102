"""The ending of a run, for people: at the terminal, in Prefect, and as the record that the report page is made from."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import DataError
from components.protocols import plugin
from components.records import BenchmarkRecord, DatasetRef, ExportRecord, ParityRecord

if TYPE_CHECKING:
    from components.reporting.records import RunReport
    from flows.account import Account
    from flows.stages import Outcome


@dataclass(frozen=True)
class Artifact:
    """An exported artifact with its proofs, as far as they are there."""

    record: ExportRecord
    parity: ParityRecord | None
    benchmark: BenchmarkRecord | None

    def row(self) -> dict[str, str]:
        """Return it as a row for people."""
        record, parity, benchmark = self.record, self.parity, self.benchmark
        latency = accuracy = alike = ""
        if benchmark and benchmark.latency_ms_median is not None:
            latency = f"{benchmark.latency_ms_median:.2f} ms (p95 {benchmark.latency_ms_p95:.2f})"
        if benchmark and benchmark.accuracy is not None:
            accuracy = f"{benchmark.accuracy:.2%}"
        if parity:
            alike = f"{parity.agreement:.2%} of {parity.num_images} alike, {parity.max_difference:.1e} apart"
        verdict = "refused: " + "; ".join(refusal.text for refusal in record.refusals) if record.refusals else "good"
        return {
            "artifact": record.name,
            "size": _size(record.num_bytes),
            "latency": latency,
            str(plugin("components.evaluation.metrics", "task", record.spec.task).metric): accuracy,
            "parity": alike,
            "verdict": verdict,
        }


def artifacts(project: Path, names: set[str]) -> list[Artifact]:
    """Return the artifacts that these export stages made, by stage name without the group."""
    found = []
    for name in sorted(names):
        folder = project / "models" / "exported" / name
        try:
            record = ExportRecord.load(folder / "artifact.json")
        except DataError:
            continue
        measured = project / "reports" / "benchmark" / f"{name}.json"
        found.append(Artifact(record, _load(ParityRecord, folder / "parity.json"), _load(BenchmarkRecord, measured)))
    return found


def _load(kind: Any, path: Path) -> Any:
    return kind.load(path) if path.exists() else None


def run_report(account: Account, project: Path) -> RunReport:
    """Return what happened as the record behind the report page."""
    from components.reporting.records import Command, RunReport, StageLine

    lines = [
        StageLine(name=outcome.stage, state=_STATES[outcome.state], seconds=_seconds(outcome), text=_afterwards(outcome.text))
        for outcome in account.outcomes
    ]
    told = {outcome.stage for outcome in account.outcomes}
    lines += [StageLine(name=name, state="not reached", seconds=None) for name in account.planned if name not in told]
    outcome, headline = _verdict(account)
    commands = [
        Command(what="Prefect's and MLflow's pages", command="darkroom up"),
        Command(what="all versions of the model", command="darkroom models list"),
    ]
    if account.decision is not None and (account.decision.verdict != "refused" or account.decision.champion):
        commands.append(Command(what="try the champion", command=f"darkroom predict IMAGE --model {account.model}@champion"))
    return RunReport(
        name=account.model,
        run_id=account.run,
        started=account.started,
        seconds=round(account.seconds, 1),
        outcome=outcome,
        headline=headline,
        dataset=_dataset(project, account.dataset),
        stages=lines,
        decision=account.decision,
        lineage=account.lineage,
        commands=commands,
    )


def _afterwards(reason: str) -> str:
    """Why a stage ran, said when it has run."""
    return reason.replace("has not run yet", "had not run before")


def _seconds(outcome: Outcome) -> float | None:
    return None if outcome.state == "skipped" else round(outcome.seconds, 1)


_STATES: dict[str, Any] = {
    "ran": "ran",
    "restored": "skipped",
    "skipped": "skipped",
    "refused": "refused",
    "failed": "failed",
    "interrupted": "interrupted",
}


def _verdict(account: Account) -> tuple[Any, str]:
    """Return the outcome in a word and in a sentence."""
    if not account.going:
        return _bad_ending(account)
    name = f"{account.model}/{account.version}"
    idle = all(outcome.state in ("skipped", "restored") for outcome in account.outcomes if outcome.stage != "promote")
    if account.version is None:
        return ("unchanged", f"Everything up to {account.until} is up to date") if idle else ("stopped", f"Done up to {account.until}")
    if account.decision is not None and account.decision.verdict == "promoted":
        return "promoted", f"{name} is the champion now"
    if not account.registered_now:
        what = "Nothing changed: every stage was skipped" if idle else "The same model came out once more"
        return "unchanged", f"{what}, and nothing was registered twice. The model is {name}"
    if account.decision is not None and account.decision.verdict == "refused":
        stays = f"{account.decision.champion} stays the champion" if account.decision.champion else "there is no champion yet"
        return "kept", f"{name} is registered, and was not promoted: {stays}"
    return "kept", f"{name} is registered as challenger"


def _bad_ending(account: Account) -> tuple[Any, str]:
    ending = account.ending
    if ending.state == "interrupted":
        return "stopped", "Interrupted. The next run goes on from here"
    if ending.state != "refused":
        return "failed", f"{ending.stage} failed: {ending.text}"
    return "refused", f"{ending.stage} refused: {ending.text}"


def _dataset(project: Path, name: str) -> DatasetRef | None:
    from components.datasets.manifest import dataset_ref

    try:
        return dataset_ref(project / "data" / name)
    except DataError:
        return None


def export_names(report: RunReport) -> set[str]:
    """Return the artifacts of the export stages that were reached."""
    return {line.name.partition("@")[2] for line in report.stages if line.name.startswith("export@") and line.state != "not reached"}


def metrics(report: RunReport, project: Path) -> dict[str, float]:
    """Return the evaluation's metrics if the run got that far."""
    reached = any(line.name == "evaluate" and line.state in ("ran", "skipped") for line in report.stages)
    path = project / "reports" / "evaluation" / "metrics.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if reached and path.exists() else {}


def metric_line(report: RunReport, project: Path) -> tuple[str, str]:
    """Return the primary metric's name, and its value with the interval; or nothing of both."""
    found = metrics(report, project)
    metric = next((name.removeprefix("baseline_") for name in found if name.startswith("baseline_")), "accuracy")
    if metric not in found:
        return "", ""
    low, high = found.get(f"{metric}_low"), found.get(f"{metric}_high")
    interval = f" (95% interval {low:.2%} to {high:.2%})" if low is not None and high is not None else ""
    return metric, f"{found[metric]:.2%}{interval} on {int(found.get('num_images', 0))} test images"


def to_prefect(report: RunReport, project: Path) -> None:
    """Leave the summary as a Markdown artifact and the exports as a table."""
    from prefect.artifacts import create_markdown_artifact, create_table_artifact

    key = "".join(character if character.isalnum() else "-" for character in report.name.lower()) or "run"
    lines = [f"# {report.headline}", "", "| stage | | seconds |", "| --- | --- | ---: |"]
    lines += [f"| {line.name} | {line.state} | {'' if line.seconds is None else line.seconds} |" for line in report.stages]
    metric, value = metric_line(report, project)
    if value:
        lines += ["", f"**{metric.capitalize()}** {value}"]
    if report.decision is not None:
        lines += ["", f"**Decision** {report.decision.verdict}: {report.decision.reason}"]
    create_markdown_artifact("\n".join(lines), key=f"{key}-summary")
    if rows := [artifact.row() for artifact in artifacts(project, export_names(report))]:
        create_table_artifact(rows, key=f"{key}-exports")


def show(report: RunReport, project: Path, page: Path) -> None:
    """Print the summary: tables at a terminal, plain lines when piped."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else 160)
    console.print()
    console.print(f"[bold]{escape(report.headline)}[/bold]", soft_wrap=True)
    table = Table("stage", "", "seconds", box=None, header_style="dim", pad_edge=False)
    table.columns[2].justify = "right"
    for line in report.stages:
        table.add_row(line.name, line.state, "" if line.seconds is None else f"{line.seconds:.1f}", style=_STYLES.get(line.state, ""))
    table.add_row("all", "", f"{report.seconds:.1f}", style="bold")
    console.print(table)
    metric, value = metric_line(report, project)
    facts = {metric: value}
    if report.decision is not None:
        facts["decision"] = f"{report.decision.verdict}: {report.decision.reason}"
    for name, text in facts.items():
        if text:
            console.print(f"{name:<10}{escape(text)}", soft_wrap=True)
    if found := artifacts(project, export_names(report)):
        exports = Table(*found[0].row(), box=None, header_style="dim", pad_edge=False)
        exports.columns[0].no_wrap = True  # a name is never cut, however narrow the terminal
        exports.columns[0].min_width = max(len(artifact.record.name) for artifact in found)
        for artifact in found:
            exports.add_row(*(escape(cell) for cell in artifact.row().values()), style="yellow" if artifact.record.refusals else "")
        console.print()
        console.print(exports)
    console.print()
    if page.exists():
        console.print(f"{'report':<30}{page}", soft_wrap=True)
    for command in report.commands:
        console.print(f"{command.what:<30}{escape(command.command)}", soft_wrap=True)


_STYLES = {"skipped": "dim", "refused": "red", "failed": "red", "interrupted": "yellow", "not reached": "dim"}


def _size(num_bytes: int | None) -> str:
    if num_bytes is None:
        return ""
    return f"{num_bytes / 1e6:.2f} MB" if num_bytes >= 1e5 else f"{num_bytes / 1e3:.1f} kB"
