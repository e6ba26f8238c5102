"""`python -m components STEP --INPUT PATH … --out PATH`: what dvc.yaml calls.

A step's function says all: its parameters whose type is a section are filled from that section of params.yaml, the others
are options of the command line.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import logging
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

from components.config import DataConfig, Section, read_params, section_of, with_overrides
from components.errors import ConfigError, DarkroomError, unknown_name
from components.protocols import Context, Task, plugin, plugin_names
from components.stage_code import check_lock

PARAMS = Path("params.yaml")


def let_threads_sleep() -> None:
    """Let OpenMP's threads sleep while they wait, unless the user has chosen; it counts only before torch is imported.

    As it comes they spin. Two busy processes on two cores then burn each other's time: training a ResNet-9 beside another training went at
    34 images/s and 1,017 CPU milliseconds a step, sleeping at 173 images/s and 252.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def step_function(name: str) -> Callable[..., Any]:
    """Return the public function of a step.

    Raises:
        ConfigError: There is no such step; the error lists the names there are.
    """
    names = plugin_names("components.steps")
    if name not in names:
        raise unknown_name("step", name, names)
    function: Callable[..., Any] = getattr(importlib.import_module(f"components.steps.{name}"), name)
    return function


def run_step(name: str, options: Sequence[str], context: Context | None = None) -> Any:
    """Run one step as its line in dvc.yaml says.

    Args:
        name: The step, a file of components/steps.
        options: ``["--data", "data/digits", "--out", "reports/validation"]``.
        context: Tracker and scratch folder; without one, nothing is reported and nothing can resume.

    Returns:
        The step's record.

    Raises:
        ConfigError: Unknown step, wrong options or parameters.
    """
    function = step_function(name)
    hints = _parameters(function)
    parser = argparse.ArgumentParser(
        prog=f"python -m components {name}", description=inspect.getdoc(function), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sections: dict[str, type[Section]] = {}
    for parameter, kind in hints.items():
        if isinstance(kind, type) and issubclass(kind, Section):
            sections[parameter] = kind
        elif kind is not Context:
            required = inspect.signature(function).parameters[parameter].default is inspect.Parameter.empty
            is_path = kind in (Path, Path | None)
            parser.add_argument(f"--{parameter.replace('_', '-')}", type=Path if is_path else str, required=required)
    arguments = vars(parser.parse_args(list(options)))
    params = read_params(PARAMS)
    arguments |= {parameter: section_of(params, kind) for parameter, kind in sections.items()}
    if Context in hints.values():
        arguments["context"] = context or Context()
    return function(**arguments)


def check_params(overrides: Mapping[str, Any]) -> None:
    """Check params.yaml as a whole, before anything runs.

    Args:
        overrides: Values that a run puts in its place, by dotted key.

    Raises:
        ConfigError: A section, key, type or name is wrong; the error says which and what there is.
    """
    sections = check_sections(overrides)
    task: Task = plugin("components.tasks", "task", sections["task"].name)
    model, known = sections["train"].model, task.model_names()
    if model not in known:
        raise ConfigError(f"params.yaml: {unknown_name('model', model, known)}")


def check_sections(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Check all of params.yaml that can be checked in a moment: everything but the model's name, which takes torch to know.

    Args:
        overrides: Values that a run puts in its place, by dotted key.

    Returns:
        The sections by name.

    Raises:
        ConfigError: A section, key, type or name is wrong; the error says which and what there is.
    """
    from components.registry.config import PromoteConfig, PublishConfig, RegisterConfig

    params = with_overrides(read_params(PARAMS), overrides)
    kinds: dict[str, type[Section]] = {kind.section: kind for kind in (DataConfig, RegisterConfig, PromoteConfig, PublishConfig)}
    for step in plugin_names("components.steps"):
        kinds |= {kind.section: kind for kind in _parameters(step_function(step)).values() if isinstance(kind, type) and issubclass(kind, Section)}
    for name in params:
        if name not in kinds:
            raise ConfigError(f"params.yaml: {unknown_name('section', str(name), kinds)}")
    sections: dict[str, Any] = {name: section_of(params, kind) for name, kind in kinds.items()}
    names = [("task", sections["task"].name, plugin_names("components.tasks"))]
    names += [("export format", name, plugin_names("components.exporters")) for name in sections["export"].formats]
    names += [("compress variant", name, plugin_names("components.compression")) for name in params.get("compress", {}).get("variants", [])]
    for kind, name, known in names:
        if name not in known:
            raise ConfigError(f"params.yaml: {unknown_name(kind, name, known)}")
    return sections


def _parameters(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the types of a step's parameters by name."""
    hints = get_type_hints(function)
    hints.pop("return", None)
    return hints


def main(argv: Sequence[str] | None = None) -> int:
    """Run a step and return its exit code; see `components.errors`."""
    argv = list(sys.argv[1:] if argv is None else argv)
    let_threads_sleep()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    debug = "--debug" in argv
    argv = [argument for argument in argv if argument != "--debug"]
    if not argv or argv[0] in ("-h", "--help"):
        print(f"usage: python -m components STEP [options]\n\nsteps: {', '.join(plugin_names('components.steps'))}")
        return 0 if argv else 2
    try:
        check_lock(Path(), argv[0], argv[1:])
        run_step(argv[0], argv[1:])
    except DarkroomError as error:
        if debug:
            traceback.print_exc()
        print(f"{argv[0]}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"{argv[0]}: interrupted; run it again to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
