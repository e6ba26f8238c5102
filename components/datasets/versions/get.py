"""`darkroom data get` and `pull`: the bytes of a version, as a plain folder or as the working copy."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from components.datasets.locks import writing
from components.datasets.manifest import dataset_ref
from components.datasets.versions.objects import Objects, parse_record, record_path, recorded
from components.datasets.versions.tags import Version, find, parse_ref
from components.dvc_repo import opened
from components.errors import ConfigError, DataError, InputError
from components.files import replacing
from components.git import git
from components.progress import bar
from components.records import DatasetRef

_NUM_COPIES = 4


def get(project: Path, ref: str, out: Path) -> DatasetRef:
    """Write a version as a plain dataset folder that belongs to nothing.

    Args:
        project: The checkout.
        ref: NAME@v1.2.0.
        out: The folder to make.

    Raises:
        InputError: `out` exists.
        DataError: The version's bytes are neither in the cache nor in the remote.
        TransientError: The remote does not answer; nothing is left at `out`.
    """
    version = _found(project, ref)
    if out.exists():
        raise InputError(f"{out} exists; name a folder that does not, or delete it")
    objects = Objects(project)
    files = objects.listing(str(recorded(project, version.commit, version.name)["md5"]))
    for path in files:
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise DataError(f"{version.ref} lists a file outside of itself: {path}")
    with replacing(out) as folder:
        for path in files:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
        with bar(f"get {version.ref}", len(files), "files") as progress, ThreadPoolExecutor(_NUM_COPIES) as pool:
            for _ in pool.map(lambda item: objects.copy(item[1], folder / item[0]), sorted(files.items())):
                progress.update()
    return dataset_ref(out)


def pull(project: Path, ref: str, force: bool = False) -> str:
    """Bring the working copy data/NAME: what data/NAME.dvc says, or a version.

    Args:
        project: The checkout.
        ref: NAME, or NAME@v1.2.0; then data/NAME.dvc becomes that version's.
        force: Write over changes that no version holds.

    Returns:
        What was brought: the version, or data/NAME.dvc.

    Raises:
        InputError: data/NAME holds changes that DVC does not have.
        TransientError: The remote does not answer; typed again, the command goes on. Or another process writes the dataset.
    """
    name, number = parse_ref(ref)
    if number is None:
        if not (project / record_path(name)).exists():
            raise ConfigError(f"{record_path(name)} not found; say which version to bring: {name}@v1.0.0 (darkroom data log {name})")
        with writing(project / "data" / name):
            _bring(project, name, force)
        return record_path(name)
    version = _found(project, ref)
    place(project, version, force)
    return version.ref


def place(project: Path, version: Version, force: bool = False) -> bool:
    """Make data/NAME.dvc that of a version and bring its bytes; False if they were there already."""
    path = project / record_path(version.name)
    content = git(project, "show", f"{version.commit}:./{record_path(version.name)}", check=False)
    if content is None:
        raise ConfigError(f"{version.tag} has no {record_path(version.name)}. Add it there, or run on the data as checked out")
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(project / "data" / version.name):
        changed = not path.exists() or path.read_text(encoding="utf-8").strip() != content
        if changed:
            if not force:
                _refuse_unsaved(project, version.name)
            path.write_text(content + "\n", encoding="utf-8")
        if changed or not (project / "data" / version.name).exists():
            _bring(project, version.name, force=True)
    return changed


def _bring(project: Path, name: str, force: bool) -> None:
    if not force:
        _refuse_unsaved(project, name)
    target, objects = project.absolute() / record_path(name), Objects(project)
    if objects.is_reached:
        objects.fetch(str(parse_record(target.read_text(encoding="utf-8"), record_path(name))["md5"]))
    with opened(project) as repo:
        if not objects.is_reached:
            repo.fetch(targets=[str(target)])
        repo.checkout(targets=[str(target)], force=True)


def _refuse_unsaved(project: Path, name: str) -> None:
    """Refuse to write over a working copy that DVC does not have.

    Raises:
        InputError: It differs from data/NAME.dvc.
    """
    folder = project / "data" / name
    if not folder.exists():
        return
    if not (project / record_path(name)).exists():
        raise InputError(f"data/{name} is there and DVC does not track it; keep it: darkroom data commit {name} -m TEXT; or say --force")
    with opened(project) as repo:
        (stage,) = repo.stage.collect(str(project.absolute() / record_path(name)))
        if any(state != "deleted" for out in stage.outs for state in out.workspace_status().values()):
            raise InputError(f"data/{name} holds changes that no version has; keep them: darkroom data commit {name} -m TEXT; or say --force")


def _found(project: Path, ref: str) -> Version:
    name, number = parse_ref(ref)
    if number is None:
        raise ConfigError(f"found '{ref}'; expected a version as in {name}@v1.2.0 (darkroom data log {name})")
    return find(project, name, number)
