"""A store in a forked child of a process that has used obstore: another process does the work.

obstore's threads do not exist in the child, and its sockets belong to the parent: a call would hang, and could
disturb the parent's.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeVar, cast

from expops_prefect._internal.process import ForkSafeLock
from expops_prefect.errors import ObjectStoreError
from expops_prefect.stores.objects.cloud.client import works_here

if TYPE_CHECKING:
    from expops_prefect.stores.objects.cloud.store import CloudObjects

_P = ParamSpec("_P")
_R = TypeVar("_R")
_SERVE: Final = "from expops_prefect.stores.objects.cloud.forked import serve; serve()"


def anywhere(
    method: Callable[Concatenate[CloudObjects, _P], _R],
) -> Callable[Concatenate[CloudObjects, _P], _R]:
    """A method that also works in such a child."""

    @wraps(method)
    def call(store: CloudObjects, *arguments: _P.args, **named: _P.kwargs) -> _R:
        if works_here():
            return method(store, *arguments, **named)
        result: _R = store.helper().call(method.__name__, arguments, named)
        return result

    return cast("Callable[Concatenate[CloudObjects, _P], _R]", call)


class Helper:
    """A process with the same store. It ends with this one.

    Args:
        store: the store.
    """

    def __init__(self, store: CloudObjects) -> None:
        self.process = os.getpid()
        self._store = store
        self._one_at_a_time = ForkSafeLock()
        self._running: subprocess.Popen[bytes] | None = None

    def call(self, name: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Call a method of the store.

        Raises:
            ObjectStoreError: the process has ended, or what the method raises.
        """
        # Views of memory cannot be sent.
        plain = [_copied(argument) if isinstance(argument, (list, tuple)) else argument for argument in arguments]
        with self._one_at_a_time:
            try:
                result, error, calls = self._ask((name, plain, named))
            except (EOFError, OSError) as broken:
                self._running = None
                raise ObjectStoreError(f"the process that does the work of a forked one has ended: {broken}") from None
        self._store.calls.update(calls)
        if error is not None:
            raise error
        return result

    def _ask(self, question: Any) -> tuple[Any, Exception | None, Counter[str]]:
        if self._running is None:
            command = [sys.executable, "-c", _SERVE]
            pipe = subprocess.PIPE
            self._running = subprocess.Popen(command, stdin=pipe, stdout=pipe)  # noqa: S603 - this package
            pickle.dump((list(sys.path), self._store), self._running.stdin)  # type: ignore[arg-type]
        assert self._running.stdin is not None
        assert self._running.stdout is not None
        pickle.dump(question, self._running.stdin)
        self._running.stdin.flush()
        answer: tuple[Any, Exception | None, Counter[str]] = pickle.load(self._running.stdout)
        return answer


def _copied(parts: Any) -> list[Any]:
    return [bytes(memoryview(part)) for part in parts]


def serve() -> None:
    """Answer calls until there are no more."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    questions = sys.stdin.buffer
    path, store = pickle.load(questions)
    sys.path[:] = path
    while True:
        try:
            name, arguments, named = pickle.load(questions)
        except EOFError:
            return
        before = Counter(store.calls)
        result: Any = None
        failure: Exception | None = None
        try:
            result = getattr(store, name)(*arguments, **named)
        except Exception as error:  # noqa: BLE001 - raised again by the caller
            failure = error
        pickle.dump((result, failure, store.calls - before), answers)
        answers.flush()
