"""The output of the command line: tables for people, JSON for programs, one line for an error."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

import orjson
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from expops_prefect.cli.table_layout import ONE_LINE, Fitted, fit
from expops_prefect.errors import ExpOpsPrefectError

OK: Final = 0
PROBLEM: Final = 1
WRONG_USAGE: Final = 2

COLOURS: Final = {
    "completed": "green",
    "cached": "cyan",
    "running": "yellow",
    "failed": "red",
    "ok": "green",
    "warning": "yellow",
}
_INDENT: Final = 4
_UNLIMITED: Final = 100_000
"""A pipe has no width to respect, and wrapped lines are hard to process."""


class ProblemError(ExpOpsPrefectError):
    """A problem for the user, in one line that says what to do next."""


class UsageError(ProblemError):
    """A wrong use of a command, in one line that says what is allowed."""


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode() + "\n")


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under headings; text from users is never interpreted as markup, status words are coloured."""
    texts = [["" if value is None else _printable(str(value)) for value in row] for row in rows]
    fitted = fit(headings, texts, _console().width)
    table = _table(fitted, show_header=any(headings))
    for cells, below in zip(fitted.rows, fitted.below, strict=True):
        table.add_row(*map(_cell, cells))
        if below:
            _print_block(table)
            for heading, text in below:
                _print_block(Padding(Text(f"{heading}: {text}" if heading else text), (0, 0, 0, _INDENT)))
            table = _table(fitted, show_header=False)
    if table.rows or table.show_header:
        _print_block(table)


def print_tree(tree: Tree) -> None:
    """Print a tree whose labels come from :func:`label`."""
    _print_block(tree)


def label(*parts: str) -> Text:
    """Join the parts of a tree's label with two spaces; status words are coloured, markup is not interpreted."""
    text = Text()
    for part in filter(None, parts):
        text.append("  " if text else "")
        text.append(_printable(part), style=COLOURS.get(part))
    return text


def _table(fitted: Fitted, *, show_header: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=show_header)
    for heading, width in fitted.headings:
        table.add_column(heading, overflow="fold", no_wrap=heading in ONE_LINE, width=width)
    return table


def _print_block(block: Table | Tree | Padding) -> None:
    console = _console()
    with console.capture() as captured:
        console.print(block)
    for line in captured.get().splitlines():
        sys.stdout.write(line.rstrip() + "\n")


def print_line(text: str, *, style: str | None = None) -> None:
    """Print one line verbatim."""
    _console().print(_printable(text), style=style, markup=False, highlight=False, soft_wrap=True)


def print_note(text: str) -> None:
    """Print one line to standard error, so that it does not mix with the output."""
    Console(stderr=True).print(_printable(text), style="yellow", markup=False, highlight=False, soft_wrap=True)


def print_error(text: str) -> None:
    """Print one line to standard error."""
    Console(stderr=True).print(_printable(text), style="red", markup=False, highlight=False, soft_wrap=True)


def size(count: float) -> str:
    """Format a number of bytes."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def _console() -> Console:
    return Console() if sys.stdout.isatty() else Console(width=_UNLIMITED)


def _cell(text: str) -> Text:
    return Text(text, style=COLOURS.get(text, ""))


def _printable(text: str) -> str:
    """Escape names from users and other machines, so that they cannot move the cursor or break a line."""
    if text.isprintable():
        return text
    return "".join(part if part.isprintable() else part.encode("unicode_escape").decode() for part in text)
