"""Wraps the user's functions, the bodies of tasks and flows, where Prefect's engine runs them.

The functions themselves are unchanged: ``task.fn`` is the user's function for everybody who reads it:
Prefect's parameters, ``inspect``, pickles, and callers. Only Prefect's engine gets a wrapped one, at the
point where it runs the function.

Every decorator imports this module, so it imports nothing heavy.
"""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar, Final

from expops_prefect import run_context

Function = Callable[..., Any]

INNER: Final = "_expops_inner"
"""Marks a flow that is recorded only as part of the runs of instrumented flows."""
_ENGINES: Final = frozenset({"prefect.task_engine", "prefect.flow_engine"})
_CALLS: Final = frozenset(
    {
        *("call_task_fn", "run_generator_task_sync", "run_generator_task_async"),
        *("call_flow_fn", "_call_flow_fn", "run_generator_flow_sync", "run_generator_flow_async"),
    }
)
"""The engine's functions that call the function of a task or flow."""
_SCOPES: Final = frozenset({"run_context"})
"""The engine's functions that open the scope of a timeout."""


class Surrounded:
    """A task or flow whose body is wrapped when Prefect's engine runs it.

    The engine gets no timeout either: the wrapper applies it, so that only the user's own function counts.
    """

    __slots__ = ()  # __class__ of Prefect's objects is assigned to subclasses
    _expops_surrounded: ClassVar[bool] = True

    if not TYPE_CHECKING:  # the attributes are Prefect's, and so are their types

        @property
        def fn(self) -> Function:
            """The user's function; the engine gets a wrapped one."""
            function = _attribute(self, "fn")
            return surround(self, function) if _is_engine(sys._getframe(1), _CALLS) else function

        @fn.setter
        def fn(self, function: Function) -> None:
            self.__dict__["fn"] = function

        @property
        def timeout_seconds(self) -> float | None:
            """The user's timeout; ``None`` for the engine if the wrapper applies it."""
            seconds = _attribute(self, "timeout_seconds")
            if seconds is None or not _is_engine(sys._getframe(1), _SCOPES):
                return seconds
            if keeps_time(self):
                return None
            import expops_prefect.tracking.instrumentation  # noqa: F401 - it costs time, and from here on time counts

            return seconds

        @timeout_seconds.setter
        def timeout_seconds(self, seconds: float | None) -> None:
            self.__dict__["timeout_seconds"] = seconds


def _attribute(owner: Any, name: str) -> Any:
    try:
        return owner.__dict__[name]
    except KeyError:
        raise AttributeError(f"{type(owner).__name__!r} object has no attribute {name!r}", name=name) from None


def _is_engine(caller: FrameType, places: frozenset[str]) -> bool:
    return caller.f_code.co_name in places and caller.f_globals.get("__name__") in _ENGINES


def keeps_time(owner: Any) -> bool:
    """Whether the wrapper, not the engine, applies the timeout of a task or flow.

    Not for async generators: the event loop may close one in another task than the one that opened the scope.
    Not where the engine may wait for the user's lock, which must end with the timeout.
    """
    if owner.isgenerator and owner.isasync:
        return False
    policy = getattr(owner, "cache_policy", None)
    if getattr(policy, "isolation_level", None) is None:
        return True
    from expops_prefect.cache.policy import ExpOpsCachePolicy

    return isinstance(policy, ExpOpsCachePolicy)


def surround(owner: Any, function: Function) -> Function:
    """Wrap a function for Prefect's engine.

    Args:
        owner: the task or flow.
        function: its function: plain, async, generator or async generator.
    """
    body: Any
    if inspect.isasyncgenfunction(function):

        async def body(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            from expops_prefect.tracking.generators import Suspension
            from expops_prefect.tracking.instrumentation import entered

            with entered(owner) as leave:
                suspension = Suspension(owner)
                try:
                    async for item in function(*args, **kwargs):
                        suspension.out()
                        try:
                            yield item
                        finally:
                            suspension.back()
                finally:
                    suspension.ended()
                leave(None)

    elif inspect.iscoroutinefunction(function):

        async def body(*args: Any, **kwargs: Any) -> Any:
            from expops_prefect.tracking.instrumentation import entered

            with entered(owner) as leave:
                with _time_of(owner):
                    result = await function(*args, **kwargs)
                return leave(result)

    elif inspect.isgeneratorfunction(function):

        def body(*args: Any, **kwargs: Any) -> Iterator[Any]:
            from expops_prefect.tracking.generators import Suspension, handed_out
            from expops_prefect.tracking.instrumentation import entered

            with entered(owner) as leave:
                with _time_of(owner):
                    result = yield from handed_out(function(*args, **kwargs), Suspension(owner))
                return leave(result)  # type: ignore[no-any-return]

    else:

        def body(*args: Any, **kwargs: Any) -> Any:
            from expops_prefect.tracking.instrumentation import entered

            with entered(owner) as leave:
                with _time_of(owner):
                    result = function(*args, **kwargs)
                return leave(result)

    body.__wrapped__ = function  # Prefect binds the arguments to its signature
    body.__name__ = getattr(function, "__name__", type(function).__name__)  # its errors name the function
    return body  # type: ignore[no-any-return]


def _time_of(owner: Any) -> AbstractContextManager[Any]:
    """The scope of the timeout that the engine did not get."""
    seconds = owner.timeout_seconds
    if seconds is None or not keeps_time(owner):
        return nullcontext()
    from prefect import Flow
    from prefect.utilities.timeout import timeout, timeout_async

    if isinstance(owner, Flow):
        from prefect.flow_engine import FlowRunTimeoutError as TimedOut
    else:
        from prefect.task_engine import TaskRunTimeoutError as TimedOut  # type: ignore[assignment]

        if not owner.isasync and threading.current_thread() is not threading.main_thread():
            _warn_of_thread(seconds)
    return (timeout_async if owner.isasync else timeout)(seconds=seconds, timeout_exc_type=TimedOut)


def _warn_of_thread(seconds: float) -> None:
    """Warn as Prefect does where it applies the timeout itself."""
    from prefect.logging import get_run_logger

    get_run_logger().warning(
        "This task has a time-out of %s seconds and is running in a worker thread. Calls that block, such as "
        "time.sleep() or reading from the network, cannot be interrupted there; the time-out takes effect once they "
        "return. An async task can be interrupted wherever it awaits.",
        seconds,
    )


def called(
    task: Any, by_prefect: Callable[..., Any], args: Any, options: Any, *, return_state: bool, wait_for: Any
) -> Any:
    """Call a task: answer from the cache where ``prefect.cache.fast_hits`` allows it, else as Prefect does.

    Args:
        task: the task.
        by_prefect: Prefect's own call of it.
        args, options: the arguments.
        return_state, wait_for: as Prefect's call takes them.
    """
    here = None if wait_for is not None else run_context.answers_fast()
    if here is not None:
        from expops_prefect.tracking import fast_hits

        if fast_hits.allowed(task):
            return fast_hits.call(task, here, args, options, return_state=return_state)
    return by_prefect(*args, return_state=return_state, wait_for=wait_for, **options)
