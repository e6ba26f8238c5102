"""The commands about datasets that are more than one call."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from components.config import DataConfig, read_params, section_of
from components.errors import ConfigError

if TYPE_CHECKING:
    from components.datasets.writing import WriteSummary

REPORTS = Path("reports")
ARCHIVES = (".tar.gz", ".tar.bz2", ".tar.xz", ".tgz", ".tar", ".zip")
MOST_SHOWN = 12


def import_data(
    project: Path,
    source: str,
    name: str | None,
    format_: str | None,
    task: str | None,
    version: str | None,
    append: bool,
    replace: bool,
    *,
    ray_address: str | None = None,
) -> str:
    """Import a dataset into data/NAME, track it with DVC, and return what to do next."""
    from components.datasets.importing import ImportConfig, import_dataset
    from components.datasets.locks import writing
    from components.datasets.writing import check_letters
    from flows.lock import refuse_if_locked

    if append and replace:
        raise ConfigError("--append and --replace were both said; expected one of them")
    refuse_if_locked(project, wait=False)
    name = name or name_of(source)
    check_letters(name, project / "data")
    params = read_params(project / "params.yaml")
    quarantine = REPORTS / "import" / name / "quarantine.csv"
    with writing(project / "data" / name):
        summary = import_dataset(
            source,
            name,
            project / "data",
            format=format_,
            task=task,
            version=version,
            mode="append" if append else "replace" if replace else "new",
            config=section_of(params, ImportConfig),
            quarantine=project / quarantine,
            ray_address=ray_address,
        )
        track(project, f"data/{name}")
    lines = [f"data/{name} {summary.version}: {summary.num_images:,} images{_counts_text(summary)}"]
    if append:
        done = {
            "added": summary.num_added,
            "relabelled": summary.num_relabelled,
            "changed": summary.num_changed,
            "with other metadata": summary.num_described,
            "unchanged": summary.num_unchanged,
        }
        lines.append("of the source: " + ", ".join(f"{count} {what}" for what, count in done.items() if count or what == "added"))
    if summary.quarantined:
        lines.append(f"{len(summary.quarantined)} could not be taken; {quarantine} says why")
    if section_of(params, DataConfig).name != name:
        lines.append(f"To train on it: set data.name in params.yaml, or darkroom run --set data.name={name}")
    lines.append(f"To keep it as a version: darkroom data commit {name} -m TEXT")
    return "\n".join(lines)


def name_of(source: str) -> str:
    """Return the dataset's name where the user gave none: the last part of the source, without what tells an archive."""
    name = source.rstrip("/").rpartition(":")[2].rpartition("/")[2]
    ending = next((ending for ending in ARCHIVES if name.lower().endswith(ending)), "")
    return name[: len(name) - len(ending)]


def _counts_text(summary: WriteSummary) -> str:
    """Return how often each class is there, of many classes the commonest; of masks, which nobody has looked into, how many there are."""
    counts = summary.class_counts
    shown = [f"{label} {counts[label]}" for label in (counts if len(counts) <= MOST_SHOWN else sorted(counts, key=lambda label: -counts[label]))]
    more = [f"{len(counts) - MOST_SHOWN} classes more"] if len(counts) > MOST_SHOWN else []
    parts = [*shown[:MOST_SHOWN], *more] if any(counts.values()) else []
    parts += [f"{summary.num_masks:,} with a mask"] if summary.num_masks else []
    return f" ({', '.join(parts)})" if parts else ""


def export_data(project: Path, name: str, format_: str, out: Path, without: list[str]) -> str:
    """Write a dataset in another layout, and return what was written."""
    from components import datasets
    from components.datasets.exporting import export_dataset

    with datasets.open(name, project) as dataset:
        summary = export_dataset(dataset, format_, out, without)
    lines = [f"{summary.path}: {summary.num_images} images as {summary.format}, {summary.num_bytes / 2**20:.1f} MB; read again, and the same"]
    if without or summary.left_out:
        lines.append(f"not in it: {', '.join([*without, *(f'the column {column}' for column in summary.left_out)])}")
    return "\n".join(lines)


def track(project: Path, folder: str) -> None:
    """Record a folder with DVC, as `dvc add` does."""
    from components.datasets.locks import writing
    from components.dvc_repo import opened

    with writing(project / folder), opened(project) as repo:
        repo.add(str(project.absolute() / folder))
