"""Tables on terminals of any width: nothing is lost, and nothing is folded into single letters."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from expops_prefect.cli.table_layout import fit

HEADINGS = ["process or step", "status", "took", "saved", "computed by", "because", "last metrics"]
RUN = "20260101000000-0000abcd"
WHY = "no result yet for these inputs, configuration and code"
ROWS = [
    ["train_model #1", "cached", "7 ms", "1 ms", RUN, "", "loss 0.25"],
    ["学習", "completed", "48 ms", "", "", WHY, "accuracy 0.123457, loss 0.25"],
]


def test_where_there_is_room_a_table_is_as_it_is() -> None:
    fitted = fit(HEADINGS, ROWS, 1000)
    assert [heading for heading, _ in fitted.headings] == HEADINGS
    assert dict(fitted.headings)["because"] == len(WHY)
    assert (fitted.rows, fitted.below) == (ROWS, [[], []])


def test_first_run_ids_are_cut_then_the_last_columns_go_below() -> None:
    # One letter less than the whole run ids need.
    cut = fit(HEADINGS, ROWS, 15 + 9 + 5 + 5 + 23 + 20 + 20 + 12 - 1)
    assert [row[4] for row in cut.rows] == ["0000abcd", ""]
    assert cut.below == [[], []]
    narrow = fit(HEADINGS, ROWS, 60)
    assert [heading for heading, _ in narrow.headings] == HEADINGS[:5]
    assert narrow.rows == [[*row[:4], row[4][-8:]] for row in ROWS]
    assert narrow.below == [
        [("last metrics", "loss 0.25")],
        [("because", WHY), ("last metrics", "accuracy 0.123457, loss 0.25")],
    ]


def test_a_column_without_a_cell_takes_no_room() -> None:
    fitted = fit(["process", "because", "saved"], [["train", "", "1 ms"]], 14)
    assert fitted.headings == [("process", 7), ("saved", 5)]
    assert (fitted.rows, fitted.below) == ([["train", "1 ms"]], [[]])


@pytest.mark.parametrize("width", [1, 20, 40, 60, 80, 100, 140])
def test_nothing_is_lost_and_what_is_folded_can_be_read(width: int) -> None:
    fitted = fit(HEADINGS, ROWS, width)
    for row, beside, below in zip(ROWS, fitted.rows, fitted.below, strict=True):
        shown = [cell for cell in [*beside, *(cell for _, cell in below)] if cell]
        assert [cell[-8:] for cell in shown] == [cell[-8:] for cell in row if cell]
    assert sum(each for _, each in fitted.headings) + 2 * (len(fitted.headings) - 1) <= max(width, 15)
    for number, (_, each) in enumerate(fitted.headings):
        assert each >= min(20, max(cell_len(row[number]) for row in fitted.rows))


def test_an_empty_table() -> None:
    fitted = fit(["a", "b"], [], 10)
    assert (fitted.rows, fitted.below) == ([], [])
