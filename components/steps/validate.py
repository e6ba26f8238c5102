"""validate: may this data be trained on? Great Expectations judges the manifest and what was measured of each image."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import AfterValidator, Field

from components.config import Section
from components.datasets.expectations import Outcome, Rule, judge
from components.datasets.headers import open_image
from components.datasets.manifest import ANNOTATIONS, COLUMNS, dataset_ref, read_dataset, read_manifest
from components.datasets.parallel import map_batches, num_threads_for
from components.datasets.probes import measure
from components.datasets.shards import ShardReader
from components.errors import DataError, GateRefused
from components.files import replacing
from components.progress import bar
from components.records import DatasetRef, Expectation, Verdict
from components.serving.image import upright_rgb
from components.steps._findings import draw_offenders, failures_of, refusal_of

log = logging.getLogger(__name__)

Number = TypeVar("Number", int, float)

_BATCH = 64
_TEXTS, _NUMBERS = ("image_id", "sha256", "label"), ("offset", "length")
#: The tables and their key columns, in the order of the report.
_KEYS = {"images": "image_id", "classes": "class", "dataset": "dataset"}
_MEASURED = {
    "image_id": pa.string(),
    "sha256": pa.string(),
    "decodes": pa.bool_(),
    "damage": pa.string(),
    "height": pa.int32(),
    "width": pa.int32(),
    "channels": pa.int8(),
    "brightness": pa.float64(),
    "contrast": pa.float64(),
    "sharpness": pa.float64(),
}


def _in_order(bounds: list[Number]) -> list[Number]:
    if bounds[0] > bounds[1]:
        raise ValueError("two numbers, the lower first")
    return bounds


Shares = Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(min_length=2, max_length=2), AfterValidator(_in_order)]
Sizes = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=2, max_length=2), AfterValidator(_in_order)]


class ValidateConfig(Section):
    """The section `validate` of params.yaml."""

    section: ClassVar[str] = "validate"
    min_images: int = Field(default=1, ge=1)
    min_class_images: int = Field(default=2, ge=1, description="of each class, over all splits")
    max_class_images: int | None = Field(default=None, ge=1, description="null: no bound")
    class_share: Shares = Field(default=[0.0, 1.0], description="each class's share of the images")
    size: Sizes = Field(default=[1, 65535], description="height and width in pixels")
    brightness: Shares = Field(default=[0.0, 1.0], description="mean of the luma in 0..1")
    min_contrast: float = Field(default=0.0, ge=0, le=1, description="standard deviation of the luma in 0..1")
    min_sharpness: float = Field(default=0.0, ge=0, description="variance of the luma's Laplacian; a warning only")
    max_unclear: float = Field(default=0.01, ge=0, lt=1, description="share of the images that may be outside brightness, or contrast")
    max_label_conflicts: int = Field(default=0, ge=0, description="images whose bytes stand under another label too")


def validate(config: ValidateConfig, data: Path, out: Path) -> Verdict:
    """Judge a dataset, and write the report whatever the verdict is.

    Args:
        config: The section `validate` of params.yaml.
        data: The dataset's folder.
        out: The folder for verdict.json, failures.csv, measurements.parquet, pictures/ and docs/ (Data Docs).

    Raises:
        GateRefused: The data may not be trained on; names what broke which expectation.
        DataError: There is no dataset that could be judged.
    """
    info, frame = read_dataset(data), read_manifest(data)
    with ShardReader(data) as shards:
        measured = _measured(frame, shards)
        tables = _tables(info.name, info.classes, frame, measured)
        with replacing(out) as folder:
            (folder / "pictures").mkdir(parents=True)
            outcomes = judge(tables, _KEYS, rules(config, info.classes, len(frame)), folder / "docs")
            verdict = _verdict(outcomes, tables, dataset_ref(data, frame))
            verdict.save(folder / "verdict.json")
            failures = failures_of(outcomes)
            failures.to_csv(folder / "failures.csv", index=False, lineterminator="\n")
            table = pa.table({name: pa.array(measured[name], kind, from_pandas=True) for name, kind in _MEASURED.items()})
            pq.write_table(table, folder / "measurements.parquet", compression="zstd")
            draw_offenders(failures, frame, shards, folder / "pictures")
    if not verdict.passed:
        raise GateRefused(refusal_of(verdict.dataset, outcomes, out))
    tolerated = f"; {len(failures)} findings that are tolerated, see {out / 'failures.csv'}" if len(failures) else ""
    log.info("%s %s: %d images, all %d expectations hold%s", info.name, info.version, len(frame), len(outcomes), tolerated)
    return verdict


def rules(config: ValidateConfig, classes: Sequence[str], num_images: int) -> list[Rule]:
    """Return what has to hold of a dataset of `num_images` images (see `_tables` for the columns)."""
    clear = 1 - config.max_unclear
    agreeing = max(0, num_images - config.max_label_conflicts) / max(1, num_images)
    columns = [*COLUMNS, *ANNOTATIONS]
    return [
        _of_images("the manifest has its columns", "ExpectTableColumnsToMatchSet", ", ".join(columns), column_set=columns, exact_match=False),
        *(_of_images(f"{name} is a text", "ExpectColumnValuesToBeOfType", "a text", column=name, type_="str") for name in _TEXTS),
        *(_of_images(f"{name} is a number", "ExpectColumnValuesToBeOfType", "a whole number", column=name, type_="int64") for name in _NUMBERS),
        *(_of_images(f"{name} is given", "ExpectColumnValuesToNotBeNull", "a value", column=name) for name in _TEXTS),
        _of_images("image ids are unique", "ExpectColumnValuesToBeUnique", "each id once", column="image_id"),
        _of_images("labels are declared classes", "ExpectColumnValuesToBeInSet", "a class of dataset.yaml", column="label", value_set=list(classes)),
        _of_images("images decode", "ExpectColumnValuesToBeNull", "a whole image file", column="damage"),
        _of_images("bytes are as imported", "ExpectColumnPairValuesToBeEqual", "the manifest's SHA-256", column_A="sha256", column_B="found_sha256"),
        _bounds("heights are in bounds", "images", "height", config.size[0], config.size[1]),
        _bounds("widths are in bounds", "images", "width", config.size[0], config.size[1]),
        _bounds("channels are in bounds", "images", "channels", 1, 4),
        _bounds("brightness is in bounds", "images", "brightness", config.brightness[0], config.brightness[1], mostly=clear),
        _bounds("contrast is enough", "images", "contrast", config.min_contrast, None, mostly=clear),
        _bounds("sharpness is enough", "images", "sharpness", config.min_sharpness, None, level="warn"),
        _of_images("the same bytes have one label", "ExpectColumnValuesToBeNull", "one label", column="labels_of_copies", mostly=agreeing),
        _bounds("each class has its images", "classes", "images", config.min_class_images, config.max_class_images),
        _bounds("class shares are in bounds", "classes", "share", config.class_share[0], config.class_share[1]),
        _bounds("there are enough images", "dataset", "images", config.min_images, None),
        _bounds("there are two classes or more", "dataset", "classes", 2, None),
    ]


def _of_images(name: str, kind: str, expected: str, **options: object) -> Rule:
    return Rule(name, "images", kind, options, expected)


def _bounds(
    name: str, table: str, column: str, low: float, high: float | None = None, mostly: float = 1.0, level: Literal["fail", "warn"] = "fail"
) -> Rule:
    options = {"column": column, "min_value": low, "max_value": high, "mostly": mostly}
    expected = f"at least {low:g}" if high is None else f"{low:g} to {high:g}"
    return Rule(name, table, "ExpectColumnValuesToBeBetween", options, expected, level)


def _measured(frame: pd.DataFrame, shards: ShardReader) -> pd.DataFrame:
    places = list(frame[["shard", "offset", "length"]].itertuples(index=False, name=None))
    rows: list[dict[str, Any]] = []
    with bar("measure images", len(places)) as progress:
        for batch in map_batches(lambda batch: [_probe(shards.read(*place)) for place in batch], places, _BATCH, num_threads_for(frame)):
            rows += batch
            progress.update(len(batch))
    measured = pd.DataFrame(rows, columns=[name for name in _MEASURED if name != "image_id"])
    measured["image_id"] = frame["image_id"]
    return measured.astype({"damage": object, "height": "Int32", "width": "Int32", "channels": "Int8"})


def _probe(content: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {"sha256": hashlib.sha256(content).hexdigest(), "decodes": False, "damage": None}
    try:
        image = open_image(content)
        channels = len(image.getbands())
        upright = upright_rgb(image)
    except DataError as error:
        return {**found, "damage": str(error)}
    sizes = {"height": upright.height, "width": upright.width, "channels": channels}
    return {**found, "decodes": True, **sizes, **measure(upright)._asdict()}


def _tables(name: str, classes: Sequence[str], frame: pd.DataFrame, measured: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return what the rules are about: one row an image, one a declared class, one for the dataset."""
    images = frame.assign(
        **{str(column): measured[column] for column in measured if column not in ("image_id", "sha256")}, found_sha256=measured["sha256"]
    )
    whole = images[images["decodes"] & images["label"].notna()]
    copied = whole[whole.groupby("sha256")["label"].transform("nunique") > 1]
    labels = copied.groupby("sha256")["label"].agg(lambda given: "labels " + " and ".join(sorted(set(given))))
    images["labels_of_copies"] = pd.Series([labels.get(sha256) for sha256 in copied["sha256"]], index=copied.index, dtype=object).reindex(frame.index)
    counts = frame["label"].value_counts().reindex(list(classes), fill_value=0)
    of_classes = pd.DataFrame({"class": list(classes), "images": counts.to_numpy(), "share": counts.to_numpy() / max(1, len(frame))})
    dataset = pd.DataFrame({"dataset": [name], "images": [len(frame)], "classes": [len(classes)]})
    return {"images": images, "classes": of_classes, "dataset": dataset}


def _verdict(outcomes: list[Outcome], tables: dict[str, pd.DataFrame], dataset: DatasetRef) -> Verdict:
    expectations = [
        Expectation(
            name=outcome.rule.name,
            level=outcome.rule.level,
            success=outcome.success,
            num_unexpected=len(outcome.broken),
            observed=outcome.observed,
            expected=outcome.rule.expected,
        )
        for outcome in outcomes
    ]
    classes = tables["classes"]
    return Verdict(
        passed=all(outcome.success for outcome in outcomes if outcome.rule.level == "fail"),
        dataset=dataset,
        expectations=expectations,
        class_counts={name: int(count) for name, count in zip(classes["class"], classes["images"], strict=True)},
    )
