"""What the stages of a run left in their folders, read for the page; a stage that was not reached this time gives nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from components.explanation.record import ExplanationRecord, Sanity
from components.records import BenchmarkRecord, ExportRecord, ParityRecord, Verdict
from components.reporting.charts import Line, line_chart
from components.reporting.records import StageLine

VERDICT, METRICS = Path("reports/validation/verdict.json"), Path("reports/evaluation/metrics.json")
EXPLANATION = Path("reports/explain/explain.json")
#: What a task's figures show; a task draws some of them.
_FIGURES = {
    "confusion": "What was taken for what",
    "reliability": "Is it as sure as it should be",
    "precision_recall": "What is found against what is found rightly",
    "errors": "What went wrong",
}
#: Rank correlation with the maps of random weights from which on a map says little of what was learnt.
_MOSTLY_UNLEARNT = 0.5
_LOSSES = {"train_loss": "training", "val_loss": "validation"}
_HISTORIES = {
    "train": ("train", "models/base"),
    "finetune": ("fine-tune", "models/tuned"),
    "compress@pruned": ("recover after pruning", "models/pruned"),
}


@dataclass(frozen=True)
class Validation:
    """The verdict on the data, failed expectations first."""

    verdict: Verdict
    failures: pd.DataFrame
    num_failures: int
    picture: str | None


@dataclass(frozen=True)
class Evaluation:
    """metrics.json as rows (name, value, low, high), and what stands beside it; figures with their captions."""

    metric: str
    metrics: list[tuple[str, float, float | None, float | None]]
    num_images: int
    baseline: float
    per_class: pd.DataFrame
    num_classes: int
    slices: pd.DataFrame
    figures: list[tuple[str, str]]
    mistakes: str | None


@dataclass(frozen=True)
class Explanation:
    """What was measured about heat maps, those among them that were there before anything was learnt, and the pictures."""

    record: ExplanationRecord
    unlearnt: list[str]
    mistakes: str | None
    right: str | None

    @property
    def methods(self) -> list[tuple[str, Sanity]]:
        """The ways to a map by name."""
        return list(self.record.methods.items())


@dataclass(frozen=True)
class Curves:
    """One training: its name and charts."""

    name: str
    loss: str
    losses: list[tuple[str, str]]
    """What is drawn there: class in the style sheet, name."""
    metric: str
    accuracy: str | None
    epochs: int


@dataclass(frozen=True)
class Artifact:
    """One exported artifact with its proof and its measurements, where they were made."""

    record: ExportRecord
    parity: ParityRecord | None
    benchmark: BenchmarkRecord | None


def reached(stages: Iterable[StageLine]) -> set[str]:
    """Return the stages whose outputs belong to this run: a gate that refused has written its report."""
    return {stage.name for stage in stages if stage.state in ("ran", "skipped", "refused")}


def picture(path: Path) -> str | None:
    """Return a PNG file as a data URI; None if there is none."""
    if not path.is_file():
        return None
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def read_validation(root: Path, rows: int = 4) -> Validation:
    """Read reports/validation; of each expectation the first failures."""
    folder = (root / VERDICT).parent
    failures = _read_csv(folder / "failures.csv")
    return Validation(
        verdict=Verdict.load(root / VERDICT),
        failures=failures.groupby("expectation", sort=False).head(rows) if len(failures) else failures,
        num_failures=len(failures),
        picture=picture(folder / "pictures/offenders.png"),
    )


def read_evaluation(root: Path, rows: int = 20) -> Evaluation:
    """Read reports/evaluation; of classes and slices the worst."""
    folder = (root / METRICS).parent
    numbers: dict[str, float] = json.loads((root / METRICS).read_text(encoding="utf-8"))
    names = [name for name in numbers if f"{name}_low" in numbers]
    baseline = next(name for name in numbers if name.startswith("baseline_"))
    metric = baseline.removeprefix("baseline_")
    names.sort(key=lambda name: (name != metric, not name.startswith("top"), name in ("calibration_error", "nll"), name))
    told = {"num_images", baseline, *(f"{name}{end}" for name in names for end in ("", "_low", "_high"))}
    names += sorted(name for name in numbers if name not in told)  # without an interval
    per_class = _read_csv(folder / "per_class.csv", {"class": str})
    slices = _read_csv(folder / "slices.csv", {"column": str, "value": str})
    return Evaluation(
        metric=metric,
        metrics=[(name, numbers[name], numbers.get(f"{name}_low"), numbers.get(f"{name}_high")) for name in names],
        num_images=int(numbers["num_images"]),
        baseline=numbers[baseline],
        per_class=per_class.sort_values(str(per_class.columns[2]), kind="stable").head(rows),
        num_classes=len(per_class),
        slices=slices.head(rows),
        figures=[(caption, drawn) for name, caption in _FIGURES.items() if (drawn := picture(folder / f"pictures/{name}.png"))],
        mistakes=picture(folder / "pictures/mistakes.png"),
    )


def read_explanation(root: Path) -> Explanation | None:
    """Read reports/explain; None where nothing was explained."""
    record, pictures = ExplanationRecord.load(root / EXPLANATION), (root / EXPLANATION).parent / "pictures"
    if not record.methods:
        return None
    unlearnt = [name for name, found in record.methods.items() if found.untrained > _MOSTLY_UNLEARNT]
    return Explanation(record, unlearnt, picture(pictures / "mistakes.png"), picture(pictures / "right.png"))


def read_curves(root: Path, stages: set[str]) -> list[Curves]:
    """Read the history of each training of this run; one without an epoch has no curve."""
    found: list[Curves] = []
    for stage, (name, folder) in _HISTORIES.items():
        history = _read_csv(root / folder / "history.csv") if stage in stages else pd.DataFrame()
        if history.empty:
            continue
        accuracy = [column for column in map(str, history.columns) if column.startswith("val_") and column != "val_loss"]
        drawn = [_line(history, column, kind) for column, kind in (("train_loss", "a"), ("val_loss", "b")) if column in history]
        losses = [line for line in drawn if line.points]
        shares = [_line(history, column, "b") for column in accuracy[:1]]
        metric = accuracy[0].removeprefix("val_") if accuracy else ""
        found.append(
            Curves(
                name=name,
                loss=line_chart(losses, percent=False),
                losses=[(line.kind, _LOSSES[line.name]) for line in losses],
                metric=metric,
                accuracy=line_chart(shares, percent=True) if shares else None,
                epochs=len(history),
            )
        )
    return found


def read_artifacts(root: Path, stages: set[str]) -> list[Artifact]:
    """Read every artifact that a stage export@NAME of this run made or refused."""
    found: list[Artifact] = []
    for name in sorted(stage.removeprefix("export@") for stage in stages if stage.startswith("export@")):
        folder = root / "models/exported" / name
        if not (folder / "artifact.json").exists():
            continue
        parity, benchmark = folder / "parity.json", root / f"reports/benchmark/{name}.json"
        found.append(
            Artifact(
                record=ExportRecord.load(folder / "artifact.json"),
                parity=ParityRecord.load(parity) if parity.exists() else None,
                benchmark=BenchmarkRecord.load(benchmark) if benchmark.exists() else None,
            )
        )
    return found


def _line(history: pd.DataFrame, column: str, kind: str) -> Line:
    values = history[["epoch", column]].dropna()
    return Line(column, kind, [(float(epoch), float(value)) for epoch, value in values.itertuples(index=False)])


def _read_csv(path: Path, types: dict[str, type] | None = None) -> pd.DataFrame:
    """Read a table; empty where there is no file or no row."""
    try:
        return pd.read_csv(path, dtype=types, keep_default_na=False, na_values=[""])
    except (FileNotFoundError, pd.errors.EmptyDataError):
        return pd.DataFrame()
