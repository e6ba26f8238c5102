"""docs/tasks.md tells what there is."""

from __future__ import annotations

from components.protocols import plugin, plugin_names
from tests.conftest import ROOT

TEXT = (ROOT / "docs/tasks.md").read_text(encoding="utf-8")


def test_every_task_and_its_networks_are_told() -> None:
    for name in plugin_names("components.tasks"):
        assert name in TEXT.split("| --- |")[0]
    for name in ("detection", "segmentation"):
        assert all(f"`{network}`" in TEXT for network in plugin("components.tasks", "task", name).model_names())
