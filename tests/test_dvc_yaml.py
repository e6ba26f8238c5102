"""dvc.yaml tells the truth: a changed helper re-runs its stage, a changed exporter never re-trains."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from components.__main__ import step_function
from components.config import Section
from components.protocols import plugin_names
from components.stage_code import step_of
from flows.code_deps import sources
from flows.init import stages_text
from tests.conftest import ROOT


@cache
def stages() -> dict[str, Any]:
    with Repo(str(ROOT)) as repo:
        return {stage.addressing: stage for stage in repo.index.stages if stage.cmd}


def step_name(stage: Any) -> str:
    step = step_of(stage.cmd)
    assert step
    return step[0]


def is_covered(source: Path, deps: list[Path]) -> bool:
    return any(source == dep or dep in source.parents for dep in deps)


def of_another_task(source: Path) -> bool:
    """Tell whether a file is what dvc.yaml calls `${task.name}.py`, for a task that params.yaml does not name now."""
    return source.stem in plugin_names("components.tasks") and all(source.with_stem(task).exists() for task in plugin_names("components.tasks"))


def code_deps(stage: Any) -> list[Path]:
    return [Path(dep.fs_path) for dep in stage.deps if (ROOT / "components") in Path(dep.fs_path).parents]


@pytest.mark.parametrize("name", sorted(stages()))
def test_deps_cover_all_that_a_step_imports(name: str) -> None:
    stage = stages()[name]
    deps = code_deps(stage)
    missing = sorted(str(source.relative_to(ROOT)) for source in sources(stage) if not is_covered(source, deps) and not of_another_task(source))
    assert not missing, f"dvc.yaml, stage {name}: not in deps: {', '.join(missing)}. Type: make deps"


@pytest.mark.parametrize("name", sorted(stages()))
def test_no_stage_depends_on_code_that_it_does_not_import(name: str) -> None:
    stage = stages()[name]
    group = [other for other in stages().values() if other.addressing.partition("@")[0] == name.partition("@")[0]]  # they share one list
    imported = set[Path]().union(*(sources(other) for other in group))
    idle = [dep for dep in code_deps(stage) if not any(is_covered(source, [dep]) for source in imported)]
    assert not idle, f"dvc.yaml, stage {name}: nothing in {', '.join(map(str, idle))} is imported by the step. Type: make deps"


@pytest.mark.parametrize("name", sorted(stages()))
def test_a_step_sees_the_sections_that_dvc_watches(name: str) -> None:
    stage = stages()[name]
    hints = step_function(step_name(stage)).__annotations__
    watched = {key.split(".")[0] for params in stage.params for key in params.hash_info.value or params.params}
    read = {hint.section for hint in _hints(step_name(stage)).values() if isinstance(hint, type) and issubclass(hint, Section)}
    assert hints
    assert read == watched


def _hints(step: str) -> dict[str, Any]:
    import typing

    return typing.get_type_hints(step_function(step))


@pytest.mark.parametrize(
    ("package", "untouched"), [("exporters", ["train", "finetune", "evaluate"]), ("compression", ["train", "finetune", "evaluate"])]
)
def test_a_changed_later_plugin_never_retrains(package: str, untouched: list[str]) -> None:
    folder = ROOT / "components" / package
    for name in untouched:
        for file in folder.glob("*.py"):
            assert not is_covered(file, code_deps(stages()[name])), f"{name} depends on {file.name}"


@pytest.mark.parametrize("task", plugin_names("components.tasks"))
def test_a_project_elsewhere_has_the_same_stages_with_code_lock_in_place_of_sources(task: str) -> None:
    yaml = YAML(typ="safe", pure=True)
    here, there = yaml.load((ROOT / "dvc.yaml").read_text()), yaml.load(stages_text(task))
    assert list(here["stages"]) == list(there["stages"])
    for name, stage in here["stages"].items():
        mine, other = stage.get("do", stage), there["stages"][name].get("do", there["stages"][name])
        assert other == {
            **mine,
            "deps": [dep for dep in mine["deps"] if not dep.startswith("components/")],
            "params": [*mine["params"], *(param for param in other["params"] if isinstance(param, dict))],
        }
        [[key]] = [param["code.lock"] for param in other["params"] if isinstance(param, dict)]
        assert key.partition(".")[0] == name
        assert stage.get("foreach") == there["stages"][name].get("foreach")
        assert stage.get("matrix") == there["stages"][name].get("matrix")
