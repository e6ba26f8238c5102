"""dvc.yaml as DVC reads it: which stages there are, which are out of date and why, and the record of one that ran.

Everything here leaves byte for byte the `dvc.lock` that `dvc repro` leaves; it differs in one thing: a record is refused if
parameters or dependencies changed while the stage ran, since DVC would write down the new ones beside the old result.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.dvc_repo import readable
from components.errors import ConfigError, DataError, unknown_name
from components.stage_code import LOCK
from flows.code_lock import changes, refresh

if TYPE_CHECKING:
    from dvc.stage import PipelineStage


@dataclass(frozen=True)
class Inputs:
    """What a stage was started with: content hashes of its dependencies, values of its parameters."""

    hashes: dict[str, Any]
    digest: str
    """SHA-256 over command, dependencies and parameters, 64 hexadecimal digits."""


class Pipeline:
    """The stages of dvc.yaml in the order in which they run.

    Args:
        project: The folder with dvc.yaml, inside a git repository.

    Raises:
        ConfigError: There is no git or DVC repository, or dvc.yaml or params.yaml cannot be read.
    """

    def __init__(self, project: Path) -> None:
        from dvc.repo import Repo

        logging.getLogger("dvc").setLevel(logging.ERROR)  # importing DVC sets it; what it would say is said by the run
        if not (project / "dvc.yaml").exists():
            raise ConfigError(f"{project / 'dvc.yaml'} not found. Run the command in the folder that holds dvc.yaml")
        with readable():
            self.repo = Repo(str(project))
            self._graph = self.repo.index.graph
        self.project = project
        self._see_code()

    def _see_code(self) -> None:
        with readable():
            refresh(self.project, [stage for stage in self.repo.index.stages if stage.cmd])

    def close(self) -> None:
        """Let go of DVC's databases."""
        self.repo.close()

    def stages(self, until: str | None = None) -> list[PipelineStage]:
        """Return the stages in order: all, or those that `until` needs and itself.

        Args:
            until: A stage, or the name before the `@` of a group of stages.

        Raises:
            ConfigError: There is no such stage; the error lists the names there are.
        """
        from dvc.repo.reproduce import get_active_graph, plan_repro
        from dvc.stage import PipelineStage

        targets = [stage for stage in self.repo.index.stages if isinstance(stage, PipelineStage)]
        if until is not None:
            names = {stage.addressing for stage in targets} | {stage.addressing.partition("@")[0] for stage in targets}
            targets = [stage for stage in targets if until in (stage.addressing, stage.addressing.partition("@")[0])]
            if not targets:
                raise unknown_name("stage", until, names)
        plan = plan_repro(get_active_graph(self._graph), targets)
        return [stage for stage in plan if isinstance(stage, PipelineStage)]

    def following(self, stage: PipelineStage) -> set[str]:
        """Return the names of the stages that depend on `stage`, near and far."""
        import networkx  # type: ignore[import-untyped]

        return {other.addressing for other in networkx.ancestors(self._graph, stage) if other.addressing}

    def check_data(self) -> None:
        """Refuse data that differs from what DVC has on record for it: lineage would name other bytes.

        Raises:
            InputError: Tracked data was changed, or is missing, or something that DVC is to keep lies behind a link.
        """
        self._refuse_links()
        with readable(), self.repo.lock:
            for stage in self.repo.index.stages:
                if not stage.is_data_source:
                    continue
                for out in stage.outs:
                    state = next(iter(out.workspace_status().values()), None)
                    where = Path(out.fs_path).relative_to(self.project)
                    record = Path(stage.path).relative_to(self.project)
                    if state == "deleted":
                        raise DataError(
                            f"{where} is not here, but {record} says it should be. Fetch it: dvc pull {record} (or: dvc checkout {record})"
                        )
                    if state:
                        raise DataError(
                            f"{where} is not what {record} says: changed. Record it: dvc add {where}; or put it back: dvc checkout {record}"
                        )

    def _refuse_links(self) -> None:
        """Refuse outputs in a folder that is a link before anything runs: DVC would when the first of them is to be recorded."""
        paths = [Path(out.fs_path) for stage in self.repo.index.stages for out in stage.outs]
        folders = {folder for path in paths for folder in path.parents if self.project in folder.parents}
        for folder in sorted(folders):
            if folder.is_symlink():
                raise ConfigError(
                    f"{folder.relative_to(self.project)} is a link to {folder.readlink()}; DVC keeps nothing behind links. Make it a folder again. "
                    "What grows is DVC's cache, and that can lie elsewhere: dvc cache dir --local PATH"
                )

    def reasons(self, stage: PipelineStage) -> list[str]:
        """Return why a stage is out of date, in plain words; empty if it is not."""
        with readable(), self.repo.lock:
            status = stage.status().get(stage.addressing, [])
        if status and not stage.md5 and not any(out.hash_info for out in stage.outs):
            return ["has not run yet"]
        with readable():
            return [*_changed_params(stage), *(reason for entry in status for reason in _reasons(entry))]

    def out_of_date(self, stages: Sequence[PipelineStage]) -> list[PipelineStage]:
        """Return those that are out of date, and those that may be once these have run."""
        stale = [stage for stage in stages if self.reasons(stage)]
        reached = {stage.addressing for stage in stale}.union(*(self.following(stage) for stage in stale))
        return [stage for stage in stages if stage.addressing in reached]

    def key(self, stage: PipelineStage) -> str:
        """Return the digest of the inputs that dvc.lock has on record for a stage."""
        return _inputs(stage).digest

    def changed_inputs(self, stages: Sequence[PipelineStage]) -> list[str]:
        """Name what of the parameters and dependencies of stages is not what they were recorded with, in plain words."""
        lines: list[str] = []
        with readable(), self.repo.lock:
            for stage in stages:
                status = stage.status().get(stage.addressing, [])
                changed = [entry for entry in status if isinstance(entry, dict) and "changed deps" in entry]
                lines += [*_changed_params(stage), *(reason for entry in changed for reason in _reasons(entry))]
        return list(dict.fromkeys(lines))

    def restore(self, stage: PipelineStage) -> bool:
        """Bring back the outputs that DVC has cached for exactly these inputs, and record them; False if there are none."""
        from dvc.stage.cache import RunCacheNotFoundError

        with readable(), self.repo.lock:
            try:
                self.repo.stage_cache.restore(stage)
            except RunCacheNotFoundError:
                return False
            self._record(stage, None)
        return True

    def begin(self, stage: PipelineStage) -> Inputs:
        """Remove the outputs of a stage, as DVC does before it runs one, and return its inputs."""
        with readable(), self.repo.lock:
            stage.remove_outs(ignore_remove=False, force=False)
            stage.save_deps()
            return _inputs(stage)

    def record(self, stage: PipelineStage, inputs: Inputs) -> None:
        """Put the outputs into DVC's cache and the stage into dvc.lock.

        Raises:
            ConfigError: Parameters or dependencies are not what they were when the stage began; nothing is recorded.
            InputError: An output is missing, or the disk is full.
        """
        with readable(), self.repo.lock:
            self._record(stage, inputs)

    def _record(self, stage: PipelineStage, inputs: Inputs | None) -> None:
        self._see_code()
        stage.save(run_cache=False)
        if inputs is not None and (now := _inputs(stage)) != inputs:
            changed = sorted(name for name in now.hashes | inputs.hashes if now.hashes.get(name) != inputs.hashes.get(name))
            raise ConfigError(
                f"{', '.join(changed)} changed while {stage.addressing} ran: its result belongs to neither and is not recorded. Run again"
            )
        if not any(not out.use_cache for out in stage.outs if not (out.is_metric or out.is_plot)):
            self.repo.stage_cache.save(stage)
        stage.commit()
        self._write_lock(stage)

    def _write_lock(self, stage: PipelineStage) -> None:
        """Enter a stage into dvc.lock. DVC itself writes the file in place, a second for a large one: who is stopped meanwhile leaves half of it."""
        from dvc.dvcfile import Lockfile

        lock, partial = Path(stage.path).with_suffix(".lock"), Path(str(self.repo.tmp_dir)) / "darkroom-dvc.lock"
        partial.unlink(missing_ok=True)
        if lock.exists():
            shutil.copy(lock, partial)
        Lockfile(self.repo, str(partial)).dump(stage)
        partial.replace(lock)


def _inputs(stage: PipelineStage) -> Inputs:
    from dvc.dependency import ParamsDependency

    hashes: dict[str, Any] = {}
    for dependency in stage.deps:
        if isinstance(dependency, ParamsDependency):
            hashes |= {f"{dependency.def_path}: {name}": value for name, value in dependency.hash_info.value.items()}
        else:
            hashes[dependency.def_path] = dependency.hash_info.value
    text = json.dumps([stage.cmd, hashes], sort_keys=True, default=str)
    return Inputs(hashes, hashlib.sha256(text.encode()).hexdigest())


def _changed_params(stage: PipelineStage) -> list[str]:
    """Name each parameter that is not what it was, with both values."""
    from dvc.dependency import ParamsDependency

    lines = []
    for dependency in stage.deps:
        if isinstance(dependency, ParamsDependency) and dependency.def_path == LOCK:
            was, is_now = dependency.hash_info.value or {}, dependency.read_params()
            lines += [line for entry in dependency.params for line in changes(entry, was.get(entry) or {}, is_now.get(entry) or {})]
        elif isinstance(dependency, ParamsDependency):
            before, now = _flat(dependency.hash_info.value or {}), _flat(dependency.read_params())
            lines += [f"{key}: {before.get(key, 'none')} → {now.get(key, 'none')}" for key in sorted(before | now) if before.get(key) != now.get(key)]
    return lines


def _flat(params: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(params, dict) or (prefix and not params):
        return {prefix: params}
    return {key: value for name, inner in params.items() for key, value in _flat(inner, f"{prefix}.{name}" if prefix else str(name)).items()}


def _reasons(entry: str | dict[str, dict[str, Any]]) -> Iterator[str]:
    """Turn an entry of DVC's status into words."""
    if isinstance(entry, str):
        yield {"changed checksum": "its command changed", "always changed": "runs every time"}.get(entry, entry)
        return
    for kind, items in entry.items():
        by_state: dict[str, list[str]] = {}
        for name, state in items.items():
            if not isinstance(state, dict):  # parameters: see _changed_params
                by_state.setdefault(state, []).append(name)
        for state, names in by_state.items():
            one, several = _WORDS.get(state, (state, state))
            if kind == "changed outs" and len(names) > 1:
                yield f"{len(names)} outputs {several}: {names[0]} …"
            else:
                yield from (f"{'output ' if kind == 'changed outs' else ''}{name} {one}" for name in names)


_WORDS = {"not in cache": ("is not in DVC's cache", "are not in DVC's cache"), "deleted": ("is missing", "are missing")}
"""Ours for DVC's of a file's state: of one file, of several."""
