"""`darkroom init`: a folder that runs at once, with the installed package alone.

Its dvc.yaml and params.yaml come from the repository's own, so that there is one graph of stages; the sections that a task has otherwise stand in
`templates/TASK.yaml`. DVC cannot watch the package's files there, so stages depend on `code.lock` in place of sources.
"""

from __future__ import annotations

import io
import re
import shlex
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from components.datasets.manifest import read_dataset
from components.dvc_repo import make_repository
from components.errors import ConfigError, unknown_name
from components.files import explaining_full_disk
from components.git import git, stand_in
from components.protocols import plugin, plugin_names
from components.stage_code import LOCK
from flows.data_commands import name_of, track
from flows.parameters import write_overrides
from flows.terminal import say

SOURCES = {"classification": "sklearn:digits", "detection": "composed:detection", "segmentation": "composed:segmentation"}
_TASK = "classification"

#: What a project never takes over from the checkout that the package may be installed from.
_OWN = {"register.name": None, "publish.uri": "file://.darkroom/releases"}
_OF_TASK: dict[str, dict[str, Any]] = {
    "detection": {"compress.variants": ["dense"], "promote.min_accuracy": 0.3},
    "segmentation": {"compress.variants": ["dense"]},
}
#: For photos: a start on two cores. Bigger images and networks find more.
_OF_PHOTOS: dict[str, dict[str, Any]] = {
    "classification": {"task.image_size": 64, "train.model": "resnet18", "train.model_options": {}, "promote.min_accuracy": 0.3},
    "detection": {"task.image_size": 320, "task.resize": "letterbox", "train.model": "yolo_small", "promote.min_accuracy": 0.1},
    "segmentation": {"task.image_size": 128, "task.resize": "letterbox", "promote.min_accuracy": 0.3},
}


@dataclass(frozen=True)
class Made:
    """A project that is there now."""

    task: str
    dataset: str
    num_images: int
    num_left_out: int


def init(target: Path, task: str | None = None, source: str | None = None) -> Made:
    """Make a project: data, params.yaml, dvc.yaml, code.lock, a git and a DVC repository with a first commit. All of it or nothing.

    Args:
        target: A folder that is empty or not there yet.
        task: What is learnt; None: classification, or what the annotations of `source` are best for.
        source: The images, as `darkroom data import` takes them; None: digits that come with scikit-learn, for the two others composed to scenes.

    Raises:
        InputError: The folder has something in it, there is no such task, or the source cannot be read.
    """
    if task is not None and task not in (tasks := plugin_names("components.tasks")):
        raise unknown_name("task", task, tasks)
    with _appearing(target) as place:
        git(place, "-c", "init.defaultBranch=main", "init", "--quiet")
        make_repository(place)
        made = _bring_in(place, task, source)
        write_files(place, made.task)
        write_overrides(place / "params.yaml", _settings(made, own_images=source is not None))
        (place / "README.md").write_text(_readme(made), encoding="utf-8")
        _ignore_outs(place)
        git(place, "add", "--all")
        git(place, "commit", "--quiet", "--message", f"darkroom init: {made.task} on {made.dataset}", env=stand_in(place))
    return made


def init_text(target: Path, task: str | None, source: str | None) -> str:
    """Make a project and say what to type next."""
    say(f"making {target}: a git and a DVC repository, the images, params.yaml, dvc.yaml …")  # no spinner: reading the images shows a bar
    made = init(target, task, source)
    lines = [f"{target}: {made.task} on {made.num_images:,} images, data/{made.dataset}"]
    if made.num_left_out:
        lines.append(f"{made.num_left_out} images could not be taken; darkroom data check {made.dataset} names them")
    commands = [] if target.resolve() == Path.cwd() else [f"cd {shlex.quote(str(target))}"]
    if (found := shutil.which("darkroom")) is None or Path(found).parent != Path(sys.executable).parent:
        commands.append(f"source {shlex.quote(str(Path(sys.executable).parent / 'activate'))}")
    return "\n".join([*lines, "Next:", *(f"    {command}" for command in (*commands, "darkroom run")), "README.md there says what else there is."])


def write_files(place: Path, task: str) -> None:
    """Write what is the same for any data: dvc.yaml, params.yaml, .gitignore, the DVC repository's configuration, an empty models/start.

    Args:
        place: A git and DVC repository.
        task: What is learnt.
    """
    (place / "dvc.yaml").write_text(stages_text(task), encoding="utf-8")
    (place / "params.yaml").write_text(params_text(task), encoding="utf-8")
    (place / ".gitignore").write_text(_template("gitignore"), encoding="utf-8")
    (place / ".dvc" / "config").write_text(_template("dvc_config"), encoding="utf-8")
    (place / "models" / "start").mkdir(parents=True)
    (place / "models" / "start" / "start.json").write_text('{"source": null}\n', encoding="utf-8")


def stages_text(task: str) -> str:
    """Return dvc.yaml for a project elsewhere: the repository's own, with code.lock in place of the sources.

    Args:
        task: What is learnt; it decides on what DVC plots.
    """
    yaml = _yaml()
    graph = yaml.load(_template("stages.yaml"))
    for name, stage in graph["stages"].items():
        inner = stage.get("do", stage)
        inner["deps"] = [dep for dep in inner["deps"] if not str(dep).startswith("components/")]
        which = ["${item}"] if "foreach" in stage else [f"${{item.{key}}}" for key in stage.get("matrix", {})]
        inner["params"].append({LOCK: [".".join([name, *(["-".join(which)] if which else [])])]})
    metric = plugin("components.evaluation.metrics", "task", task)(["0", "1"]).metric
    text = io.StringIO()
    yaml.dump(graph, text)
    body = re.sub(r"\A(#.*\n)+", "", text.getvalue()).replace("val_accuracy", f"val_{metric}")
    return f"# The graph of stages, made by `darkroom init`. {LOCK} says which code each of them runs: darkroom keeps it.\n{body}"


def params_text(task: str) -> str:
    """Return params.yaml as the repository has it, with the sections that a task has otherwise in their places."""
    blocks = _blocks(_template("params.yaml"))
    template = files("flows") / "templates" / f"{task}.yaml"
    own = _blocks(template.read_text(encoding="utf-8")) if template.is_file() else {}
    return "".join((blocks | own).values()).rstrip() + "\n"


def _blocks(text: str) -> dict[str, str]:
    """Cut YAML into its sections, each with the comments inside and the empty line behind it; what stands before the first is called ''."""
    parts = re.split(r"(?m)^(?=\w+:)", text if text.endswith("\n\n") else f"{text}\n")
    return {part.partition(":")[0] if index else "": part for index, part in enumerate(parts)}


def _template(name: str) -> str:
    return (files("flows") / "templates" / name).read_text(encoding="utf-8")


def _yaml() -> YAML:
    yaml = YAML()
    yaml.width = 10_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


@contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """Yield a folder that takes the place of `target`, or fills it if it is there, when the block succeeds; else nothing is left of it.

    Raises:
        ConfigError: There is something in `target`, or nowhere to put it.
        InputError: The disk is full.
    """
    if not target.parent.is_dir():
        raise ConfigError(f"there is no folder {target.parent}. Make it: mkdir -p {shlex.quote(str(target.parent))}")
    if target.exists():
        if not target.is_dir():
            raise ConfigError(f"{target} is a file; expected an empty folder, or one that is not there yet")
        if found := sorted(path.name for path in target.iterdir()):
            raise ConfigError(
                f"{target} is not empty: found {', '.join(found[:3])}{' …' if found[3:] else ''}; expected an empty folder, or a new one"
            )
    place = (target if target.exists() else target.parent) / f".{target.resolve().name}.{uuid.uuid4().hex[:8]}.partial"
    try:
        with explaining_full_disk(target):
            place.mkdir()
            yield place
            if target.exists():
                for path in place.iterdir():
                    path.rename(target / path.name)
            else:
                place.rename(target)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _bring_in(place: Path, task: str | None, source: str | None) -> Made:
    from components.datasets.importing import import_dataset

    if source is None:
        task = task or _TASK
        name = "digits" if task == _TASK else "shapes"
    else:
        name = name_of(source)
    summary = import_dataset(source or SOURCES[str(task)], name, place / "data", task=task)
    track(place, f"data/{name}")
    return Made(read_dataset(place / "data" / name).task, name, summary.num_images, len(summary.quarantined))


def _settings(made: Made, own_images: bool) -> dict[str, Any]:
    """Return what params.yaml says otherwise than the repository's."""
    values = {"data.name": made.dataset, **_OWN, **_OF_TASK.get(made.task, {})}
    return values | ({"task.channels": 3, **_OF_PHOTOS.get(made.task, {})} if own_images else {})


def _readme(made: Made) -> str:
    from jinja2 import Template

    return Template(_template("README.md.j2"), trim_blocks=True).render(name=made.dataset, task=made.task).rstrip() + "\n"


def _ignore_outs(place: Path) -> None:
    """Let git ignore what the stages write, as DVC does when they run, and write code.lock: the first run then leaves the commit as it is."""
    from contextlib import closing

    from flows.pipeline import Pipeline

    with closing(Pipeline(place)) as pipeline:
        for stage in pipeline.stages():
            for out in stage.outs:
                if out.use_scm_ignore:
                    Path(out.fs_path).parent.mkdir(parents=True, exist_ok=True)
                    out.ignore()
