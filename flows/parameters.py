"""What a run puts into params.yaml before it begins, so that dvc.lock never claims a value that was only in memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.representer import RoundTripRepresenter

from components.config import DataConfig, read_params, section_of, with_overrides
from components.errors import ConfigError, unknown_name

_SIDE_EFFECTS = ("data", "register", "promote", "publish")


def parse_overrides(assignments: Iterable[str]) -> dict[str, Any]:
    """Turn ``["train.lr=0.003"]`` into ``{"train.lr": 0.003}``; values are YAML, as in params.yaml.

    Raises:
        ConfigError: An assignment has no `=`, or its value is no YAML.
    """
    overrides = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"found '{assignment}'; expected SECTION.KEY=VALUE, for example train.lr=0.003")
        try:
            overrides[key.strip()] = YAML(typ="safe", pure=True).load(text)
        except YAMLError:
            raise ConfigError(f"{key}: '{text}' is not a value as params.yaml takes it") from None
    return overrides


def write_overrides(path: Path, overrides: Mapping[str, Any]) -> None:
    """Write values into params.yaml; comments and layout stay."""
    if not overrides:
        return
    yaml = _round_trip()
    params = with_overrides(yaml.load(path.read_text(encoding="utf-8")), overrides)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        yaml.dump(params, file)
    partial.replace(path)


def require_project(folder: Path) -> None:
    """Look whether a folder is a project, before anything is made in it: it has a params.yaml that can be read.

    Raises:
        ConfigError: It is none.
    """
    read_params(folder / "params.yaml")


def require_registry(folder: Path) -> None:
    """Look whether model versions can be asked for in a folder, before anything is made in it: it is a project, or MLflow's server is named.

    Raises:
        ConfigError: Neither is so.
    """
    if "MLFLOW_TRACKING_URI" not in os.environ:
        require_project(folder)


def dataset_name(project: Path, overrides: Mapping[str, Any]) -> str:
    """Return `data.name` of params.yaml, after a look at what needs no step to be checked: YAML, sections, the dataset's name.

    Raises:
        ConfigError: One of these is wrong.
    """
    params = with_overrides(read_params(project / "params.yaml"), overrides)
    stages = read_params(project / "dvc.yaml").get("stages", {})
    known = {*_SIDE_EFFECTS}
    for stage in stages.values():
        known |= {str(name).partition(".")[0] for name in stage.get("do", stage).get("params", []) if isinstance(name, str)}
    for name in params:
        if name not in known:
            raise ConfigError(f"params.yaml: {unknown_name('section', str(name), known)}")
    return section_of(params, DataConfig).name


class _NullsAsNull(RoundTripRepresenter):
    """Writes `null` where there is none: ruamel.yaml itself leaves the place empty."""


_NullsAsNull.add_representer(type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null"))


def _round_trip() -> YAML:
    """Return what reads and writes YAML so that comments and layout stay."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 10_000
    yaml.Representer = _NullsAsNull
    return yaml
