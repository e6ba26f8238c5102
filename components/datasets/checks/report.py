"""What a check found, told four ways: a table, pictures, a page, a few lines."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import pandas as pd

from components.datasets.checks import duplicates, label_errors
from components.datasets.checks.suite import Subject
from components.datasets.contact_sheet import Pixels, contact_sheet
from components.datasets.decoding import decode
from components.datasets.expectations import MAX_LISTED, Outcome
from components.datasets.shards import ShardReader
from components.errors import DataError
from components.pages import environment
from components.progress import bar
from components.records import Verdict

_NUM_PICTURES, _NUM_PAIRS = 24, 12
#: Sheets of pairs on two sides of the split: each such pair has its picture, up to some hundreds.
_MAX_SHEETS = 40
_ACROSS = "across_splits"
_NUM_RULES = 3
_NUM_NAMED = 2
_MAX_FOUND = 80
_IN_FRONT = {"images": "", "left_out": "", "classes": "class ", "dataset": "dataset ", "columns": "column ", "drift": ""}
_ROWS = {
    "images": ("image", "images"),
    "left_out": ("file", "files"),
    "classes": ("class", "classes"),
    "columns": ("column", "columns"),
    "drift": ("statistic", "statistics"),
    "dataset": ("dataset", "datasets"),
}


def failures_of(outcomes: list[Outcome]) -> pd.DataFrame:
    """Return one row for each row that breaks a rule, `MAX_LISTED` of a rule at most; `level` is warn where the rule tolerates it."""
    parts = [
        pd.DataFrame(
            {
                "image_id": _IN_FRONT[outcome.rule.table] + outcome.broken["key"],
                "expectation": outcome.rule.name,
                "found": outcome.broken["found"],
                "expected": outcome.rule.expected,
                "level": "warn" if outcome.success else outcome.rule.level,
            }
        )
        for outcome in outcomes
        if len(outcome.broken)
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["image_id", "expectation", "found", "expected", "level"])


class Pictures:
    """Draws what was found.

    Args:
        subject: The dataset.
        shards: Its images.
        folder: Where to write PNG files; nothing is written where there is nothing to show.
    """

    def __init__(self, subject: Subject, shards: ShardReader, folder: Path) -> None:
        self._subject, self._shards, self._folder = subject, shards, folder

    def draw_offenders(self, failures: pd.DataFrame) -> None:
        """Draw offenders.png: the first ones of each expectation in turn, so that one flood does not hide another."""
        named = failures[failures["image_id"].isin(self._rows.index)].drop_duplicates("image_id")
        chosen = named.assign(turn=named.groupby("expectation").cumcount()).sort_values("turn", kind="stable").head(_NUM_PICTURES)
        if len(chosen):
            captions = [f"{row.image_id}\n{row.found}" for row in chosen.itertuples()]
            contact_sheet([self._read(name) for name in chosen["image_id"]], captions).save(self._folder / "offenders.png")

    def draw_pairs(self, pairs: pd.DataFrame) -> None:
        """Draw near_duplicates.png, and those on two sides of the source's own split, sheet by sheet, in across_splits_01.png and so on."""
        if pairs.empty:
            return
        sides = self._subject.frame["split"].set_axis(self._subject.image_ids)
        across = _telling_first(duplicates.across_splits(pairs, sides[~sides.index.duplicated()]))
        sheets = [across[start : start + _NUM_PAIRS] for start in range(0, len(across), _NUM_PAIRS)][:_MAX_SHEETS]
        with bar("draw pairs", len(sheets) + 1, "sheets") as progress:
            for number, sheet in enumerate(sheets, 1):
                title = f"{_count(len(across), 'pair', 'pairs')} on two sides of the split"
                duplicates.draw_pairs(sheet, self._read, self._folder / f"{_ACROSS}_{number:02d}.png", title)
                progress.update()
            title = _count(len(pairs), "pair of near duplicates", "pairs of near duplicates")
            duplicates.draw_pairs(_telling_first(pairs).head(_NUM_PAIRS), self._read, self._folder / "near_duplicates.png", title)
            progress.update()

    def draw_suspects(self, suspects: pd.DataFrame | None) -> None:
        """Draw label_errors.png and write label_errors.csv, where likely wrong labels were looked for."""
        if suspects is not None:
            label_errors.report(suspects, self._subject.image_ids.tolist(), self._read, self._folder)

    @cached_property
    def _rows(self) -> pd.Series[int]:
        """The row of each id."""
        rows = pd.Series(range(len(self._subject)), index=self._subject.image_ids)
        return rows[~rows.index.duplicated()]

    def _read(self, image_id: str) -> Pixels | None:
        row = int(self._rows[image_id])
        try:
            return decode(self._shards.read(*(self._subject.table.column(name)[row].as_py() for name in ("shard", "offset", "length"))))
        except DataError:
            return None


def _telling_first(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return pairs with those at the end whose pixels are the same."""
    return pairs.assign(same=pairs["how"] == duplicates.SAME).sort_values("same", kind="stable")


def write_page(verdict: Verdict, outcomes: list[Outcome], failures: pd.DataFrame, folder: Path) -> None:
    """Write index.html: what failed, what is told of, what holds; the pictures, and where the rest is."""
    groups = {"Failed": failed_of(outcomes), "To look at": told_of(outcomes)}
    holding = [outcome.rule.name for outcome in outcomes if outcome.success and not outcome.num_broken]
    sheets = sorted(path.name for path in (folder / "pictures").glob(f"{_ACROSS}_*.png"))
    pictures = {
        **dict.fromkeys(sheets, "The same picture on two sides of the split"),
        "offenders.png": "The first images of each finding",
        "near_duplicates.png": "Near duplicates",
        "label_errors.png": "Labels to look at",
    }
    page = (
        environment("components.datasets.checks")
        .get_template("report.html.j2")
        .render(
            verdict=verdict,
            headline=headline(verdict, outcomes),
            groups={name: [(outcome, broken_by(outcome), outcome.broken.head(3)) for outcome in found] for name, found in groups.items()},
            num_rules=len(outcomes),
            most=max([1, *verdict.class_counts.values()]),
            holding=holding,
            num_failures=len(failures),
            max_listed=MAX_LISTED if any(outcome.num_broken > MAX_LISTED for outcome in outcomes) else None,
            pictures=[(name, text) for name, text in pictures.items() if (folder / "pictures" / name).is_file()],
        )
    )
    (folder / "index.html").write_text(page, encoding="utf-8")


def headline(verdict: Verdict, outcomes: list[Outcome]) -> str:
    """Return the verdict in one line: what was checked, and what came of it."""
    failed, told = len(failed_of(outcomes)), len(told_of(outcomes))
    warnings = f"; {_count(told, 'thing', 'things')} to look at" if told else ""
    judged = f"{_count(failed, 'rule', 'rules')} of {len(outcomes)} failed" if failed else f"no rule of {len(outcomes)} failed"
    dataset = verdict.dataset
    return f"{dataset.name} {dataset.version}: {_count(dataset.num_images, 'image', 'images')} checked, {judged}{warnings}"


def refusal_of(verdict: Verdict, outcomes: list[Outcome], out: Path) -> str:
    """Return why the data may not be trained on and what to do, the worst first, in six lines at most."""
    failed = failed_of(outcomes)
    dataset = verdict.dataset
    head = f"{dataset.name} {dataset.version} may not be trained on: {len(failed)} of {len(outcomes)} rules failed. See {out}/index.html"
    lines = [head, *(f"  {line_of(outcome)}" for outcome in failed[:_NUM_RULES])]
    if len(failed) > _NUM_RULES:
        lines.append("  also failed: " + ", ".join(outcome.rule.name for outcome in failed[_NUM_RULES:]))
    keys = list(dict.fromkeys(outcome.rule.key for outcome in failed))
    named = ", ".join(keys[:_NUM_RULES]) + (" …" if len(keys) > _NUM_RULES else "")
    lines.append(f"  To do: correct the data and import it again, or change the bound or level in params.yaml: validate.levels: {named}")
    return "\n".join(lines)


def failed_of(outcomes: list[Outcome]) -> list[Outcome]:
    """Return those that refuse the data, the worst first."""
    return worst_first([outcome for outcome in outcomes if not outcome.success and outcome.rule.level == "fail"])


def told_of(outcomes: list[Outcome]) -> list[Outcome]:
    """Return those that refuse nothing, but tell of something, the worst first."""
    return worst_first([outcome for outcome in outcomes if outcome.num_broken and (outcome.success or outcome.rule.level == "warn")])


def worst_first(outcomes: list[Outcome]) -> list[Outcome]:
    """Return outcomes by the share of rows that break their rule, largest first."""
    return sorted(outcomes, key=lambda outcome: -(outcome.num_broken / outcome.num_rows if outcome.num_broken else 1.0 - outcome.success))


def broken_by(outcome: Outcome) -> str:
    """Return how many rows break a rule, for people."""
    return f"{outcome.num_broken:,} of {_count(outcome.num_rows, *_ROWS[outcome.rule.table])}"


def line_of(outcome: Outcome) -> str:
    """Return a rule and what breaks it in one line."""
    rule = outcome.rule
    if rule.table == "dataset" or not len(outcome.broken):
        return f"{rule.name}: found {outcome.observed}; expected {rule.expected}"
    rows = outcome.broken.head(_NUM_NAMED).itertuples()
    names = ", ".join(f"{row.key} ({_shortened(str(row.found))})" for row in rows)
    more = " …" if outcome.num_broken > _NUM_NAMED else ""
    return f"{rule.name}: broken by {broken_by(outcome)}: {names}{more}; expected {rule.expected}"


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_FOUND else f"{text[: _MAX_FOUND - 1]}…"


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
