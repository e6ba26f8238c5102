"""split: which image is trained on, which chooses, which judges. An image never changes sides as data grows.

Images are placed in the manifest's order, to which new ones are appended, and each by what stands before it alone:

1. An image of a group (patient, camera, video) goes to its group's side, which follows from the group's hash.
2. An image without a group goes where its copies and near duplicates before it went.
3. An image without any of them goes where its own hash says.

An image that has a copy or a near duplicate before it on another side than that is left out. So no group, no two copies and no two near duplicates
ever stand on two sides, and appending moves nothing. (Taking an image away can move the near duplicates that came after it.)

A side that depends on nothing but an image's own hash cannot also depend on which classes other images show: each class has its share on every side
on average, and a rare one can miss a side, which is told. `stratify` deals out the classes evenly instead (`_stratification`). Then a side depends
on all images, and another image or label can move many: it is for a dataset that is finished, or goes with `keep`, an earlier splits.parquet whose
images stay where they were while new ones are placed around them.
"""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from components.config import Section
from components.datasets.manifest import dataset_ref, read_manifest
from components.datasets.splits import read_near_duplicates, read_splits, write_splits
from components.errors import DataError, GateRefused
from components.files import replacing
from components.records import Record, Verdict
from components.steps._classes import check_classes, look
from components.steps._stratification import stratify, units_of

log = logging.getLogger(__name__)

Side = Literal["train", "val", "test"]
#: From the strongest: where the source puts copies of an image on several sides, the strongest keeps its copy.
SIDES: tuple[Side, ...] = ("test", "val", "train")


class Shares(BaseModel):
    """Share of the groups on each side."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
    train: float = Field(gt=0, lt=1)
    val: float = Field(gt=0, lt=1)
    test: float = Field(gt=0, lt=1)

    @model_validator(mode="after")
    def _sum_to_one(self) -> Shares:
        total = self.train + self.val + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"shares that sum to 1, these sum to {total:g}")
        return self


class SplitConfig(Section):
    """The section `split` of params.yaml."""

    section: ClassVar[str] = "split"
    shares: Shares = Shares(train=0.65, val=0.15, test=0.2)
    seed: int = Field(default=0, description="another seed is another split: old models' test images become new models' training images")
    on_leak: Literal["fail", "drop"] = Field(default="fail", description="an explicit split with the same image or group on two sides")
    stratify: bool = Field(default=False, description="each class in its share on every side; new images can move old ones, unless they are kept")
    keep: str | None = Field(default=None, description="an earlier splits.parquet, whose images keep their sides (DVC does not watch it)")


class SplitRecord(Record):
    """What came out."""

    counts: dict[str, int] = Field(description="images on each side")
    num_left_out: int = Field(description="images with a copy or a near duplicate on another side")


def side_of(config: SplitConfig, sha256: str, group: str | None = None) -> Side:
    """Return the side of an image: a pure function of the seed and its group, or of its bytes where it has no group.

    The unit interval is cut into test, val, train in this order, so that a new `val` share moves no test image.

    Args:
        config: Shares and seed.
        sha256: SHA-256 of the image's bytes.
        group: Patient, camera, video …; all images of a group are on one side.
    """
    return _cut(_position(config.seed, sha256, group), config.shares, SIDES)


def split(config: SplitConfig, data: Path, verdict: Path, out: Path, near_duplicates: Path | None = None) -> SplitRecord:
    """Put each image of a dataset on a side.

    A `split` that the source gives is respected; a side that it gives to no image is carved out of its training images by hash. Identical images,
    near duplicates and images of one group never stand on two sides: one of them is left out. Where the source itself puts copies or a group on
    two sides, `on_leak` says what happens: it is refused, or test wins, then val. Near duplicates that the source puts on two sides are validate's
    to refuse; here they are left as they are, or with `on_leak: drop`, test wins.

    Args:
        config: The section `split` of params.yaml.
        data: The dataset's folder.
        verdict: validate's verdict.json on it.
        out: Where to write image_id, split (null: left out) as Parquet, in the manifest's order.
        near_duplicates: validate's near_duplicates.parquet (columns first, second: image ids); None: none are known.

    Raises:
        GateRefused: The verdict is a refusal, or the source's split leaks and `on_leak` is `fail`.
        DataError: The verdict or the near duplicates are about other data, a given split is unknown, or a side would be empty.
    """
    frame = read_manifest(data)
    judged = Verdict.load(verdict)
    if judged.dataset != dataset_ref(data, frame):
        raise DataError(f"{verdict} judges {judged.dataset.name} {judged.dataset.version}, not what is in {data} now; run validate again")
    if not judged.passed:
        raise GateRefused(f"{data}: validation refused this data ({verdict}); put it right and run validate again")
    pairs = [] if near_duplicates is None else _rows_of(near_duplicates, frame)
    shown = look(data, frame) if config.stratify else None
    sides = assign_sides(config, frame, pairs, shown, None if config.keep is None else read_splits(Path(config.keep)))
    counts: dict[str, int] = {side: int((sides == side).sum()) for side in reversed(SIDES)}
    _refuse_empty(config, counts, len(frame))
    check_classes(data, frame, sides, shown)
    with replacing(out) as temporary:
        write_splits(frame["image_id"], sides, temporary)
    record = SplitRecord(counts=counts, num_left_out=int(sides.isna().sum()))
    left_out = f"; {record.num_left_out} images left out, a copy or near duplicate is on another side" if record.num_left_out else ""
    log.info("split: %s%s", ", ".join(f"{count} {side}" for side, count in counts.items()), left_out)
    return record


def assign_sides(
    config: SplitConfig,
    frame: pd.DataFrame,
    near_duplicates: Sequence[tuple[int, int]] = (),
    shown: Sequence[frozenset[str]] | None = None,
    kept: pd.Series | None = None,
) -> pd.Series:
    """Return the side of each row of a manifest, None where it is left out.

    Args:
        config: The section `split` of params.yaml.
        frame: The manifest: columns image_id, sha256, group, split.
        near_duplicates: Pairs of row numbers.
        shown: The classes that each row shows, to be stratified by; None: sides follow from hashes.
        kept: Sides by image_id that images without a given one keep.

    Raises:
        GateRefused: The source's split leaks and `on_leak` is `fail`.
        DataError: A given split has an unknown name.
    """
    given = frame["split"]
    unknown = sorted(set(given.dropna()) - set(SIDES))
    if unknown:
        raise DataError(f"the manifest's column 'split' names {', '.join(map(repr, unknown))}; expected train, val, test or nothing")
    if config.on_leak == "fail":
        _refuse_leaks(frame)
    missing: tuple[Side, ...] = tuple(side for side in SIDES if side == "train" or not (given == side).any())
    open_to: dict[str | None, tuple[Side, ...]] = {None: SIDES, "train": missing, "val": ("val",), "test": ("test",)}
    stays: list[Any] = frame["image_id"].map({} if kept is None else kept).tolist()
    allowed = [(side,) if source is None and side in SIDES else open_to[source] for source, side in zip(given, stays, strict=True)]
    drawn = _drawn(config, frame, near_duplicates, allowed, shown)
    earlier: defaultdict[int, list[int]] = defaultdict(list)
    for one, other in near_duplicates:
        earlier[max(one, other)].append(min(one, other))
    sides: list[Side | None] = []
    of_bytes: dict[str, Side] = {}
    of_group: dict[str, Side] = {}
    for row, (sha256, group) in enumerate(zip(frame["sha256"], frame["group"], strict=True)):
        alike = {of_bytes.get(sha256), *(sides[number] for number in earlier.get(row, ()))}
        side = _place(drawn[row], group, allowed[row], alike, of_group)
        sides.append(side)
        if side is not None:
            of_bytes.setdefault(sha256, side)
            if group is not None:
                of_group.setdefault(group, side)
    placed = pd.Series(sides, index=frame.index, dtype=object)
    return _without_weaker_near_duplicates(config, given, _without_weaker_copies(frame, placed), near_duplicates)


def _drawn(
    config: SplitConfig,
    frame: pd.DataFrame,
    near_duplicates: Sequence[tuple[int, int]],
    allowed: Sequence[tuple[Side, ...]],
    shown: Sequence[frozenset[str]] | None,
) -> list[Side]:
    """Return the side of each row by its hash, or by the classes it shows, as far as the source or an earlier split leaves it open."""
    places = [_position(config.seed, *key) for key in zip(frame["sha256"], frame["group"], strict=True)]
    if shown is None:
        return [_cut(place, config.shares, sides) for place, sides in zip(places, allowed, strict=True)]
    units = units_of(len(frame), (frame["sha256"].tolist(), frame["group"].tolist()), near_duplicates)
    return stratify(units, shown, places, allowed, {side: getattr(config.shares, side) for side in reversed(SIDES)})


def _place(drawn: Side, group: str | None, open_to: tuple[Side, ...], alike: set[Side | None], of_group: Mapping[str, Side]) -> Side | None:
    """Return the side of an image, None if images like it stand on another.

    Args:
        drawn: Where it would go by itself.
        group: Its group.
        open_to: The sides it may go to; what stands on others is the source's doing.
        alike: The sides of its copies and near duplicates before it.
        of_group: The sides of the groups before it.
    """
    if len(open_to) == 1:
        return open_to[0]
    taken = [side for side in open_to if side in alike]
    if group is None and taken:
        return taken[0] if len(taken) == 1 else None
    side = of_group.get(group) if group is not None else None
    if side not in open_to:
        side = drawn
    return side if set(taken) <= {side} else None


def _position(seed: int, sha256: str, group: str | None) -> float:
    """Return a place in [0, 1) that depends on nothing else."""
    key = f"image:{sha256}" if group is None else f"group:{group}"
    return int.from_bytes(hashlib.sha256(f"{seed}:{key}".encode()).digest()[:8], "big") / 2**64


def _cut(position: float, shares: Shares, sides: tuple[Side, ...]) -> Side:
    """Return the part of the unit interval, cut in proportion to the shares of `sides`, in which `position` lies."""
    total = sum(getattr(shares, side) for side in sides)
    reached = 0.0
    for side in sides[:-1]:
        reached += getattr(shares, side) / total
        if position < reached:
            return side
    return sides[-1]


def _without_weaker_copies(frame: pd.DataFrame, sides: pd.Series) -> pd.Series:
    """Leave out each row that shares its bytes or its group with a row on a stronger side."""
    strength = sides.map({side: rank for rank, side in enumerate(SIDES)})
    by_bytes = strength.groupby(frame["sha256"]).transform("min")
    by_group = strength.groupby(frame["group"]).transform("min").fillna(strength)
    return sides.where((by_bytes >= strength) & (by_group >= strength), None)


def _without_weaker_near_duplicates(config: SplitConfig, given: pd.Series, sides: pd.Series, near_duplicates: Sequence[tuple[int, int]]) -> pd.Series:
    """Leave out each row that has a near duplicate on a stronger side, unless the source put both where they are and `on_leak` is `fail`."""
    strength: dict[Side | None, int] = {side: rank for rank, side in enumerate(SIDES)}
    sources, placed, weaker = given.tolist(), sides.tolist(), []
    for one, other in near_duplicates:
        if placed[one] is None or placed[other] is None or placed[one] == placed[other]:
            continue
        if config.on_leak == "drop" or sources[one] is None or sources[other] is None:
            weaker.append(max(one, other, key=lambda row: strength[placed[row]]))
    for row in weaker:
        placed[row] = None
    return pd.Series(placed, index=sides.index, dtype=object)


def _rows_of(near_duplicates: Path, frame: pd.DataFrame) -> list[tuple[int, int]]:
    """Return validate's pairs as row numbers.

    Raises:
        DataError: They name an image that is not in the manifest.
    """
    pairs = read_near_duplicates(near_duplicates)
    numbers = pd.Series(range(len(frame)), index=frame["image_id"])
    rows = [pairs[column].map(numbers) for column in ("first", "second")]
    for column, found in zip(("first", "second"), rows, strict=True):
        if found.isna().any():
            raise DataError(f"{near_duplicates} names {pairs[column][found.isna()].iloc[0]!r}, which is not in the data now; run validate again")
    return [(one, other) for one, other in zip(*(found.astype(int).tolist() for found in rows), strict=True) if one != other]


def _refuse_leaks(frame: pd.DataFrame) -> None:
    """Refuse a source that puts identical images, or images of one group, on two sides of its own split."""
    given = frame[frame["split"].notna()]
    for key, what in (("sha256", "identical images"), ("group", "images of one group")):
        leaking = given[given.groupby(key)["split"].transform("nunique") > 1]
        if leaking.empty:
            continue
        pairs = [
            f"  {first['image_id']} ({first['split']}) and {other['image_id']} ({other['split']})"
            for _, rows in list(leaking.groupby(key, sort=False))[:4]
            for first, other in [(rows.iloc[0], rows[rows["split"] != rows["split"].iloc[0]].iloc[0])]
        ]
        raise GateRefused(
            f"the source's split leaks: {leaking[key].nunique()} times {what} stand on two sides; correct it, or set split.on_leak to drop\n"
            + "\n".join(pairs)
        )


def _refuse_empty(config: SplitConfig, counts: Mapping[str, int], num_images: int) -> None:
    for side, count in counts.items():
        if not count:
            share = getattr(config.shares, side)
            raise DataError(f"the split '{side}' is empty: {num_images} images with split.shares.{side} = {share:g}; add images or raise the share")
