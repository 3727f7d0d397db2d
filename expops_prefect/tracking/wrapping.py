"""What surrounds the user's own functions: the bodies of tasks and flows.

The functions themselves are left alone: ``task.fn`` is the user's function for everybody who looks at
it, for Prefect's parameters, for ``inspect``, for pickles, and for whoever calls it. Only where Prefect's
engine takes it to run it, it is handed one that is surrounded. So nothing can tell the two apart.

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

Function = Callable[..., Any]

INNER: Final = "_expops_inner"
"""The mark of a flow that takes part in the runs of instrumented flows only."""
_ENGINES: Final = frozenset({"prefect.task_engine", "prefect.flow_engine"})
_CALLS: Final = frozenset(
    {
        *("call_task_fn", "run_generator_task_sync", "run_generator_task_async"),
        *("call_flow_fn", "_call_flow_fn", "run_generator_flow_sync", "run_generator_flow_async"),
    }
)
"""Where the engines take the function of a task or flow to call it."""
_SCOPES: Final = frozenset({"run_context"})
"""Where they open the scope of a time-out."""


class Surrounded:
    """A task or flow whose body is surrounded where Prefect's engine runs it.

    The engine is given no time-out either: the body keeps it, so that only the user's own function counts.
    """

    __slots__ = ()  # objects of Prefect's classes may become objects of ours
    _expops_surrounded: ClassVar[bool] = True

    if not TYPE_CHECKING:  # the attributes are Prefect's, and so are their types

        @property
        def fn(self) -> Function:
            """The user's function; for the engine one that is surrounded."""
            function = _attribute(self, "fn")
            return surround(self, function) if _is_engine(sys._getframe(1), _CALLS) else function

        @fn.setter
        def fn(self, function: Function) -> None:
            self.__dict__["fn"] = function

        @property
        def timeout_seconds(self) -> float | None:
            """The user's time-out; none for the engine where the body keeps it."""
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
    """Whether the time-out of a task or flow is kept around its body, and not by the engine.

    Not for async generators: the event loop may close one in another task than the one that opened the scope.
    Not where the engine may wait for a lock of the user's for as long as the time-out lets it.
    """
    if owner.isgenerator and owner.isasync:
        return False
    policy = getattr(owner, "cache_policy", None)
    if getattr(policy, "isolation_level", None) is None:
        return True
    from expops_prefect.cache.policy import ExpOpsCachePolicy

    return isinstance(policy, ExpOpsCachePolicy)


def surround(owner: Any, function: Function) -> Function:
    """The function as Prefect's engine is to run it.

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
    return body  # type: ignore[no-any-return]


def _time_of(owner: Any) -> AbstractContextManager[Any]:
    """The scope of the time-out that the engine was not given."""
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
    """Prefect warns of it where it keeps the time itself."""
    from prefect.logging import get_run_logger

    get_run_logger().warning(
        "This task has a time-out of %s seconds and is running in a worker thread. Calls that block, such as "
        "time.sleep() or reading from the network, cannot be interrupted there; the time-out takes effect once they "
        "return. An async task can be interrupted wherever it awaits.",
        seconds,
    )
