"""One line of the table of measures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """What was measured against what.

    Attributes:
        name: What is measured.
        measured: The figures, with units.
        target: What it is held against.
        ratio: Measured over the comparison, or measured over target: above one is better.
        met: Whether the target was met; None where there is none.
        note: How it was measured, in a few words.
    """

    name: str
    measured: str
    target: str
    ratio: float | None = None
    met: bool | None = None
    note: str = ""
