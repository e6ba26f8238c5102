"""What a stage's result hangs on besides its data and parameters: the code that its step imports, and the libraries this code stands on.

Read from the sources, nothing is imported: all that a step's module imports, at the top of a file or inside a function, near and far, and the
plugins that are named for it. Two users: the `deps` of this repository's dvc.yaml, and `code.lock` in a project elsewhere, whose DVC cannot watch
the files of an installed package.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Collection, Iterable, Mapping
from functools import cache, lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import components
from components.config import read_params
from components.errors import ConfigError, unknown_name
from components.files import sha256_of
from components.protocols import plugin_names

PACKAGE = Path(components.__file__).parent
LOCK = "code.lock"
CODE = "code"

#: Libraries that decide on what comes out, by the name they are imported by. Those that only carry it (pandas, pyarrow, pydantic …) are left out:
#: their upgrade is no reason to train again.
LIBRARIES = {
    "PIL": ("pillow",),
    "captum": ("captum",),
    "cleanlab": ("cleanlab",),
    "faster_coco_eval": ("faster-coco-eval",),
    "great_expectations": ("great-expectations",),
    "onnx": ("onnx", "onnxscript"),  # torch writes its graphs by onnxscript
    "onnxruntime": ("onnxruntime",),
    "scipy": ("scipy",),
    "shapely": ("shapely",),
    "sklearn": ("scikit-learn",),
    "torch": ("torch",),
    "torch_pruning": ("torch-pruning",),
    "torchvision": ("torchvision",),
}
_TEMPLATES = (".j2", ".css")
_NAMED_PACKAGE = re.compile(r'(?<!`)"(components(?:\.\w+)+)"')  # between backticks it stands in a docstring

State = tuple[tuple[str, int, int], ...]


def step_of(cmd: str) -> list[str] | None:
    """Return step and options of `python -m components STEP OPTIONS`, None for any other command."""
    words = shlex.split(cmd)
    return words[3:] if words[:3] == ["python", "-m", "components"] and len(words) > 3 else None


def named(params: Mapping[str, Any], options: Iterable[str]) -> set[str]:
    """Return the names by which a step finds plugins: the task, and what its options say.

    Args:
        params: params.yaml.
        options: Of the step's command.
    """
    task = params.get("task")
    return {*options, *([str(task.get("name"))] if isinstance(task, dict) else [])}


class Code:
    """The sources of `components` as they are, and what imports what; `current` returns it."""

    def __init__(self) -> None:
        import grimp

        self._graph = grimp.build_graph("components", cache_dir=None, include_external_packages=True, exclude_type_checking_imports=True)
        self._digest_of, self._version_of, self._seams_of = cache(sha256_of), cache(_version), cache(_seams)

    def modules_of(self, step: str, names: Collection[str]) -> set[str]:
        """Return the step's module and all modules of `components` that it imports.

        Args:
            step: A file of components/steps.
            names: As `named` returns them: a plugin of one of these names counts where the code asks for plugins of its seam, as in
                `plugin("components.tasks", …)`.

        Raises:
            ConfigError: There is no such step.
        """
        if step not in (steps := plugin_names("components.steps")):
            raise unknown_name("step", step, steps)
        waiting, reached = {f"components.steps.{step}"}, set[str]()
        while waiting:
            reached |= waiting.union(*(self._graph.find_upstream_modules(module) for module in waiting))
            reached = {module for module in reached if module.partition(".")[0] == "components"}
            seams = {seam for module in reached for seam in self._seams_of(source_of(module))}
            waiting = {f"{seam}.{name}" for seam in seams for name in plugin_names(seam) if name in names} - reached
        return reached

    def fingerprint(self, step: str, names: Collection[str]) -> dict[str, str]:
        """Return a digest of the code of a step, and the versions of the libraries that it decides by.

        Args:
            step: A file of components/steps.
            names: As in `modules_of`.

        Returns:
            ``{"code": "9f86d081884c7d65", "torch": "2.14.1", …}``. A version's build (`+cpu`) is left out: projects move between machines.
        """
        modules = self.modules_of(step, names)
        digest = hashlib.sha256()
        for file in sorted({file for module in modules for file in _files_of(module)}):
            digest.update(f"{file.relative_to(PACKAGE).as_posix()}\n{self._digest_of(file)}\n".encode())
        imported = {name for module in modules for name in self._graph.find_modules_directly_imported_by(module)}
        libraries = sorted({library for name in imported & LIBRARIES.keys() for library in LIBRARIES[name]})
        return {CODE: digest.hexdigest()[:16]} | {library: self._version_of(library) for library in libraries}


def current() -> Code:
    """Return the code as it is now: read again if a source file changed since the last call."""
    return _code(source_state(PACKAGE))


@lru_cache(maxsize=1)
def _code(_state: State) -> Code:
    return Code()


def check_lock(project: Path, step: str, options: Iterable[str]) -> None:
    """Refuse to run a step whose code is not what code.lock says: DVC would record the result as that of the code before.

    Args:
        project: The folder; without a code.lock, or without the step in it, there is nothing to compare.
        step: A file of components/steps.
        options: Of its command.

    Raises:
        ConfigError: They differ.
    """
    entry = read_lock(project).get(step)
    if entry is None:
        return
    if current().fingerprint(step, named(read_params(project / "params.yaml"), options)) not in (entry, *entry.values()):
        raise ConfigError(f"{LOCK} is about other code than what is installed here. Bring it up to date with: darkroom status; then run again")


def read_lock(project: Path) -> dict[str, Any]:
    """Return what code.lock holds; nothing if it is not there or was damaged, as it is written anew from what is installed."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        lock = YAML(typ="safe", pure=True).load((project / LOCK).read_text(encoding="utf-8"))
    except (FileNotFoundError, UnicodeDecodeError, YAMLError):
        return {}
    return lock if isinstance(lock, dict) and all(isinstance(entry, dict) for entry in lock.values()) else {}


def source_of(module: str) -> Path:
    """Return the file of a module of `components`."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def source_state(package: Path) -> State:
    """Return what tells in a moment whether a source file changed: path, time of change and size of each."""
    sources = (path for path in sorted(package.rglob("*")) if path.suffix in (".py", *_TEMPLATES))
    states = ((str(path), path.stat()) for path in sources)
    return tuple((path, stat.st_mtime_ns, stat.st_size) for path, stat in states)


def _files_of(module: str) -> Iterable[Path]:
    """Return the file of a module, and the templates that lie beside it."""
    source = source_of(module)
    return [source, *(path for path in source.parent.iterdir() if path.suffix in _TEMPLATES)]


def _seams(source: Path) -> list[str]:
    """Return the packages that a module names, as `plugin("components.tasks", …)` does."""
    found = set(_NAMED_PACKAGE.findall(source.read_text(encoding="utf-8")))
    return sorted(name for name in found if PACKAGE.joinpath(*name.split(".")[1:]).is_dir())


def _version(library: str) -> str:
    return metadata.version(library).partition("+")[0]
