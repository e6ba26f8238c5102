"""The commands about versions of a dataset, and what a scheduled run fetches: the newest version that the data team has approved."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import ConfigError, InputError
from components.git import git

if TYPE_CHECKING:
    import pyarrow as pa

    from components.datasets.dataset import Dataset
    from components.datasets.versions.forget import Plan
    from components.datasets.versions.tags import Version

log = logging.getLogger(__name__)

_SHOWN_CLASSES = 20


def fetch_newest(project: Path, name: str) -> str:
    """Fetch from git, put the newest approved version's data/NAME.dvc in place and pull its bytes.

    Where nobody has ever approved a version, the newest one counts; where there is no version, the upstream branch.

    Args:
        project: The checkout.
        name: The dataset.

    Returns:
        The tag or branch that the data came from; empty if that is what is checked out.

    Raises:
        ConfigError: No git repository, no version is approved any more, or neither tag nor upstream branch has the dataset.
        InputError: The bytes cannot be pulled.
    """
    from components.datasets.versions.get import place

    if git(project, "remote"):
        git(project, "fetch", "--quiet", "--tags")
    version = newest(project, name)
    if version.tag != version.version and version.state is None:  # else it stands for the upstream branch
        log.info("data: no version of %s was ever approved, so the newest is used: %s", name, version.ref)
    source = version.tag
    changed = place(project, version, force=True)
    log.info("data: %s of %s%s", name, source, "" if changed else ", which is what is checked out")
    return source if changed else ""


def newest(project: Path, name: str) -> Version:
    """Return the version that a scheduled run takes, as far as git knows by now; the upstream branch stands for one where there is none.

    Raises:
        ConfigError: No version is approved any more, or there is neither a version nor an upstream branch.
    """
    from components.datasets.versions.tags import Version, released, versions

    known = versions(project, name)
    version = released(known)
    if version is not None:
        return version
    if known:
        raise ConfigError(f"no version of {name} is approved any more; approve one: darkroom data approve {known[0].ref}")
    upstream = git(project, "rev-parse", "--abbrev-ref", "--symbolic-full-name", "@{upstream}", check=False)
    if upstream is None:
        raise ConfigError(
            f"no newer {name} to find: no tag {name}@v… and no upstream branch. "
            f"Make a version (darkroom data commit {name} -m TEXT), or use the data as checked out: darkroom run, darkroom serve --checked-out"
        )
    return Version(name, upstream, upstream, upstream, "", "")


def commit_text(project: Path, name: str, message: str, version: str | None) -> str:
    """Make a version and say so."""
    from components.datasets.versions.commit import commit
    from flows.lock import refuse_if_locked

    refuse_if_locked(project, wait=False)
    made = commit(project, name, message, version)
    assert made.version.record is not None  # noqa: S101 - a version that was just made says what it holds
    record = made.version.record
    checks = "not checked" if record.checks is None else "checks passed" if record.checks.passed else "checks failed"
    lines = [
        f"{made.version.ref}: {record.num_images} images{_counts(record.class_counts)}, {checks}"
        if made.created
        else f"{made.version.ref} is there already",
        f"its bytes are in {made.remote}"
        if made.remote
        else "its bytes are on this machine alone: dvc remote add --default NAME URL, then the same again",
    ]
    if git(project, "remote"):
        lines.append(f"To share it: git push && git push {_remote_of(project)} {made.version.tag}")
    if made.version.state is None:
        lines.append(f"To train on it from now on: darkroom data approve {made.version.ref}")
    return "\n".join(lines)


def approve_text(project: Path, ref: str, given: bool, reason: str) -> str:
    """Approve a version, or revoke it, and say what is used from now on."""
    from components.datasets.versions.approval import approve, revoke
    from components.datasets.versions.tags import released, versions

    version, tag = (approve if given else revoke)(project, ref, reason)
    word = "approved" if given else "revoked"
    used = released(versions(project, version.name))
    lines = [f"{version.ref} is {word}" + ("" if tag else " already")]
    lines.append(f"retraining uses {used.ref}, and drift is measured against it" if used else f"no version of {version.name} is approved any more")
    if tag and git(project, "remote"):
        lines.append(f"To share it: git push {_remote_of(project)} '{tag}'")
    return "\n".join(lines)


def log_text(project: Path, name: str, as_json: bool) -> str:
    """Return the versions of a dataset, the newest first."""
    from components.datasets.versions import log as versions_log

    rows = versions_log.log_rows(project, name)
    return json.dumps(rows, indent=2) if as_json else versions_log.log_text(rows, name)


def diff_text(project: Path, name: str, a: str, b: str | None, out: Path | None, as_json: bool) -> str:
    """Compare two versions, or one with the working copy; write the page and the list, and return the counts."""
    from components.datasets.versions.diff import diff
    from components.datasets.versions.opening import open_version
    from components.reporting.data_diff import write_diff

    refs = [_ref(project, name, a), _ref(project, name, b)]
    with open_version(refs[0], project) as one, open_version(refs[1], project) as other:
        found = diff(one.table, other.table, list(dict.fromkeys([*one.info.classes, *other.info.classes])))
        names = [ref if "@" in ref else f"{ref} (working copy)" for ref in refs]
        sides = [ref.partition("@v")[2] or "working-copy" for ref in refs]
        out = out or project / "reports" / "diff" / name / "..".join(sides)
        write_diff(found, one, other, (names[0], names[1]), out)
        if as_json:
            return json.dumps(
                {"a": refs[0], "b": refs[1], "num": found.num, "classes": found.counts().to_pylist(), "list": str(out / "changes.csv")}, indent=2
            )
        return _diff_lines(found.num, found.counts(), names, (one, other), out)


def _diff_lines(num: dict[str, int], counts: pa.Table, names: list[str], datasets: tuple[Dataset, Dataset], out: Path) -> str:
    sizes = [len(dataset) for dataset in datasets]
    told = ", ".join(f"{count} {kind}" for kind, count in num.items() if count) or "the same images with the same annotations"
    lines = [f"{names[0]} ({sizes[0]} images) → {names[1]} ({sizes[1]} images): {told}"]
    rows = [row for row in counts.to_pylist() if any(row[column] for column in counts.column_names[3:]) or row["A"] != row["B"]]
    if rows:
        table = [counts.column_names, *([str(value) for value in row.values()] for row in rows[:_SHOWN_CLASSES])]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines += [
            "  ".join(f"{cell:<{width}}" if not index else f"{cell:>{width}}" for index, (cell, width) in enumerate(zip(line, widths, strict=True)))
            for line in table
        ]
    if len(rows) > _SHOWN_CLASSES:
        lines.append(f"{len(rows) - _SHOWN_CLASSES} more classes in {out / 'summary.csv'}")
    return "\n".join([*lines, f"list      {out / 'changes.csv'}", f"pictures  {out / 'index.html'}"])


def get_text(project: Path, ref: str, out: Path) -> str:
    """Write a version as a plain folder."""
    from components.datasets.versions.get import get

    dataset = get(project, ref, out)
    return f"{out}: {ref}, {dataset.num_images} images"


def pull_text(project: Path, ref: str, force: bool) -> str:
    """Bring the working copy."""
    from components.datasets.versions.get import pull
    from flows.lock import refuse_if_locked

    refuse_if_locked(project, wait=False)
    return f"data/{ref.partition('@')[0]} is what {pull(project, ref, force)} says"


def relabel_text(project: Path, name: str, table: Path) -> str:
    """Put corrected labels in and say how many."""
    from components.datasets.versions.relabel import relabel
    from flows.data_commands import track
    from flows.lock import refuse_if_locked

    refuse_if_locked(project, wait=False)
    done = relabel(project / "data" / name, table)
    if not done.num_changed:
        return f"data/{name}: all {done.num_given} labels are as they are already"
    track(project, f"data/{name}")
    lines = [f"data/{name}: {done.num_changed} of {done.num_given} labels changed"]
    lines += [f"  {old if old is not None else 'no label'} → {new}: {count}" for old, new, count in done.changes[:_SHOWN_CLASSES]]
    if len(done.changes) > _SHOWN_CLASSES:
        lines.append(f"  and {len(done.changes) - _SHOWN_CLASSES} more pairs")
    return "\n".join([*lines, f"To keep it: darkroom data commit {name} -m TEXT"])


def merge_text(project: Path, names: tuple[str, str], name: str, mapping: Sequence[str], keep: bool) -> str:
    """Make a third dataset of two."""
    from components.datasets.versions.merge import merge
    from flows.data_commands import track
    from flows.lock import refuse_if_locked

    refuse_if_locked(project, wait=False)
    pairs: dict[str, str] = {}
    for entry in mapping:
        old, separator, new = entry.partition("=")
        if not (separator and old and new):
            raise ConfigError(f"--map {entry}: expected OLD=NEW, as in --map kitten=cat")
        if pairs.get(old, new) != new:
            raise ConfigError(f"--map {old} was said twice: {pairs[old]} and {new}")
        pairs[old] = new
    done = merge(project / "data", names, name, pairs, keep)
    track(project, f"data/{name}")
    lines = [f"data/{name}: {done.num_images} images{_counts(done.class_counts)}"]
    lines += [f"{done.num_shared} images were in both, and stand in it once"] if done.num_shared else []
    lines += [f"{done.num_renamed} ids meant another image in each; the dataset's name stands before them now"] if done.num_renamed else []
    return "\n".join([*lines, f"To keep it: darkroom data commit {name} -m TEXT"])


def compact_text(project: Path, name: str) -> str:
    """Write the shards anew and say what that saved."""
    from components.datasets.versions.compact import compact
    from flows.data_commands import track
    from flows.lock import refuse_if_locked

    refuse_if_locked(project, wait=False)
    done = compact(project / "data" / name)
    track(project, f"data/{name}")
    sizes = f"{done.bytes_before / 1e6:.1f} → {done.bytes_after / 1e6:.1f} MB, {done.shards_before} → {done.shards_after} shards"
    return (
        f"data/{name}: {sizes}. The next version pushes all of it; older versions keep their shards\nTo keep it: darkroom data commit {name} -m TEXT"
    )


def forget_plan(project: Path, name: str, images: Sequence[str]) -> Plan:
    """Find out where the images are."""
    from components.datasets.versions.forget import plan
    from flows.lock import refuse_if_locked

    refuse_if_locked(project, wait=False)
    return plan(project, name, images)


def plan_text(project: Path, planned: Plan) -> str:
    """Say what would be forgotten, and which models know it."""
    refs = ", ".join(version.ref for version in planned.versions)
    lines = [f"{len(planned.ids)} images of {planned.name} will be gone from {refs or 'all that is still kept'}, from DVC's cache and its remote"]
    lines += [f"{name} holds {count} of them, too, and keeps them: darkroom data forget {name} IMAGE…" for name, count in planned.elsewhere.items()]
    models = models_that_know(project, planned.sha256)
    lines += [f"{ref} was trained on {count} of them" for ref, count in models]
    lines.append(
        "no registered model was trained on them"
        if not models
        else "models keep what they learnt: train again without these images, and promote that"
    )
    return "\n".join(lines)


def forget_text(project: Path, planned: Plan, reason: str) -> str:
    """Forget, and say what is left to do."""
    from components.datasets.versions.forget import forget

    made = forget(project, planned, reason)
    lines = [f"forgotten: {len(planned.ids)} images of {planned.name}; versions go on as {', '.join(made) or 'they were'}"]
    if git(project, "remote") and made:
        lines.append(f"To share it: git push && git push {_remote_of(project)} {' '.join(made)}")
    lines.append("Prepared images and reports that came of them are gone, too: darkroom run makes them anew")
    lines.append("Not reached: other people's clones and caches, and stores that keep old versions of objects")
    return "\n".join(lines)


def models_that_know(project: Path, sha256: set[str]) -> list[tuple[str, int]]:
    """Return the model versions that were trained on, or chosen by, any of the images, with how many of them."""
    home = project / ".darkroom"
    if not (home / "mlflow.db").exists() and "MLFLOW_TRACKING_URI" not in os.environ:
        return []
    from components.registry.bundle import training_images
    from components.registry.session import open_registry
    from components.registry.versions import bundle_of, registered_models, versions

    found = []
    with open_registry(home) as client:
        for model in registered_models(client):
            for version in versions(client, model.name):
                try:
                    known = training_images(bundle_of(home, version))
                except InputError as error:
                    log.warning("%s could not be looked at: %s", version.ref, error)
                    continue
                if count := len(sha256 & known.keys()):
                    found.append((version.ref, count))
    return found


def _ref(project: Path, name: str, version: str | None) -> str:
    if version is None or version in (".", "working"):
        return name
    from components.datasets.versions.tags import find

    return find(project, name, version.removeprefix(f"{name}@")).ref


def _counts(counts: dict[str, int]) -> str:
    """Return how often each class is there, in brackets; nothing where nobody counted, as with masks."""
    if not any(counts.values()):
        return ""
    shown = [f"{label} {count}" for label, count in list(counts.items())[:_SHOWN_CLASSES]]
    return f" ({', '.join(shown)}{f', {len(counts) - len(shown)} more classes' if len(counts) > len(shown) else ''})"


def _remote_of(project: Path) -> str:
    return (git(project, "remote") or "origin").split()[0]
