"""code.lock: what the stages of a project elsewhere know of the package's code, which DVC cannot watch there.

A stage depends on its entry as on a parameter (`params: [{code.lock: [train]}]` in dvc.yaml), so an upgrade re-runs what it touches. Darkroom
writes the file whenever it opens the pipeline. The repository's own dvc.yaml names its sources instead, and has no code.lock.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from components.config import read_params, with_overrides
from components.files import replacing
from components.stage_code import CODE, LOCK, current, named, read_lock, step_of

if TYPE_CHECKING:
    from dvc.stage import PipelineStage

_HEAD = "# Written by darkroom: the code of each stage and the libraries it decides by. Belongs into git, as dvc.lock does.\n"


def refresh(project: Path, stages: Iterable[PipelineStage]) -> None:
    """Write into code.lock what is installed, for each entry that a stage of ours depends on; the file is not touched if it says so already.

    Args:
        project: The folder with dvc.yaml.
        stages: All stages of dvc.yaml.
    """
    from dvc.dependency import ParamsDependency

    lock: dict[str, Any] = {}
    for stage in stages:
        step = step_of(str(stage.cmd))
        keys = [key for dep in stage.deps if isinstance(dep, ParamsDependency) and dep.def_path == LOCK for key in dep.params]
        if step and keys:
            entry = current().fingerprint(step[0], named(read_params(project / "params.yaml"), step[1:]))
            with_overrides(lock, dict.fromkeys(keys, entry))
    if lock and lock != read_lock(project):
        yaml = YAML()
        yaml.representer.ignore_aliases = lambda _: True
        with replacing(project / LOCK) as partial, partial.open("w", encoding="utf-8") as file:
            file.write(_HEAD)
            yaml.dump(lock, file)


def changes(entry: str, before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return in words what differs between two entries.

    Args:
        entry: Its name in code.lock.
        before: As dvc.lock has it.
        now: As code.lock has it.
    """
    lines = [f"the code of {entry} changed"] if before.get(CODE) != now.get(CODE) else []
    libraries = sorted((before.keys() & now.keys()) - {CODE})  # one that came or went did so because the code changed
    return lines + [f"{name} {before[name]} → {now[name]}" for name in libraries if before[name] != now[name]]
