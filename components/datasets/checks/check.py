"""The check of a labelled dataset: one implementation behind the stage `validate` and the command `darkroom data check`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.datasets.checks import change, copies, entries, files, labels, objects
from components.datasets.checks.config import ValidateConfig
from components.datasets.checks.drift import Finding
from components.datasets.checks.drift import drift as compare
from components.datasets.checks.label_errors import suspects as find_suspects
from components.datasets.checks.report import Pictures, failures_of, write_page
from components.datasets.checks.suite import KEYS, Part, Subject
from components.datasets.dataset import Dataset
from components.datasets.expectations import Outcome, judge
from components.datasets.manifest import DatasetInfo, manifest_digest, read_dataset, read_table
from components.datasets.shards import ShardReader
from components.datasets.splits import write_near_duplicates
from components.errors import DataError
from components.files import replacing
from components.records import DatasetRef, Expectation, Verdict

_PAIRS = ["first", "second", "distance", "correlation", "how"]


@dataclass(frozen=True)
class Findings:
    """What came of a check.

    Attributes:
        verdict: As it is stored.
        outcomes: Of every rule that is not off, in the order of the report.
    """

    verdict: Verdict
    outcomes: list[Outcome]


@dataclass(frozen=True)
class Looked:
    """What was found by looking at images, which the rules need beside the manifest.

    Attributes:
        measured: See `files.COLUMNS`; a row an image.
        pairs: Near duplicates, by row number.
        suspects: Likely wrong labels (`label_errors.suspects`, `index` is a row number); None: not looked for.
        drift: Against another version; None: not compared.
    """

    measured: pa.Table
    pairs: pd.DataFrame
    suspects: pd.DataFrame | None = None
    drift: list[Finding] | None = None


def check(
    config: ValidateConfig,
    data: Path,
    out: Path,
    reference: Dataset | None = None,
    left_out: Path | None = None,
    ray_address: str | None = None,
) -> Findings:
    """Check a dataset and write the report, whatever the verdict is.

    Args:
        config: The section `validate` of params.yaml.
        data: The dataset's folder.
        out: The folder for index.html, verdict.json, failures.csv, measurements.parquet, near_duplicates.parquet, pictures/ and docs/ (Data Docs).
        reference: A version that this one is compared with; None: with none.
        left_out: quarantine.csv of the import; None, or not there: nothing was left out.
        ray_address: A Ray cluster that looks at the images; None: this machine.

    Raises:
        DataError: There is no dataset that could be judged.
    """
    info, table = read_dataset(data), read_table(data)
    looked = _look(config, data, info, table, reference, ray_address)
    subject = Subject(info, table, looked.measured.select(list(files.COLUMNS)), config)
    with replacing(out) as folder:
        (folder / "pictures").mkdir(parents=True)
        findings = judge_subject(
            subject, looked, folder / "docs", _quarantined(left_out), f"{reference.info.name} {reference.info.version}" if reference else ""
        )
        findings.verdict.save(folder / "verdict.json")
        failures = failures_of(findings.outcomes)
        failures.to_csv(folder / "failures.csv", index=False, lineterminator="\n")
        pq.write_table(subject.measurements, folder / "measurements.parquet", compression="zstd")
        pairs = looked.pairs.assign(first=subject.image_ids[looked.pairs["first"]], second=subject.image_ids[looked.pairs["second"]])
        write_near_duplicates(pairs[_PAIRS], folder / "near_duplicates.parquet")
        with ShardReader(data) as shards:
            pictures = Pictures(subject, shards, folder / "pictures")
            pictures.draw_offenders(failures)
            pictures.draw_pairs(pairs)
            pictures.draw_suspects(looked.suspects)
        write_page(findings.verdict, findings.outcomes, failures, folder)
    return findings


def judge_subject(subject: Subject, looked: Looked, docs: Path, left_out: pd.DataFrame | None = None, reference: str = "") -> Findings:
    """Judge a dataset by what is known of it: no image is read.

    Args:
        subject: The dataset.
        looked: What was found by looking at its images.
        docs: The folder for the Data Docs.
        left_out: What its import could not take: image_id, reason.
        reference: The name of the version it was compared with.
    """
    info, nothing = subject.info, pd.DataFrame({"image_id": [], "reason": []}, dtype=object)
    # First, while there is memory for it: the digest sorts the manifest.
    ref = DatasetRef(name=info.name, version=info.version, manifest_digest=manifest_digest(subject.table), num_images=len(subject))
    parts = [
        entries.examine(subject, nothing if left_out is None else left_out),
        labels.examine(subject),
        files.examine(subject),
        objects.examine(subject),
        copies.examine(subject, looked.pairs),
    ]
    if looked.suspects is not None:
        parts.append(labels.examine_suspects(subject, looked.suspects))
    if looked.drift is not None:
        parts.append(change.examine(subject, looked.drift, reference))
    rules = [rule for part in parts for rule in part.rules if rule.level != "off"]
    judged = {rule.options["column"] for rule in rules if rule.table == "images"}
    images = {name: column for part in parts for name, column in part.columns.items() if name in judged}
    tables = {"images": pd.DataFrame({"image_id": subject.image_ids, **images}, copy=False)}
    tables |= {name: table for part in parts for name, table in part.tables.items() if len(table)}
    rules = [rule for rule in rules if rule.table in tables]
    outcomes = judge({name: tables[name] for name in KEYS if name in tables}, KEYS, rules, docs)
    return Findings(_verdict(ref, outcomes, parts), outcomes)


def _look(config: ValidateConfig, data: Path, info: DatasetInfo, table: pa.Table, reference: Dataset | None, ray_address: str | None) -> Looked:
    levels = config.levels
    wanted = {
        files.FINGERPRINT: any(getattr(levels, key) != "off" for key in copies.NEAR_DUPLICATES),
        files.EMBEDDING: reference is not None and levels.drift != "off",
        files.THUMBNAIL: levels.label_errors != "off" and table.column("label").null_count < table.num_rows,
    }
    measured = files.measure_images(data, info, table, [name for name, is_wanted in wanted.items() if is_wanted], ray_address)
    pairs = pd.DataFrame({"first": [], "second": [], "distance": [], "correlation": [], "how": []}).astype({"first": "int64", "second": "int64"})
    if wanted[files.FINGERPRINT]:
        pairs = copies.find_pairs(config, measured.column(files.FINGERPRINT).to_pylist())
    found = None
    if wanted[files.THUMBNAIL]:
        found = _suspects(info, table, measured)
    drift = None
    if reference is not None and wanted[files.EMBEDDING]:
        before = change.version_of(reference.table, _measured_before(reference, measured))
        drift = compare(before, change.version_of(table, measured), config.drift)
    return Looked(measured, pairs, found, drift)


def _measured_before(reference: Dataset, measured: pa.Table) -> pa.Table:
    """Return what is measured of another version's images; those with the bytes of an image that was measured are not looked at again."""
    place = pc.index_in(reference.table.column("sha256"), value_set=measured.column("sha256")).combine_chunks()
    new = pc.is_null(place)
    missing = reference.table.filter(new)
    if not missing.num_rows:
        return measured.take(place)
    added = files.measure_images(reference.shards, reference.info, missing, (files.EMBEDDING,))
    is_new = new.to_numpy(zero_copy_only=False)
    rows = np.where(is_new, measured.num_rows + np.cumsum(is_new) - 1, place.fill_null(0).to_numpy(zero_copy_only=False))
    return pa.concat_tables([measured.select(added.column_names), added]).take(pa.array(rows))


def _suspects(info: DatasetInfo, table: pa.Table, measured: pa.Table) -> pd.DataFrame:
    rows, thumbnails = files.thumbnails_of(measured)
    codes = pd.Categorical(table.column("label").to_pylist(), categories=list(info.classes)).codes[rows]
    kept = codes >= 0
    groups = pc.coalesce(table.column("group"), table.column("sha256")).to_pylist()
    rows = rows[kept]
    found = find_suspects(thumbnails[kept], codes[kept].astype(np.int64), info.classes, groups=np.asarray([groups[row] for row in rows]))
    return found.assign(index=rows[found["index"].to_numpy()])


def _quarantined(path: Path | None) -> pd.DataFrame | None:
    if path is None or not path.is_file():
        return None
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)[["image_id", "reason"]]
    except (ValueError, KeyError) as error:
        raise DataError(f"{path} is not what the import writes: {error}; import again, or delete it") from None


def _verdict(ref: DatasetRef, outcomes: Sequence[Outcome], parts: Sequence[Part]) -> Verdict:
    expectations = [
        Expectation(
            name=outcome.rule.name,
            level="fail" if outcome.rule.level == "fail" else "warn",
            success=outcome.success,
            num_unexpected=outcome.num_broken,
            observed=outcome.observed,
            expected=outcome.rule.expected,
        )
        for outcome in outcomes
    ]
    classes: Any = next((part.tables["classes"] for part in parts if "classes" in part.tables), pd.DataFrame({"class": [], "images": []}))
    return Verdict(
        passed=all(outcome.success for outcome in outcomes if outcome.rule.level == "fail"),
        dataset=ref,
        expectations=expectations,
        class_counts={name: int(count) for name, count in zip(classes["class"], classes["images"], strict=True)},
    )
