"""Suspended generator tasks: keeps the calls of their consumer out of their transaction.

Prefect leaves the transaction of a generator task current while it is suspended. Tasks that its consumer calls
would join that transaction and be committed only at its end; a kill before that would lose all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any

from expops_prefect import run_context


class Suspension:
    """Takes the transaction of a generator task away while it is suspended, and restores it.

    Args:
        owner: the task or flow of the body; a flow has no transaction.
    """

    def __init__(self, owner: Any) -> None:
        from prefect.context import TaskRunContext
        from prefect.transactions import BaseTransaction, get_transaction

        context = TaskRunContext.get()
        inside = context is not None and context.task is owner
        self._own: Any = get_transaction() if inside else None
        self._current = BaseTransaction.__var__
        self._around: tuple[Any, Any] = (None, None)
        if self._own is not None:
            self._around = self._own.get_parent(), run_context.task_transaction.get()
            run_context.task_transaction.set(self._own)

    def out(self) -> None:
        """Take it away: an item is passed to the consumer."""
        if self._own is not None:
            transaction, of_task = self._around
            self._current.set(transaction)
            run_context.task_transaction.set(of_task)

    def back(self) -> None:
        """Restore it: the body goes on. The consumer may have opened a transaction meanwhile."""
        if self._own is not None:
            self._around = self._current.get(None), run_context.task_transaction.get()
            self._current.set(self._own)
            run_context.task_transaction.set(self._own)

    def ended(self) -> None:
        """Clean up after the body has ended. Prefect resets its own variable."""
        if self._own is not None:
            run_context.task_transaction.set(self._around[1])


def handed_out(items: Generator[Any, Any, Any], suspension: Suspension) -> Generator[Any, Any, Any]:
    """``yield from``, with the transaction taken away at each item."""
    step: Callable[[], Any] = partial(next, items)
    try:
        while True:
            try:
                item = step()
            except StopIteration as end:
                return end.value
            suspension.out()
            try:
                sent = yield item
            except BaseException as error:  # noqa: BLE001 - the body's own, and its closing too
                step = partial(items.throw, error)
            else:
                step = partial(items.send, sent)
            suspension.back()
    finally:
        suspension.ended()
