"""`darkroom data forget`: a person's right. Some images leave every version of a dataset, the cache and the remote; the versions stay.

In the shards the images' bytes, masks and names are written over with zeros, so that all others stay where they are: a shard is
written anew once, whatever number of versions shares it. Every version goes on under a further tag, NAME@v1.2.0+forgotten.1, with
SHA-256 digests in place of names. Then the old objects are deleted, what other datasets still need excepted. Done in this order, so
that a command which was killed is typed again and goes on.

What it cannot reach: clones, caches and copies of other people; object stores that keep old versions of objects; an old manifest's
name in git's history (a hash says nothing of a person, and git holds nothing else); models that learnt from the images, which the
command names. What stages made of them, prepared images and reports, goes with them, from the working copy, the cache and the remote.
"""

from __future__ import annotations

import hashlib
import io
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from ruamel.yaml import YAML

from components.datasets.locks import writing
from components.datasets.manifest import MANIFEST, manifest_digest, parse_manifest
from components.datasets.versions import tags
from components.datasets.versions.commit import check_identity, content_of, off_branch
from components.datasets.versions.counts import annotation_counts, in_order
from components.datasets.versions.derived import derived
from components.datasets.versions.erasing import Rebuilt, State, erased_shards, member_names, places, rebuild
from components.datasets.versions.objects import Objects, key_of, parse_record, record_path
from components.datasets.versions.opening import open_recorded
from components.datasets.versions.tags import Version, VersionRecord
from components.dvc_repo import opened
from components.errors import ConfigError, DataError, InputError
from components.git import git

log = logging.getLogger(__name__)


@dataclass
class Plan:
    """What `forget` would do.

    Attributes:
        name: The dataset.
        ids: The images by id, exact copies under other ids included.
        sha256: SHA-256 of their bytes.
        versions: The versions that hold any of them now.
        elsewhere: Other datasets whose newest state holds the same bytes: they are left alone.
        states: By the folder's object, everything in git's history that holds any of them, or their bytes.
        places: Where in which shards they start, by the shard's MD5.
    """

    name: str
    ids: list[str]
    sha256: set[str]
    versions: list[Version]
    elsewhere: dict[str, int]
    states: dict[str, State] = field(repr=False)
    places: dict[str, set[int]] = field(repr=False)


def plan(project: Path, name: str, images: Sequence[str]) -> Plan:
    """Find out where some images are.

    Raises:
        ConfigError: No git, or no versions.
        InputError: No version has an image of that id, the working copy was changed, or a version would be left empty.
        DataError: A version's bytes are neither in the cache nor in the remote.
    """
    check_identity(project)
    known = tags.versions(project, name)
    if not known:
        raise ConfigError(f"{name} has no versions; delete the images at their source and import again with --replace")
    _refuse_changed(project, name)
    objects = Objects(project)
    tables = _history(project, objects, name, {_record(project, version.commit, name) for version in known})
    ids, sha256 = set(images), set[str]()
    for _, table in tables.values():
        sha256 |= set(table.column("sha256").filter(_among(table, "image_id", ids)).to_pylist())
    states = {}
    for md5, (files, table) in tables.items():
        rows = np.flatnonzero(np.asarray(pc.or_(_among(table, "image_id", ids), _among(table, "sha256", sha256))))
        states[md5] = State(md5, files, table, rows)
    found = {image_id for state in states.values() for image_id in state.table.column("image_id").take(pa.array(state.rows)).to_pylist()}
    if missing := sorted(ids - found):
        raise InputError(f"no version of {name} has {', '.join(missing[:5])}; expected image ids as the manifest has them")
    if any(len(state.rows) == state.table.num_rows for state in states.values()):
        raise InputError(f"a version of {name} would be left without images; delete the dataset instead: its tags, data/{name}, and dvc gc")
    starts = places(states.values(), found, objects)
    states = {md5: state for md5, state in states.items() if len(state.rows) or starts.keys() & set(state.files.values())}
    holding = [version for version in known if _record(project, version.commit, name) in states]
    return Plan(name, sorted(found), sha256, holding, _elsewhere(project, objects, name, sha256), states, starts)


def forget(project: Path, planned: Plan, reason: str) -> list[str]:
    """Do what was planned; returns the tags that were made.

    Raises:
        TransientError: The remote does not answer; typed again, the command goes on. Or another process writes the dataset.
    """
    with writing(project / "data" / planned.name):
        return _forget(project, planned, reason)


def _forget(project: Path, planned: Plan, reason: str) -> list[str]:
    name, objects = planned.name, Objects(project)
    marks = sorted(hashlib.sha256(image_id.encode()).hexdigest() for image_id in planned.ids)
    shards = erased_shards(planned.places, member_names(planned.ids), objects, f"forget in {name}")
    rebuilt = {md5: rebuild(state, shards, objects) for md5, state in planned.states.items()}
    for state in rebuilt.values():
        objects.push(state.md5)
    new = {*shards.values(), *(md5 for state in rebuilt.values() for md5 in (state.manifest_md5, state.md5))}
    made = [_go_on(project, version, rebuilt[_record(project, version.commit, name)], objects, marks, reason) for version in planned.versions]
    _working_copy(project, name, rebuilt, reason)
    _delete(project, planned, objects, set(shards), new)
    return made


def _history(project: Path, objects: Objects, name: str, needed: set[str]) -> dict[str, tuple[dict[str, str], pa.Table]]:
    """Return files and manifest of everything that data/NAME.dvc was in any commit, as far as it is still kept."""
    commits = (git(project, "log", "--all", "--reflog", "--format=%H", "--", record_path(name)) or "").split()
    found = {}
    md5s = dict.fromkeys([*needed, *(md5 for commit in commits if (md5 := _record(project, commit, name)))])
    if (project / record_path(name)).exists():
        md5s[str(parse_record((project / record_path(name)).read_text(encoding="utf-8"), record_path(name))["md5"])] = None
    for md5 in md5s:
        try:
            files = objects.listing(md5)
            found[md5] = files, parse_manifest(pa.BufferReader(objects.read(files[MANIFEST])), name=f"{name}: {MANIFEST}")
        except (InputError, KeyError) as error:
            if md5 in needed:
                raise DataError(f"a version of {name} cannot be read, so nothing can be promised: {error}") from None
    return found


def _record(project: Path, commit: str, name: str) -> str:
    """Return the folder's object that a commit names, empty if it has none."""
    text = git(project, "show", f"{commit}:./{record_path(name)}", check=False)
    try:
        return str(parse_record(text, "")["md5"]) if text else ""
    except DataError:
        return ""


def _elsewhere(project: Path, objects: Objects, name: str, sha256: set[str]) -> dict[str, int]:
    found = {}
    for path in sorted((project / "data").glob("*.dvc")):
        if path.stem != name:
            try:
                with open_recorded(objects, str(parse_record(path.read_text(encoding="utf-8"), str(path))["md5"]), path.stem) as other:
                    count = int(pc.sum(_among(other.table, "sha256", sha256)).as_py() or 0)
            except InputError:
                continue  # no dataset, or not kept here
            if count:
                found[path.stem] = count
    return found


def _among(table: pa.Table, column: str, values: set[str]) -> Any:
    return pc.is_in(table.column(column).combine_chunks(), value_set=pa.array(sorted(values), pa.string()))


def _go_on(project: Path, version: Version, rebuilt: Rebuilt, objects: Objects, marks: list[str], reason: str) -> str:
    """Tag the version without the images."""
    text = str(git(project, "show", f"{version.commit}:./{record_path(version.name)}"))
    message = f"data: {version.ref} without {len(marks)} images that had to be forgotten\n\n{reason}"
    commit = off_branch(project, {record_path(version.name): _with_md5(text, rebuilt)}, message, parent=version.commit)
    with open_recorded(objects, rebuilt.md5, version.ref) as dataset:
        info = dataset.info
    before = version.record
    record = VersionRecord(
        task=info.task,
        num_images=rebuilt.table.num_rows,
        class_counts=in_order(annotation_counts(rebuilt.table), info.classes),
        manifest_digest=manifest_digest(rebuilt.table),
        content=content_of(info, rebuilt.manifest_sha256),
        checks=before.checks if before else None,
        forgotten=sorted({*(before.forgotten if before else []), *marks}),
    )
    tag = tags.forgotten_tag(version)
    tags.create(project, tag, commit, f"{version.ref}: {len(record.forgotten)} images forgotten. {reason}", record)
    return tag


def _with_md5(text: str, rebuilt: Rebuilt) -> str:
    yaml = YAML()
    content = yaml.load(text)
    out = content["outs"][0]
    out["md5"] = rebuilt.md5
    if "size" in out:
        out["size"] += rebuilt.growth
    buffer = io.StringIO()
    yaml.dump(content, buffer)
    return buffer.getvalue()


def _working_copy(project: Path, name: str, rebuilt: dict[str, Rebuilt], reason: str) -> None:
    path = project / record_path(name)
    if not path.exists():
        return
    text = path.read_text(encoding="utf-8")
    found = rebuilt.get(str(parse_record(text, str(path))["md5"]))
    if found is None:
        return
    path.write_text(_with_md5(text, found), encoding="utf-8")
    with opened(project) as repo:
        if (project / "data" / name).exists():
            repo.checkout(targets=[str(project.absolute() / record_path(name))], force=True)
    if git(project, "ls-files", "--", record_path(name)):
        message = f"data: {name} without images that had to be forgotten\n\n{reason}"
        git(project, "commit", "--quiet", "--only", "--file=-", "--", record_path(name), text=message)


def _delete(project: Path, planned: Plan, objects: Objects, shards: set[str], new: set[str]) -> None:
    """Delete what held the images from cache and remote, the lists last: by them a command that is typed again finds the rest."""
    live = new | _needed_by_others(project, objects, planned.name)
    dead = [md5 for md5 in (*shards, *(state.files[MANIFEST] for state in planned.states.values() if len(state.rows))) if md5 not in live]
    dead += [md5 for md5 in planned.states if md5 not in live]
    dead = [*_made_of_it(project, planned, objects, live), *dead]
    for md5 in dict.fromkeys(dead):
        path = objects.cache / key_of(md5)
        if path.exists():
            path.chmod(0o644)
            path.unlink()
    if objects.remote is None:
        return
    with opened(project) as repo:
        remote = repo.cloud.get_remote_odb(None, "delete", hash_name="md5")
        for md5 in dict.fromkeys(dead):
            if remote.exists(md5):
                remote.delete(md5)
    if kept := (shards & live) - new:
        log.warning("%d shards are also those of other datasets and stay as they are there", len(kept))


def _made_of_it(project: Path, planned: Plan, objects: Objects, live: set[str]) -> list[str]:
    """Delete what stages made of the images from the working copy; return the objects that hold it."""
    states = planned.states.values()
    outputs, here = derived(project, planned.name, {*planned.states, *(state.files[MANIFEST] for state in states if len(state.rows))})
    for path in here:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
    found: list[str] = []
    for md5 in sorted(outputs):
        if md5.endswith(".dir"):
            try:
                found += objects.listing(md5).values()
            except InputError:
                continue  # not kept any more
        found.append(md5)
    return [md5 for md5 in found if md5 not in live]


def _needed_by_others(project: Path, objects: Objects, name: str) -> set[str]:
    """Return the objects of the newest state of all other datasets and of all their versions."""
    md5s = set()
    for path in (project / "data").glob("*.dvc"):
        if path.stem != name:
            try:
                md5s.add(str(parse_record(path.read_text(encoding="utf-8"), str(path))["md5"]))
            except DataError:
                continue
    for tag in (git(project, "tag", "--list", "*@v*") or "").split():
        other = tag.partition("@")[0]
        if other != name:
            md5s.add(_record(project, tag, other))
    needed = set()
    for md5 in md5s - {""}:
        try:
            needed |= {md5, *objects.listing(md5).values()}
        except InputError:
            continue  # not kept any more
    return needed


def _refuse_changed(project: Path, name: str) -> None:
    if not (project / "data" / name).exists() or not (project / record_path(name)).exists():
        return
    with opened(project) as repo:
        (stage,) = repo.stage.collect(str(project.absolute() / record_path(name)))
        if any(out.workspace_status() for out in stage.outs):
            raise InputError(f"data/{name} holds changes that DVC does not have; commit them first: darkroom data commit {name} -m TEXT")
