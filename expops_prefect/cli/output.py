"""How the command line prints: tables for people, JSON for machines, one line for an error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import Any, Final

import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from expops_prefect.errors import ExpOpsPrefectError

OK: Final = 0
PROBLEM: Final = 1

# Into a pipe there is no width to respect, and broken lines are hard to process.
console = Console(width=None if sys.stdout.isatty() else 200)
errors = Console(stderr=True)

COLOURS: Final = {"completed": "green", "cached": "cyan", "running": "yellow", "failed": "red", "ok": "green"}


class ProblemError(ExpOpsPrefectError):
    """Something the user has to know, in one line that says what to do next."""


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode() + "\n")


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "") -> None:
    """Print rows under headings; text from users is never taken for markup, status words are coloured."""
    table = Table(title=escape(title) or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    console.print(table)


def print_line(text: str, *, style: str | None = None) -> None:
    """Print one line as it is."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def print_error(text: str) -> None:
    """Print one line to the standard error output."""
    errors.print(text, style="red", markup=False, highlight=False, soft_wrap=True)


def moment(seconds: float | None) -> str:
    """A point in time for people, local."""
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds, tz=timezone.utc).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def duration(seconds: float | None) -> str:
    """A length of time for people."""
    if seconds is None:
        return ""
    return f"{seconds:.2f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def size(count: float) -> str:
    """A number of bytes for people."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def age(seconds: float) -> str:
    """How long ago a point in time was."""
    passed = max(0.0, time.time() - seconds)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if passed >= length:
            return f"{passed / length:.0f} {unit} ago"
    return f"{passed:.0f} s ago"


def _cell(value: object) -> str:
    text = escape("" if value is None else str(value))
    colour = COLOURS.get(text)
    return f"[{colour}]{text}[/{colour}]" if colour else text
