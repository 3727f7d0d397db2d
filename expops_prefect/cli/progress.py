"""A bar for work that takes long, on the standard error output and only where somebody looks at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


@contextmanager
def progress_bar(title: str, *, visible: bool = True) -> Iterator[Callable[[str, int], None]]:
    """Show how far work is, one line for each kind of thing.

    Args:
        title: what is being done.
        visible: whether to show anything at all.

    Yields:
        Tells the bar how many things of a kind are done.
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
