"""Rules about tables, judged by Great Expectations, with its Data Docs."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

#: Rows that are listed of each rule. Great Expectations names rows one by one, in a loop: it is asked to only where a table has few of them.
MAX_LISTED = 10_000
_MAX_IN_DOCS = 1_000


@dataclass(frozen=True)
class Rule:
    """One expectation.

    Attributes:
        key: Its name in params.yaml.
        name: What has to hold, in words.
        table: The table it is about.
        kind: A class of `great_expectations.expectations`.
        options: Its arguments.
        expected: The bound or set, for people.
        level: Whether breaking it refuses the data; `off`: it is not judged.
    """

    key: str
    name: str
    table: str
    kind: str
    options: Mapping[str, Any]
    expected: str
    level: Literal["fail", "warn", "off"] = "fail"


@dataclass(frozen=True)
class Outcome:
    """What came of a rule.

    Attributes:
        rule: What was judged.
        success: Whether it holds: also with a few broken rows, where it tolerates them.
        observed: What was found, for people.
        num_broken: Rows that break it.
        num_rows: Rows of its table.
        broken: The first `MAX_LISTED` of these rows: `key` and `found`, both texts.
    """

    rule: Rule
    success: bool
    observed: str
    num_broken: int
    num_rows: int
    broken: pd.DataFrame


def judge(tables: Mapping[str, pd.DataFrame], keys: Mapping[str, str], rules: Sequence[Rule], docs: Path) -> list[Outcome]:
    """Judge tables by rules and write Data Docs.

    Args:
        tables: By name; at least one row each. Numbers are float64 or int64: others are judged one by one.
        keys: By table the column that names its rows.
        rules: In the order in which the outcomes are wanted; those that are off are left out.
        docs: The folder for the Data Docs; `index.html` is their first page.
    """
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    logging.getLogger("great_expectations").setLevel(logging.WARNING)  # before the import, which tells of each function it registers
    import great_expectations as gx
    import great_expectations.expectations as gxe
    from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults, ProgressBarsConfig

    store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs.resolve())}
    site = {"class_name": "SiteBuilder", "store_backend": store, "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"}}
    settings = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(),
        data_docs_sites={"docs": site},
        progress_bars=ProgressBarsConfig(globally=False),
        analytics_enabled=False,
    )
    context = gx.get_context(mode="ephemeral", project_config=settings)
    source = context.data_sources.add_pandas("dataset")
    judged = [rule for rule in rules if rule.level != "off"]
    outcomes: dict[str, Outcome] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas and marshmallow warn of what Great Expectations itself will have to change
        for table, frame in tables.items():
            of_table = [rule for rule in judged if rule.table == table]
            if not of_table:
                continue
            suite = context.suites.add(gx.ExpectationSuite(name=table))
            for rule in of_table:
                severity = "critical" if rule.level == "fail" else "warning"
                suite.add_expectation(getattr(gxe, rule.kind)(**rule.options, severity=severity, description=rule.name, meta={"rule": rule.name}))
            breaking = {rule.name: _breaking(rule, frame) for rule in of_table}
            few = sum(len(rows) for rows in breaking.values()) <= _MAX_IN_DOCS
            wanted = {"result_format": "COMPLETE", "unexpected_index_column_names": [keys[table]]} if few else {"result_format": "BASIC"}
            batch = source.add_dataframe_asset(table).add_batch_definition_whole_dataframe("all")
            definition = context.validation_definitions.add(gx.ValidationDefinition(name=table, data=batch, suite=suite))
            checkpoint = context.checkpoints.add(gx.Checkpoint(name=table, validation_definitions=[definition], result_format=wanted))
            results = next(iter(checkpoint.run(batch_parameters={"dataframe": frame}).run_results.values())).results
            found: dict[str, Any] = {result.expectation_config.meta["rule"]: result for result in results if result.expectation_config}
            for rule in of_table:
                listed = frame.iloc[breaking[rule.name][:MAX_LISTED]]
                broken = pd.DataFrame({"key": listed[keys[table]].map(_text), "found": listed[rule.options.get("column", keys[table])].map(_text)})
                outcomes[rule.name] = _outcome(rule, found[rule.name], len(frame), broken.reset_index(drop=True))
        context.build_data_docs()
    return [outcomes[rule.name] for rule in judged]


def _breaking(rule: Rule, frame: pd.DataFrame) -> Any:
    """Return the places of the rows that break a rule, int64; none where a rule is about the table as a whole."""
    breaks = _BREAKS.get(rule.kind)
    column = rule.options.get("column")
    return [] if breaks is None else breaks(frame[column], rule.options).fillna(False).to_numpy(dtype=bool).nonzero()[0]


def _outside(values: pd.Series[Any], options: Mapping[str, Any]) -> pd.Series[bool]:
    low, high = options.get("min_value"), options.get("max_value")
    below = values < low if low is not None else pd.Series(False, index=values.index)
    return below | (values > high) if high is not None else below


#: Which rows break an expectation: the same that Great Expectations counts, but all at once.
_BREAKS: dict[str, Callable[[pd.Series[Any], Mapping[str, Any]], pd.Series[bool]]] = {
    "ExpectColumnValuesToBeNull": lambda values, _: values.notna(),
    "ExpectColumnValuesToNotBeNull": lambda values, _: values.isna(),
    "ExpectColumnValuesToBeInSet": lambda values, options: values.notna() & ~values.isin(options["value_set"]),
    "ExpectColumnValuesToBeBetween": _outside,
}


def _outcome(rule: Rule, result: Any, num_rows: int, broken: pd.DataFrame) -> Outcome:
    """Return what Great Expectations found as plain values."""
    raised = [
        result.exception_info,
        *(info for info in result.exception_info.values() if isinstance(info, dict)),
    ]  # one for the rule, or one a metric
    messages = [str(info["exception_message"]) for info in raised if info.get("raised_exception")]
    if messages:
        raise RuntimeError(f"Great Expectations could not judge '{rule.name}': {'; '.join(messages)}")
    details = result.result
    if "unexpected_count" not in details:
        return Outcome(rule, bool(result.success), _short(details.get("observed_value")), 0, num_rows, broken)
    num_broken = int(details["unexpected_count"])
    observed = (
        broken["found"].iloc[0] if num_rows == 1 and num_broken else f"{num_broken:,} of {num_rows:,} break it" if num_broken else "none breaks it"
    )
    return Outcome(rule, bool(result.success), observed, num_broken, num_rows, broken)


def _text(value: Any) -> str:
    if pd.isna(value):
        return "nothing"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else f"{value:.4g}"
    return str(value)


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 200 else text[:199] + "…"
