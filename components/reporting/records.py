"""What a run tells the page; the rest stands in the run's own reports."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from components.records import DatasetRef, Record
from components.registry.decision import Decision

Outcome = Literal["promoted", "kept", "refused", "stopped", "failed", "unchanged"]
StageState = Literal["ran", "skipped", "failed", "refused", "interrupted", "not reached"]


class StageLine(Record):
    """One stage of the run."""

    name: str = Field(description="as in dvc.yaml, for example export@dense-onnx")
    state: StageState
    seconds: float | None = None
    text: str = Field(default="", description="one line: why it failed, or what it found")


class Command(Record):
    """Where to look next."""

    what: str
    command: str


class RunReport(Record):
    """The run itself: what `write_page` cannot read from the folders of the stages."""

    name: str = Field(description="the model's name")
    run_id: str
    started: str = Field(description="date and time of this machine, ISO 8601")
    seconds: float
    outcome: Outcome
    headline: str = Field(description="one sentence: what came of it")
    dataset: DatasetRef | None = None
    stages: list[StageLine] = Field(default=[])
    decision: Decision | None = None
    lineage: dict[str, str] = Field(default={}, description="shown in this order")
    commands: list[Command] = Field(default=[])
