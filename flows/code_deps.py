"""`make deps`: write the sources that each stage's step imports into the `deps` of the repository's dvc.yaml, whichever task is chosen."""

from __future__ import annotations

import ast
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from ruamel.yaml import YAML

from components.protocols import plugin_names
from components.stage_code import PACKAGE, current, source_of, step_of
from flows.pipeline import Pipeline

if TYPE_CHECKING:
    from dvc.stage import PipelineStage

#: Folders that a stage depends on as a whole if it imports anything in them: their files change together.
_WHOLE = ("components/augmentation", "components/datasets/checks", "components/networks", "components/pages", "components/training")
_TASK = "${task.name}"


def sources(stage: PipelineStage) -> set[Path]:
    """Return the files that a stage's step imports, for one task or another; an `__init__.py` with nothing but a docstring is left out.

    Args:
        stage: One whose command is `python -m components STEP …`.
    """
    step = step_of(str(stage.cmd)) or []
    modules = {module for task in plugin_names("components.tasks") for module in current().modules_of(step[0], {task, *step[1:]})}
    return {source for source in map(source_of, modules) if source.name != "__init__.py" or len(ast.parse(source.read_bytes()).body) > 1}


def write(project: Path) -> list[str]:
    """Bring the deps of dvc.yaml up to date.

    Args:
        project: The repository.

    Returns:
        For each stage that changed, what came and what went.
    """
    yaml = YAML()
    yaml.width = 10_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    path = project / "dvc.yaml"
    graph = yaml.load(path.read_text(encoding="utf-8"))
    lines = []
    with closing(Pipeline(project)) as pipeline:
        found = pipeline.stages()
    for name, node in graph["stages"].items():
        inner = node.get("do", node)
        stages = [stage for stage in found if stage.name.partition("@")[0] == name and step_of(str(stage.cmd))]
        code = {dependency for stage in stages for dependency in _dependencies(stage, str(inner["cmd"]))}
        before = {str(dep) for dep in inner["deps"] if str(dep).startswith("components/")}
        if code != before:
            inner["deps"] = [*(dep for dep in inner["deps"] if str(dep) not in before), *sorted(code)]
            lines.append(" ".join([name, *(f"+{dep}" for dep in sorted(code - before)), *(f"-{dep}" for dep in sorted(before - code))]))
    if lines:
        with path.open("w", encoding="utf-8") as file:
            yaml.dump(graph, file)
    return lines


def _dependencies(stage: PipelineStage, template: str) -> set[str]:
    """Return the sources as dvc.yaml writes them: relative, folders as a whole, plugins by the variable that names them."""
    words = zip(step_of(template) or [], step_of(str(stage.cmd)) or [], strict=True)
    variables = {value: variable for variable, value in words if variable.startswith("${")}
    tasks = plugin_names("components.tasks")
    dependencies = set()
    for source in sources(stage):
        relative = source.relative_to(PACKAGE.parent).as_posix()
        whole = next((folder for folder in _WHOLE if relative.startswith(f"{folder}/")), None)
        of_tasks = source.stem in tasks and all(source.with_stem(task).exists() for task in tasks)
        variable = _TASK if of_tasks else variables.get(source.stem, source.stem)
        dependencies.add(whole or f"{relative.removesuffix(f'{source.stem}.py')}{variable}.py")
    return dependencies


if __name__ == "__main__":
    print("\n".join(write(Path.cwd())) or "dvc.yaml names all code that its stages run")
    sys.exit()
