"""`darkroom data commit`: what stands in data/NAME becomes a version that can be found again.

In this order, so that a version which can be seen is whole: the version into dataset.yaml, the bytes into DVC's cache, then to the
remote, then data/NAME.dvc into git, the tag last. Each part is skipped where it is done, so a commit that was killed, or whose
remote was away, is typed again and goes on.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc

from components.datasets.locks import writing
from components.datasets.manifest import (
    DATASET,
    DIGESTED,
    MANIFEST,
    SHARDS,
    DatasetInfo,
    manifest_digest,
    read_dataset,
    read_table,
    write_dataset_info,
)
from components.datasets.versions import tags
from components.datasets.versions.counts import annotation_counts, in_order
from components.datasets.versions.objects import Objects, parse_record, record_path
from components.datasets.versions.tags import Checks, Version, VersionRecord
from components.dvc_repo import opened
from components.errors import ConfigError, DarkroomError, DataError, InputError
from components.files import sha256_of
from components.git import git
from components.records import Verdict

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Committed:
    """What `commit` did.

    Attributes:
        version: The version that is there now.
        created: Whether this call made it; false where it was there already, word for word.
        remote: Where its bytes are beside this machine; None: no remote is set.
    """

    version: Version
    created: bool
    remote: str | None


def commit(project: Path, name: str, message: str, version: str | None = None, on_branch: bool = True) -> Committed:
    """Make a version of data/NAME.

    Args:
        project: The checkout.
        name: The dataset.
        message: What changed, for people.
        version: As in 1.3.0; None: the one in dataset.yaml if it is newer than all there are, else the next minor one.
        on_branch: Commit data/NAME.dvc to the current branch, and nothing else of what is staged; False: the tag alone holds the commit.

    Raises:
        InputError: Nothing changed since the newest version, the version exists with other content, or is no semantic version.
        ConfigError: No git, no name of who commits.
        TransientError: The remote is away; typed again, the command goes on. Or another process writes the dataset, or commits it.
    """
    tags.check_name(name)
    with writing(project / "data" / name):
        return _commit(project, name, message, version, on_branch)


def _commit(project: Path, name: str, message: str, version: str | None, on_branch: bool) -> Committed:
    folder = project / "data" / name
    info = read_dataset(folder)
    check_identity(project)
    if not message.strip():
        raise InputError("the message is empty; expected in a few words what changed: -m TEXT")
    known = tags.versions(project, name)
    record = describe(project, folder, info)
    there = _same(known, version, record)
    chosen = there.version if there else _choose(known, version, info, record)
    if info.version != chosen:
        _write_version(folder, info, chosen)
    remote = store(project, name)
    if there:
        return Committed(there, created=False, remote=remote)
    made = _git_commit(project, name, f"data: {name} {chosen}\n\n{message.strip()}", on_branch)
    tags.create(project, f"{name}@v{chosen}", made, message, record)
    return Committed(tags.find(project, name, chosen), created=True, remote=remote)


def describe(project: Path, folder: Path, info: DatasetInfo) -> VersionRecord:
    """Return what the tag of a version says of the dataset in a folder.

    Raises:
        DataError: A shard that the manifest names is missing.
    """
    table = read_table(folder, [*DIGESTED, "shard", "mask_shard"])
    shards = {shard for column in ("shard", "mask_shard") for shard in pc.unique(table.column(column)).to_pylist() if shard is not None}
    if missing := sorted(shard for shard in shards if not (folder / SHARDS / shard).is_file()):
        raise DataError(f"{folder / SHARDS / missing[0]} not found, though the manifest names it; `dvc checkout` brings it back")
    digest = manifest_digest(table)
    return VersionRecord(
        task=info.task,
        num_images=table.num_rows,
        class_counts=in_order(annotation_counts(table), info.classes),
        manifest_digest=digest,
        content=content_of(info, sha256_of(folder / MANIFEST)),
        checks=last_checks(project, info.name, digest),
    )


def content_of(info: DatasetInfo, manifest_sha256: str) -> str:
    """Return the digest by which a version is told from the one before; the version's own name is no part of it."""
    return hashlib.sha256(repr((info.name, info.task, info.classes, manifest_sha256)).encode()).hexdigest()


def last_checks(project: Path, name: str, digest: str) -> Checks | None:
    """Return what the newest verdict under reports/ says of exactly these images and annotations; None if there is none."""
    paths = sorted((project / "reports").glob("**/verdict.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in paths:
        try:
            verdict = Verdict.load(path)
        except DarkroomError:
            continue  # another kind of report
        if (verdict.dataset.name, verdict.dataset.manifest_digest) == (name, digest):
            broken = {
                level: [entry.name for entry in verdict.expectations if not entry.success and entry.level == level] for level in ("fail", "warn")
            }
            source = path.parent.relative_to(project).as_posix()
            return Checks(passed=verdict.passed, failed=broken["fail"], warned=broken["warn"], source=source)
    return None


def store(project: Path, name: str) -> str | None:
    """Put data/NAME into DVC's cache and from there to the default remote, as far as it is not there; return the remote's URL.

    Raises:
        TransientError: The remote is away; what has arrived stays.
    """
    objects = Objects(project)
    with opened(project) as repo:
        repo.add(str(project.absolute() / "data" / name))
        remote = repo.config["core"].get("remote")
        if remote is None:
            log.info("%s: no remote is set, so the bytes are on this machine alone; dvc remote add --default NAME URL", name)
            return None
        if not objects.is_reached:
            repo.push(targets=[str(project.absolute() / record_path(name))])
        url = str(repo.config["remote"][remote]["url"])
    if objects.is_reached:
        text = (project / record_path(name)).read_text(encoding="utf-8")
        objects.push(str(parse_record(text, record_path(name))["md5"]))
    return url


def check_identity(project: Path) -> None:
    """Refuse to commit for nobody.

    Raises:
        ConfigError: No git repository, or git does not know who commits.
    """
    if git(project, "rev-parse", "--git-dir", check=False) is None:
        raise ConfigError(f"{project} is in no git repository, and a version is a tag in one. Make one: git init")
    for variable in ("GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT"):
        if git(project, "-c", "user.useConfigOnly=true", "var", variable, check=False) is None:
            raise ConfigError(
                'git does not know who you are, and a version says who made it: git config user.name "NAME"; git config user.email ADDRESS'
            )


def _same(known: list[Version], version: str | None, record: VersionRecord) -> Version | None:
    """Return the version that was asked for by name and is there already with this content."""
    wanted = version and tags.check_version(version)
    return next((entry for entry in known if entry.version == wanted and entry.record and entry.record.content == record.content), None)


def _choose(known: list[Version], version: str | None, info: DatasetInfo, record: VersionRecord) -> str:
    newest = known[0] if known else None
    if version is not None and (taken := next((entry for entry in known if entry.version == tags.check_version(version)), None)):
        raise InputError(f"{taken.ref} exists and holds other data: {taken.message or 'no message'}. A version never changes: choose another")
    if newest and newest.record and newest.record.content == record.content:
        raise InputError(f"nothing changed since {newest.ref}: the same images, annotations and classes. There is nothing to commit")
    if version is not None:
        return tags.check_version(version)
    try:
        given = tags.check_version(info.version)
    except InputError:
        given = "1.0.0"
    if newest is None or tags.order(given) > tags.order(newest.version):
        return given
    return tags.next_minor(newest.version)


def _write_version(folder: Path, info: DatasetInfo, version: str) -> None:
    """Write the version into dataset.yaml; as a new file, since the old one may be a link into DVC's cache."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        write_dataset_info(info.model_copy(update={"version": version}), Path(temporary))
        (Path(temporary) / DATASET).replace(folder / DATASET)


def _git_commit(project: Path, name: str, message: str, on_branch: bool) -> str:
    """Commit data/NAME.dvc and data/.gitignore; return the commit that holds them."""
    paths = [record_path(name), *(["data/.gitignore"] if (project / "data" / ".gitignore").exists() else [])]
    if not on_branch:
        return off_branch(project, {path: (project / path).read_text(encoding="utf-8") for path in paths}, message)
    git(project, "add", "--", *paths)
    if git(project, "status", "--porcelain", "--", *paths):
        git(project, "commit", "--quiet", "--only", "--file=-", "--", *paths, text=message)
    return str(git(project, "rev-parse", "HEAD"))


def off_branch(project: Path, files: dict[str, str], message: str, parent: str = "HEAD") -> str:
    """Make a commit on no branch: the parent with some files changed; a tag is to hold it.

    Args:
        project: The checkout.
        files: Texts by path from the checkout's root.
        message: The commit's.
        parent: A commit.
    """
    with tempfile.TemporaryDirectory() as folder:
        env = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        git(project, "read-tree", parent, env=env)
        prefix = git(project, "rev-parse", "--show-prefix") or ""
        for path, text in files.items():
            blob = git(project, "hash-object", "-w", "--stdin", text=text)
            git(project, "update-index", "--add", "--cacheinfo", f"100644,{blob},{prefix}{path}", env=env)
        tree = git(project, "write-tree", env=env)
    return str(git(project, "commit-tree", str(tree), "-p", parent, "-F", "-", text=message))
