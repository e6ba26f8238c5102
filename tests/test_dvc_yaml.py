"""dvc.yaml tells the truth: a changed helper re-runs its stage, a changed exporter never re-trains."""

from __future__ import annotations

import shlex
from functools import cache
from pathlib import Path
from typing import Any

import grimp
import pytest
from dvc.repo import Repo

from components.__main__ import step_function
from components.config import Section, read_params
from components.protocols import plugin_names

ROOT = Path(__file__).parents[1]
#: A step may use any plugin of these seams; params.yaml (or the stage's own options) names the one it does use.
SEAMS = [
    "components.tasks",
    "components.evaluation.metrics",
    "components.evaluation.figures",
    "components.explanation.answers",
    "components.serving.postprocess",
    "components.exporters",
    "components.compression",
]


@cache
def import_graph() -> grimp.ImportGraph:
    return grimp.build_graph("components", cache_dir=None, exclude_type_checking_imports=True)


@cache
def stages() -> dict[str, Any]:
    with Repo(str(ROOT)) as repo:
        return {stage.addressing: stage for stage in repo.index.stages if stage.cmd}


def options_of(stage: Any) -> tuple[str, dict[str, str]]:
    words = shlex.split(stage.cmd)
    assert words[:3] == ["python", "-m", "components"]
    return words[3], dict(zip(words[4::2], words[5::2], strict=True))


def plugins_named_for(stage: Any) -> set[str]:
    params = read_params(ROOT / "params.yaml")
    names = {params["task"]["name"], *options_of(stage)[1].values()}
    return {f"{seam}.{name}" for seam in SEAMS for name in plugin_names(seam) if name in names}


def needed_modules(stage: Any) -> set[str]:
    """The step's module and all it imports, at the top of a file or inside a function, plugins that are named for it included."""
    graph = import_graph()
    module = f"components.steps.{options_of(stage)[0]}"
    reached = {module} | graph.find_upstream_modules(module)
    waiting = plugins_named_for(stage)
    while found := {plugin for plugin in waiting if any(names_seam(reacher, plugin.rpartition(".")[0]) for reacher in reached)}:
        waiting -= found
        reached |= found.union(*(graph.find_upstream_modules(plugin) for plugin in found))
    return reached


@cache
def names_seam(module: str, seam: str) -> bool:
    """Tell whether a module asks for plugins of a seam, as `plugin("components.tasks", …)` does."""
    return f'"{seam}"' in source_of(module).read_text(encoding="utf-8")


def source_of(module: str) -> Path:
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def is_covered(source: Path, deps: list[Path]) -> bool:
    return any(source == dep or dep in source.parents for dep in deps)


def code_deps(stage: Any) -> list[Path]:
    return [Path(dep.fs_path) for dep in stage.deps if (ROOT / "components") in Path(dep.fs_path).parents]


@pytest.mark.parametrize("name", sorted(stages()))
def test_deps_cover_all_that_a_step_imports(name: str) -> None:
    stage = stages()[name]
    deps = code_deps(stage)
    sources = [source_of(module) for module in needed_modules(stage)]
    missing = sorted(str(s.relative_to(ROOT)) for s in sources if s.stat().st_size and s.name != "__init__.py" and not is_covered(s, deps))
    assert not missing, f"dvc.yaml, stage {name}: add to deps: {', '.join(missing)}"


@pytest.mark.parametrize("name", sorted(stages()))
def test_no_stage_depends_on_code_that_it_does_not_import(name: str) -> None:
    stage = stages()[name]
    group = [other for other in stages().values() if other.addressing.partition("@")[0] == name.partition("@")[0]]  # they share one list
    sources = {source_of(module) for other in group for module in needed_modules(other)}
    idle = [dep for dep in code_deps(stage) if not any(is_covered(source, [dep]) for source in sources)]
    assert not idle, f"dvc.yaml, stage {name}: nothing in {', '.join(map(str, idle))} is imported by the step"


@pytest.mark.parametrize("name", sorted(stages()))
def test_a_step_sees_the_sections_that_dvc_watches(name: str) -> None:
    stage = stages()[name]
    hints = step_function(options_of(stage)[0]).__annotations__
    watched = {key.split(".")[0] for params in stage.params for key in params.hash_info.value or params.params}
    read = {hint.section for hint in _hints(options_of(stage)[0]).values() if isinstance(hint, type) and issubclass(hint, Section)}
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
