"""What surrounds the user's own functions: the bodies of tasks and flows.

The wrappers travel into worker processes by value, so they import what they need when called and
hold nothing but the user's function. Every decorator imports this module, so it imports nothing heavy.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final, Literal

Kind = Literal["task", "flow"]
Function = Callable[..., Any]

INNER: Final = "__expops_inner__"
"""The mark of a body of a flow that takes part in the runs of instrumented flows only."""


def wrap_body(function: Function, kind: Kind) -> Function:
    """Surround a task's or flow's function; called outside its engine it behaves as before.

    Args:
        function: the user's function: plain, async, generator or async generator.
        kind: whose body it is.
    """
    if getattr(function, "__expops_wrapper__", False):
        return function

    if inspect.isasyncgenfunction(function):

        @functools.wraps(function)
        async def body(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            from expops_prefect.recording.body import entered

            with entered(body, kind) as leave:
                async for item in function(*args, **kwargs):
                    yield item
                leave(None)

    elif inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def body(*args: Any, **kwargs: Any) -> Any:
            from expops_prefect.recording.body import entered

            with entered(body, kind) as leave:
                return leave(await function(*args, **kwargs))

    elif inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def body(*args: Any, **kwargs: Any) -> Iterator[Any]:
            from expops_prefect.recording.body import entered

            with entered(body, kind) as leave:
                return leave((yield from function(*args, **kwargs)))  # type: ignore[no-any-return]

    else:

        @functools.wraps(function)
        def body(*args: Any, **kwargs: Any) -> Any:
            from expops_prefect.recording.body import entered

            with entered(body, kind) as leave:
                return leave(function(*args, **kwargs))

    body.__expops_wrapper__ = True  # type: ignore[union-attr, attr-defined, unused-ignore]
    return body  # type: ignore[return-value, unused-ignore]
