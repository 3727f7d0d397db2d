"""A progress bar for long work, shown on standard error if that is a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


@contextmanager
def progress_bar(title: str, *, visible: bool = True) -> Iterator[Callable[[str, int], None]]:
    """Show the progress of some work, one line for each kind of item.

    Args:
        title: the work.
        visible: whether to show the bar.

    Yields:
        A function that sets how many items of a kind are done.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not (visible and console.is_terminal)) as progress:
        progress.console.print(escape(title)) if visible and console.is_terminal else None
        tasks: dict[str, TaskID] = {}

        def tell(kind: str, count: int) -> None:
            if kind not in tasks:
                tasks[kind] = progress.add_task(kind, total=None)
            progress.update(tasks[kind], completed=count)

        yield tell
