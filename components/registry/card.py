"""The model card: what a person reads before using a model (after Mitchell et al., "Model Cards for Model Reporting", 2019)."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path

from components.explanation.record import ExplanationRecord
from components.protocols import plugin
from components.records import BenchmarkRecord, BundleRecord, ModelSpec, ParityRecord
from components.registry.lineage import Lineage

#: MLflow keeps this many characters as a version's description.
MAX_DESCRIPTION = 5000


def write_card(project: Path, folder: Path, record: BundleRecord, lineage: Lineage) -> str:
    """Write card.md into a bundle's folder and return it.

    Args:
        project: The folder with reports/evaluation and reports/explain.
        folder: The bundle.
        record: What it is made of.
        lineage: Where it comes from.
    """
    evaluation = project / "reports" / "evaluation"
    spec = ModelSpec.load(folder / "source" / "spec.json")
    metric = str(plugin("components.evaluation.metrics", "task", record.task)(record.classes).metric)
    parts = [
        _head(record, spec),
        _use(record),
        _artifacts(folder, record, metric),
        _metrics(evaluation, metric),
        _table(evaluation / "per_class.csv", "## Classes", num_names=1),
        _table(evaluation / "slices.csv", "## Slices, the worst first", num_names=2, renamed={"metric": metric}),
        _explanation(project / "reports" / "explain" / "explain.json"),
        _origin(record, lineage),
    ]
    card = "\n\n".join(part for part in parts if part) + "\n"
    (folder / "card.md").write_text(card, encoding="utf-8")
    return card


def description(card: str) -> str:
    """Return the card as a model version's description; the end of a long one is in card.md alone."""
    note = "\n\n*(the rest is in card.md, in the bundle)*"
    return card if len(card) <= MAX_DESCRIPTION else card[: MAX_DESCRIPTION - len(note)] + note


def _head(record: BundleRecord, spec: ModelSpec) -> str:
    height, width = spec.preprocess.size_hw
    return (
        f"# {record.name}\n\n"
        f"{record.task.capitalize()} in images, {len(record.classes)} classes: {_listed(record.classes)}. "
        f"{spec.model} at {height} × {width} px, {'grayscale' if spec.preprocess.channels == 1 else 'colour'}. "
        f"Bundle `{record.digest[:12]}`."
    )


def _use(record: BundleRecord) -> str:
    return (
        "## Use and limits\n\n"
        f"For images like those of the dataset {record.dataset.name} (version {record.dataset.version}): same kind of camera, same kind of subject. "
        f"It answers with its classes for every image, also for one that shows none of them. What it scores on other images is not known; "
        "a score is a probability only as far as what was measured below says."
    )


def _artifacts(folder: Path, record: BundleRecord, metric: str) -> str:
    lines = [
        "## Artifacts",
        "",
        f"| artifact | bytes | latency, ms (p95) | images/s | {metric} | largest difference | same decision |",
        "|---|---|---|---|---|---|---|",
    ]
    for artifact in record.artifacts:
        benchmark_path, parity_path = folder / artifact.name / "benchmark.json", folder / artifact.name / "parity.json"
        speed = ["–", "–", "–"]
        if benchmark_path.exists():
            measured = BenchmarkRecord.load(benchmark_path)
            speed = [
                f"{_number(measured.latency_ms_median, '.2f')} ({_number(measured.latency_ms_p95, '.2f')})",
                _number(measured.images_per_second, ",.0f"),
                _number(measured.accuracy, ".2%"),
            ]
        parity = ParityRecord.load(parity_path)
        serves = " **(serves)**" if artifact.name == record.serving else ""
        lines.append(
            f"| {artifact.name}{serves} | {artifact.num_bytes:,} | {' | '.join(speed)} | {parity.max_difference:.2g} | {parity.agreement:.2%} |"
        )
    note = "Latency: one image, one thread. Difference and decisions: against the same variant's model in torch, on the test images."
    return "\n".join([*lines, "", note])


def _metrics(evaluation: Path, metric: str) -> str:
    path = evaluation / "metrics.json"
    if not path.exists():
        return ""
    metrics = json.loads(path.read_text())
    names = [name for name in metrics if f"{name}_low" in metrics]
    lines = [f"| {name.replace('_', ' ')} | {metrics[name]:.4f} | {metrics[name + '_low']:.4f} – {metrics[name + '_high']:.4f} |" for name in names]
    told = {f"baseline_{metric}": f"{metric} of the best answer that is the same for all images", "num_images": "test images"}
    others = [
        f"| {told.get(name, name.replace('_', ' '))} | {value:g} | |"
        for name, value in metrics.items()
        if name not in names and not name.endswith(("_low", "_high"))
    ]
    return "\n".join(["## Measured on the test images", "", "| metric | value | 95% interval |", "|---|---|---|", *lines, *others])


def _explanation(path: Path) -> str:
    record = ExplanationRecord.load(path) if path.exists() else None
    if record is None or not record.methods:
        return ""
    lines = [
        f"- {name} says {found.verdict}: the score of the answer falls from {found.score:.4f} to {found.highlighted:.4f} where the map highlights, "
        f"to {found.random:.4f} at random (95% interval of the difference: {found.gain.low:.4f} to {found.gain.high:.4f})"
        for name, found in record.methods.items()
    ]
    text = f"Measured on {record.num_images} test images, with up to {record.blanked:.0%} of the pixels blanked."
    return "\n".join(["## Heat maps of its answers", "", *lines, "", text])


def _origin(record: BundleRecord, lineage: Lineage) -> str:
    changed = f", with changes in {_listed(lineage.git_changed, 3)}" if lineage.git_dirty else ""
    data = record.dataset
    rows = {
        "dataset": f"{data.name} {data.version}, {data.num_images:,} images, manifest `{data.manifest_digest[:12]}`",
        "DVC hash": lineage.dvc_hash or "not tracked",
        "training images": f"digest `{record.training_digest[:12]}`",
        "git commit": f"{lineage.git_commit or 'none'}{changed}",
        "Darkroom's commit": lineage.package_commit or "unknown; its sources' SHA-256 stands in lineage.json",
        "parameters": f"SHA-256 `{lineage.params_sha256[:12]}`",
        "MLflow run": lineage.run_id or "none",
        "settings": ", ".join(f"{key} {value}" for key, value in sorted(lineage.settings.items())) or "not recorded",
        "libraries": ", ".join(f"{key} {value}" for key, value in lineage.libraries.items()),
    }
    return "\n".join(["## Origin", "", "| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items())])


def _table(path: Path, title: str, num_names: int, renamed: Mapping[str, str] | None = None, limit: int = 30) -> str:
    """Return a table of names, a count, and shares."""
    if not path.exists():
        return ""
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    if not rows:
        return ""
    header = [(renamed or {}).get(name, name) for name in header]
    cells = [[*(name.replace("|", "\\|") for name in row[:num_names]), row[num_names], *map(_share, row[num_names + 1 :])] for row in rows[:limit]]
    body = [f"| {' | '.join(row)} |" for row in cells]
    more = [f"\n… and {len(rows) - limit} more"] if len(rows) > limit else []
    return "\n".join([title, "", f"| {' | '.join(header)} |", "|" + "---|" * len(header), *body, *more])


def _share(cell: str) -> str:
    return f"{float(cell):.4f}" if cell else "–"  # a class that no image shows has none


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _listed(names: list[str], limit: int = 20) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
