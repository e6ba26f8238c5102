"""The examples of docs/tasks.md are sections that a run takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from components.__main__ import check_params
from components.protocols import plugin, plugin_names
from tests.conftest import ROOT

TEXT = (ROOT / "docs/tasks.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=["detection", "segmentation"])
def test_an_example_is_taken_as_written(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    yaml = YAML(typ="safe", pure=True)
    params = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8")) | yaml.load(example)
    with (tmp_path / "params.yaml").open("w") as file:
        YAML().dump(params, file)
    monkeypatch.chdir(tmp_path)
    check_params({})


def test_every_task_and_its_networks_are_told() -> None:
    for name in plugin_names("components.tasks"):
        assert name in TEXT.split("| --- |")[0]
    for name in ("detection", "segmentation"):
        assert all(f"`{network}`" in TEXT for network in plugin("components.tasks", "task", name).model_names())
