"""What validation found, told three ways: a table, a picture, a few lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from components.datasets.contact_sheet import Pixels, contact_sheet
from components.datasets.expectations import Outcome
from components.datasets.shards import ShardReader
from components.errors import DataError
from components.records import DatasetRef
from components.serving.image import decode

_NUM_PICTURES = 24
_NUM_RULES = 4
_NUM_NAMED = 2
_KIND = {"images": "", "classes": "class ", "dataset": "dataset "}


def failures_of(outcomes: list[Outcome]) -> pd.DataFrame:
    """Return one row for each row that breaks a rule; `level` is warn where the rule tolerates it."""
    rows = [
        (
            f"{_KIND[outcome.rule.table]}{broken.key}",
            outcome.rule.name,
            broken.found,
            outcome.rule.expected,
            "warn" if outcome.success else outcome.rule.level,
        )
        for outcome in outcomes
        for broken in outcome.broken
    ]
    return pd.DataFrame(rows, columns=["image_id", "expectation", "found", "expected", "level"])


def draw_offenders(failures: pd.DataFrame, frame: pd.DataFrame, shards: ShardReader, folder: Path) -> None:
    """Draw offenders.png: the first ones of each expectation in turn, so that one flood does not hide another; nothing where there is none."""
    places = frame.drop_duplicates("image_id").set_index("image_id")
    named = failures[failures["image_id"].isin(places.index)].drop_duplicates("image_id")
    chosen = named.assign(turn=named.groupby("expectation").cumcount()).sort_values("turn", kind="stable").head(_NUM_PICTURES)
    if chosen.empty:
        return
    images = [_picture(places.loc[image_id], shards) for image_id in chosen["image_id"]]
    captions = [f"{row.image_id}\n{row.found}" for row in chosen.itertuples()]
    contact_sheet(images, captions).save(folder / "offenders.png")


def _picture(place: pd.Series[Any], shards: ShardReader) -> Pixels | None:
    try:
        return decode(shards.read(place["shard"], int(place["offset"]), int(place["length"])))
    except DataError:
        return None


def refusal_of(dataset: DatasetRef, outcomes: list[Outcome], out: Path) -> str:
    """Return why the data may not be trained on, in six lines at most."""
    failed = [outcome for outcome in outcomes if not outcome.success and outcome.rule.level == "fail"]
    head = f"{dataset.name} {dataset.version} may not be trained on: {len(failed)} of {len(outcomes)} expectations failed. See {out}/docs/index.html"
    lines = [head, *(_line(outcome) for outcome in failed[:_NUM_RULES])]
    if len(failed) > _NUM_RULES:
        lines.append("  also failed: " + ", ".join(outcome.rule.name for outcome in failed[_NUM_RULES:]))
    return "\n".join(lines)


def _line(outcome: Outcome) -> str:
    rule = outcome.rule
    if not outcome.broken:
        return f"  {rule.name}: found {outcome.observed}; expected {rule.expected}"
    names = ", ".join(f"{broken.key} ({broken.found[:60]})" for broken in outcome.broken[:_NUM_NAMED])
    more = " …" if len(outcome.broken) > _NUM_NAMED else ""
    return f"  {rule.name}: not for {len(outcome.broken)} of {rule.table}: {names}{more}; expected {rule.expected}"
