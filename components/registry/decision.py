"""What was decided about a model version, and the history that is made of it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from components.evaluation.comparison import PairedComparison
from components.records import Record

Verdict = Literal["promoted", "refused", "unchanged"]
Kind = Literal["registered", "promoted", "refused", "rolled back", "moved by hand"]


class Check(Record):
    """One rule, with what was found."""

    name: str
    found: str
    limit: str
    passed: bool


class Decision(Record):
    """Whether a version became champion, and why."""

    verdict: Verdict
    reason: str = Field(description="one sentence with the numbers")
    challenger: str = Field(description="NAME/VERSION")
    champion: str | None = Field(default=None, description="NAME/VERSION of the one before; null: there was none")
    checks: list[Check] = Field(default=[])
    comparison: PairedComparison | None = None
    overridden: bool = Field(default=False, description="a person promoted it against the checks")


class Event(Record):
    """One line of a model's history."""

    at: str = Field(description="UTC, ISO 8601")
    kind: Kind
    version: int | None = Field(description="the one that the event is about; null: the alias was taken away")
    previous: int | None = Field(default=None, description="the champion before")
    who: str
    reason: str
    numbers: dict[str, float] = Field(default={})

    @property
    def minute(self) -> str:
        """When it was, for people everywhere."""
        return f"{self.at[:16].replace('T', ' ')} UTC"

    @property
    def champion_after(self) -> int | None:
        """The champion that the event left behind."""
        return self.version if self.kind in ("promoted", "rolled back", "moved by hand") else self.previous
