"""Fit a table into a narrow terminal: columns without room are printed below each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len

ONE_LINE: Final = frozenset({"run", "status", "started", "took", "saved", "computed", "computed by", "size", "check"})
"""Columns that are scanned or copied; the others wrap."""
_RUNS: Final = frozenset({"run", "computed by"})
_DIGITS: Final = 8
"""The number of digits at the end of a run's id that identify it."""
_LEGIBLE: Final = 20
"""The narrowest readable width of a column that wraps."""
_BETWEEN: Final = 2


@dataclass(frozen=True, slots=True)
class Fitted:
    """A table that fits into the terminal.

    Attributes:
        headings: the columns of the table, with the width of each.
        rows: their cells.
        below: the cells below each row, with their headings.
    """

    headings: Sequence[tuple[str, int]]
    rows: Sequence[Sequence[str]]
    below: Sequence[Sequence[tuple[str, str]]]


def fit(headings: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Fitted:
    """Fit a table into a width.

    If it is too wide, run ids are cut to their last digits and empty columns are left out. Then columns move below,
    the last ones first.

    Args:
        headings: the column headings.
        rows: the cells of each row.
        width: characters in a line.
    """
    columns = [(heading, [row[number] for row in rows]) for number, heading in enumerate(headings)]
    if _least(columns) > width:
        columns = [
            (heading, [cell[-_DIGITS:] for cell in cells] if heading in _RUNS else cells) for heading, cells in columns
        ]
    if _least(columns) > width:
        columns = [column for number, column in enumerate(columns) if number == 0 or any(column[1])]
    beside = len(columns)
    while beside > 1 and _least(columns[:beside]) > width:
        beside -= 1
    kept, left = columns[:beside], columns[beside:]
    return Fitted(
        list(zip((heading for heading, _ in kept), _widths(kept, width), strict=True)),
        [[cells[number] for _, cells in kept] for number in range(len(rows))],
        [[(heading, cells[number]) for heading, cells in left if cells[number]] for number in range(len(rows))],
    )


def _natural(column: tuple[str, Sequence[str]]) -> int:
    return max(map(cell_len, [column[0], *column[1]]))


def _narrowest(column: tuple[str, Sequence[str]]) -> int:
    natural = _natural(column)
    return natural if column[0] in ONE_LINE else min(natural, _LEGIBLE)


def _least(columns: Sequence[tuple[str, Sequence[str]]]) -> int:
    return sum(map(_narrowest, columns)) + _BETWEEN * (len(columns) - 1)


def _widths(columns: Sequence[tuple[str, Sequence[str]]], width: int) -> list[int]:
    """Give each column its minimum, and the remaining room to the first columns that wrap."""
    widths = [_narrowest(column) for column in columns]
    room = max(0, width - _least(columns))
    for number, column in enumerate(columns):
        more = min(room, _natural(column) - widths[number])
        widths[number] += more
        room -= more
    return widths
