"""Check of images that are there twice: the same bytes, near duplicates, and groups on two sides of the source's own split."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.datasets.checks.config import ValidateConfig
from components.datasets.checks.duplicates import near_duplicates
from components.datasets.checks.suite import Part, Subject

NEAR_DUPLICATES = ("near_duplicates", "near_duplicates_across_splits")


def find_pairs(config: ValidateConfig, fingerprints: list[bytes | None]) -> pd.DataFrame:
    """Return the pairs of near duplicates, as `duplicates.near_duplicates` does; `first` and `second` are row numbers.

    Args:
        config: How alike they have to be.
        fingerprints: One an image; None: it is damaged.
    """
    rows = [str(row) for row in range(len(fingerprints))]
    pairs = near_duplicates(rows, fingerprints, config.max_hash_distance, config.min_correlation)
    return pairs.astype({"first": "int64", "second": "int64"})


def examine(subject: Subject, pairs: pd.DataFrame) -> Part:
    """Check copies and groups.

    Args:
        subject: The dataset.
        pairs: What `find_pairs` found.
    """
    splits, groups = (pd.factorize(subject.frame[name])[0] for name in ("split", "group"))
    first, second = pairs["first"].to_numpy(dtype=np.int64), pairs["second"].to_numpy(dtype=np.int64)
    same_bytes = subject.same_bytes[first] == subject.same_bytes[second]
    across = (splits[first] != splits[second]) & (splits[first] >= 0) & (splits[second] >= 0)
    decodes = subject.measured["decodes"].to_numpy(dtype=bool)
    leaks = min(1.0, subject.config.max_leaks / max(1, len(subject)))
    columns = {
        "copy": _repeated(subject, subject.same_bytes, decodes),
        "copy_across": _across(subject, subject.same_bytes, splits, decodes),
        "near_duplicate": _paired(subject, pairs, ~same_bytes & ~across),
        "near_duplicate_across": _paired(subject, pairs, ~same_bytes & across),
        "group_across": _across(subject, groups, splits, groups >= 0),
    }
    rules = [
        subject.clean("copies_across_splits", "no copy on another side of the split", "copy_across", "each image on one side", leaks),
        subject.clean("near_duplicates_across_splits", "no near duplicate on another side of the split", "near_duplicate_across", "none", leaks),
        subject.clean("groups_across_splits", "no group on two sides of the split", "group_across", "each group on one side", leaks),
        subject.clean("copies", "no image is there twice", "copy", "each image once"),
        subject.clean("near_duplicates", "no image is nearly there twice", "near_duplicate", "none"),
    ]
    return Part(columns, {}, [rule for rule in rules if rule.key not in NEAR_DUPLICATES or subject.watches(*NEAR_DUPLICATES)])


def _repeated(subject: Subject, codes: npt.NDArray[np.int64], counted: npt.NDArray[np.bool_]) -> pd.Series[Any]:
    """Say of each image but the first with the same code which that is."""
    rows = np.flatnonzero(counted & (np.bincount(codes)[codes] > 1))
    _, place, inverse = np.unique(codes[rows], return_index=True, return_inverse=True)
    first = rows[place[inverse]]
    later = rows != first
    return subject.texts(rows[later], [f"as {name}" for name in subject.image_ids[first[later]]])


def _across(subject: Subject, codes: npt.NDArray[np.int64], splits: npt.NDArray[np.int64], counted: npt.NDArray[np.bool_]) -> pd.Series[Any]:
    """Say of each image which other one with the same code is on another side; only sides that the source gave count."""
    rows = np.flatnonzero(counted & (splits >= 0))
    table = pd.DataFrame({"row": rows, "code": codes[rows], "split": splits[rows]})
    several = table[table.groupby("code")["split"].transform("nunique") > 1] if len(table) else table
    firsts = several.drop_duplicates(["code", "split"])
    if several.empty:
        return subject.texts(np.empty(0, dtype=np.int64), None)
    lowest = firsts.drop_duplicates("code").set_index("code")
    other = firsts[firsts["split"].to_numpy() != lowest["split"].reindex(firsts["code"]).to_numpy()].drop_duplicates("code").set_index("code")
    in_lowest = several["split"].to_numpy() == lowest["split"].reindex(several["code"]).to_numpy()
    partner = np.where(in_lowest, other["row"].reindex(several["code"]).to_numpy(), lowest["row"].reindex(several["code"]).to_numpy())
    return subject.texts(several["row"].to_numpy(), _placed(subject, several["row"].to_numpy(), partner))


def _paired(subject: Subject, pairs: pd.DataFrame, chosen: npt.NDArray[np.bool_]) -> pd.Series[Any]:
    """Say of the later image of each of these pairs what the first of them is, and how many more there are."""
    kept = pairs[chosen]
    counts = kept.groupby("second")["first"].transform("size").to_numpy()
    once = ~kept["second"].duplicated().to_numpy()
    kept, counts = kept[once], counts[once]
    placed = _placed(subject, kept["second"].to_numpy(), kept["first"].to_numpy())
    told = [f"{text} ({how})" + (f"; {count - 1} more" if count > 1 else "") for text, how, count in zip(placed, kept["how"], counts, strict=True)]
    return subject.texts(kept["second"].to_numpy(), told)


def _placed(subject: Subject, rows: npt.NDArray[np.int64], others: npt.NDArray[np.int64]) -> list[str]:
    """Say of which images others are copies, and where the source's split has put both."""
    sides: Any = subject.frame["split"].to_numpy(dtype=object)
    names = subject.image_ids
    return [
        f"as {names[other]}" if sides[row] is None or sides[other] in (None, sides[row]) else f"in {sides[row]}, as {names[other]} in {sides[other]}"
        for row, other in zip(rows.tolist(), others.tolist(), strict=True)
    ]
