"""Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011, "On the Stratification of Multi-Label Data"), of units that stay together.

The class that the fewest units still show is dealt out first: each of its units goes to the side that still wants most images of that class, or, if
several do, most images. A unit is what may not be torn apart: a group, copies, near duplicates.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Side = TypeVar("Side", bound=Hashable)


def units_of(num_rows: int, keys: Iterable[Sequence[Hashable | None]], pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Return the unit of each row, named by its first row.

    Args:
        num_rows: N.
        keys: Columns of N values; rows with the same value belong together, None belongs to nothing.
        pairs: Row numbers that belong together.
    """
    parent = list(range(num_rows))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    def join(one: int, other: int) -> None:
        first, second = sorted((root(one), root(other)))
        parent[second] = first

    for column in keys:
        seen: dict[Hashable, int] = {}
        for row, value in enumerate(column):
            if value is not None:
                join(seen.setdefault(value, row), row)
    for one, other in pairs:
        join(one, other)
    return [root(row) for row in range(num_rows)]


def stratify(
    units: Sequence[int],
    shown: Sequence[Collection[str]],
    order: Sequence[float],
    allowed: Sequence[Sequence[Side]],
    shares: Mapping[Side, float],
) -> list[Side]:
    """Return a side for each row, the same for all rows of a unit.

    Args:
        units: Of each of N rows, as `units_of` returns them.
        shown: The classes that each row shows.
        order: A number for each row; of units alike in everything else, that with the lower number of its first row is placed first.
        allowed: The sides each row may go to; one alone is settled, and counts towards what that side has.
        shares: Of the sides, in the order that breaks ties.
    """
    classes = {name: index for index, name in enumerate(sorted(set().union(*shown)))}
    rows: defaultdict[int, list[int]] = defaultdict(list)
    for row, unit in enumerate(units):
        rows[unit].append(row)
    counts = {unit: _counts([shown[row] for row in members], classes) for unit, members in rows.items()}
    open_to = {unit: _common([allowed[row] for row in members], shares) for unit, members in rows.items()}
    sides = {unit: sides[0] for unit, sides in open_to.items() if len(sides) == 1}
    free = [unit for unit in rows if unit not in sides]
    wanted = _wanted(counts, open_to, sides, shares)

    def place(unit: int, column: int) -> None:
        side = max(open_to[unit], key=lambda side: (wanted[side][column], wanted[side][-1]))
        sides[unit] = side
        wanted[side] -= counts[unit]

    while free:
        left = (np.array([counts[unit][:-1] for unit in free]) > 0).sum(axis=0)
        rarest = int(np.argmin(np.where(left > 0, left, np.iinfo(np.int64).max))) if left.any() else -1
        showing = [unit for unit in free if counts[unit][rarest] > 0]
        for unit in sorted(showing, key=lambda unit: (-counts[unit][rarest], order[unit])):
            place(unit, rarest)
        free = [unit for unit in free if unit not in sides]
    return [sides[unit] for unit in units]


def _counts(shown: Sequence[Collection[str]], classes: Mapping[str, int]) -> npt.NDArray[np.float64]:
    """Return how many images show each class, and how many there are."""
    counts = np.zeros(len(classes) + 1)
    for names in shown:
        counts[[classes[name] for name in names]] += 1
    counts[-1] = len(shown)
    return counts


def _common(allowed: Sequence[Sequence[Side]], shares: Mapping[Side, float]) -> list[Side]:
    """Return the sides that all rows may go to, in the order of `shares`; where they contradict each other, those of the most settled row."""
    common = [side for side in shares if all(side in each for each in allowed)]
    return common or min((list(each) for each in allowed), key=len)


def _wanted(
    counts: Mapping[int, npt.NDArray[np.float64]], open_to: Mapping[int, Sequence[Side]], settled: Mapping[int, Side], shares: Mapping[Side, float]
) -> dict[Side, npt.NDArray[np.float64]]:
    """Return how many images of each class, and in all, each side still wants of those that are not settled."""
    zero = np.zeros(len(next(iter(counts.values()))))
    reachable = {side for unit, sides in open_to.items() if unit not in settled for side in sides}
    has = {side: sum((counts[unit] for unit, own in settled.items() if own == side), zero) for side in reachable}
    total = sum((counts[unit] for unit in open_to if unit not in settled), zero) + sum(has.values(), zero)
    share_of_all = sum(shares[side] for side in reachable)
    return {side: shares[side] / share_of_all * total - has[side] for side in reachable}
