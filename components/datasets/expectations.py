"""Rules about tables, judged by Great Expectations, with its Data Docs."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd


@dataclass(frozen=True)
class Rule:
    """One expectation.

    Attributes:
        name: What has to hold, in words.
        table: The table it is about.
        kind: A class of `great_expectations.expectations`.
        options: Its arguments.
        expected: The bound or set, for people.
        level: Whether breaking it refuses the data.
    """

    name: str
    table: str
    kind: str
    options: Mapping[str, Any]
    expected: str
    level: Literal["fail", "warn"] = "fail"


@dataclass(frozen=True)
class Broken:
    """One row that a rule did not expect: the row's key and what was found."""

    key: str
    found: str


@dataclass(frozen=True)
class Outcome:
    """What came of a rule. `broken` may hold rows although `success`: as many as the rule tolerates."""

    rule: Rule
    success: bool
    observed: str
    broken: list[Broken]


def judge(tables: Mapping[str, pd.DataFrame], keys: Mapping[str, str], rules: Sequence[Rule], docs: Path) -> list[Outcome]:
    """Judge tables by rules and write Data Docs.

    Args:
        tables: By name.
        keys: By table the column that names its rows.
        rules: In the order in which the outcomes are wanted.
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
    outcomes: dict[str, Outcome] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas and marshmallow warn of what Great Expectations itself will have to change
        for table, frame in tables.items():
            suite = context.suites.add(gx.ExpectationSuite(name=table))
            of_table = [rule for rule in rules if rule.table == table]
            for rule in of_table:
                severity = "critical" if rule.level == "fail" else "warning"
                suite.add_expectation(getattr(gxe, rule.kind)(**rule.options, severity=severity, description=rule.name, meta={"rule": rule.name}))
            batch = source.add_dataframe_asset(table).add_batch_definition_whole_dataframe("all")
            definition = context.validation_definitions.add(gx.ValidationDefinition(name=table, data=batch, suite=suite))
            wanted = {"result_format": "COMPLETE", "unexpected_index_column_names": [keys[table]]}
            checkpoint = context.checkpoints.add(gx.Checkpoint(name=table, validation_definitions=[definition], result_format=wanted))
            results = next(iter(checkpoint.run(batch_parameters={"dataframe": frame}).run_results.values())).results
            found: dict[str, Any] = {result.expectation_config.meta["rule"]: result for result in results if result.expectation_config}
            outcomes |= {rule.name: _outcome(rule, found[rule.name], keys[table]) for rule in of_table}
        context.build_data_docs()
    return [outcomes[rule.name] for rule in rules]


def _outcome(rule: Rule, result: Any, key: str) -> Outcome:
    """Return what Great Expectations found as plain values."""
    raised = [
        result.exception_info,
        *(info for info in result.exception_info.values() if isinstance(info, dict)),
    ]  # one for the rule, or one a metric
    messages = [str(info["exception_message"]) for info in raised if info.get("raised_exception")]
    if messages:
        raise RuntimeError(f"Great Expectations could not judge '{rule.name}': {'; '.join(messages)}")
    details = result.result
    if "unexpected_index_list" not in details:
        return Outcome(rule, bool(result.success), _short(details.get("observed_value")), [])
    broken = [
        Broken(_text(row[key]), ", ".join(_text(value) for name, value in row.items() if name != key)) for row in details["unexpected_index_list"]
    ]
    num_rows = int(details["element_count"])
    return Outcome(rule, bool(result.success), f"{len(broken)} of {num_rows} rows break it", broken)


def _text(value: Any) -> str:
    if pd.isna(value):
        return "nothing"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 200 else text[:199] + "…"
