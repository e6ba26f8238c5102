"""What stages made of a dataset, by every dvc.lock in git's history: prepared images and reports, which show what the dataset held."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from components.git import git

#: Where outputs hold images or their names. Models hold neither; the registry says which were trained on what.
_SHOWN_IN = ("data", "reports")


def derived(project: Path, name: str, md5s: set[str]) -> tuple[set[str], set[Path]]:
    """Return what came of some states of data/NAME.

    Args:
        project: The checkout.
        name: The dataset.
        md5s: Of the folder's object and of the manifest in these states.

    Returns:
        The MD5 of outputs that came of them alone, and the paths of those that stand in the working copy now.
    """
    doomed, others, here = set[str](), set[str](), set[Path]()
    for number, stages in enumerate(_locks(project)):
        tainted = _tainted(stages, name, md5s)
        for stage, entry in stages.items():
            for out in entry.get("outs", []):
                md5 = str(out.get("md5", ""))
                if stage in tainted and Path(out["path"]).parts[0] in _SHOWN_IN:
                    doomed.add(md5)
                    here |= {project / out["path"]} if number == 0 else set()
                else:
                    others.add(md5)
    return doomed - others - {""}, here


def _tainted(stages: dict[str, Any], name: str, md5s: set[str]) -> set[str]:
    """Return the stages that read these states, or what other such stages wrote."""
    found, written = set[str](), set[str]()
    while True:
        new = {
            stage for stage, entry in stages.items() if stage not in found and any(_reads(dep, name, md5s, written) for dep in entry.get("deps", []))
        }
        if not new:
            return found
        found |= new
        written |= {str(out["path"]) for stage in new for out in stages[stage].get("outs", [])}


def _reads(dep: dict[str, Any], name: str, md5s: set[str], written: set[str]) -> bool:
    path = str(dep["path"])
    if path == f"data/{name}" or path.startswith(f"data/{name}/"):
        return str(dep.get("md5")) in md5s
    return any(path == out or path.startswith(f"{out}/") for out in written)


def _locks(project: Path) -> Iterator[dict[str, Any]]:
    """Yield the stages of dvc.lock in the working copy, then of every commit that changed it."""
    lock = project / "dvc.lock"
    yield _stages(lock.read_text(encoding="utf-8") if lock.exists() else "")
    for commit in (git(project, "log", "--all", "--reflog", "--format=%H", "--", "dvc.lock", check=False) or "").split():
        yield _stages(git(project, "show", f"{commit}:./dvc.lock", check=False) or "")


def _stages(text: str) -> dict[str, Any]:
    try:
        content = YAML(typ="safe", pure=True).load(text) or {}
    except YAMLError:
        return {}
    return dict(content.get("stages", {})) if isinstance(content, dict) else {}
