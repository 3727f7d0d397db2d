"""``instrument``: add caching and recording to a flow that keeps Prefect's own decorators.

Prefect's tasks are referred to by name from many places, so they are changed in place. Outside instrumented flows
they behave as before: their policy delegates to the original one.
"""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from types import CodeType, ModuleType
from typing import Any, Final, TypeVar

from prefect import Flow, Task
from prefect.cache_policies import CachePolicy
from prefect.settings.context import get_current_settings
from prefect.utilities.annotations import NotSet

from expops_prefect import run_context
from expops_prefect.cache.policy import ExpOpsCachePolicy
from expops_prefect.decorators import ExpOpsFlow
from expops_prefect.fingerprint.identity import STANDS_FOR
from expops_prefect.fingerprint.ownership import Owner, owner_of_module
from expops_prefect.tracking.hooks import add_flow_hooks, add_task_hooks
from expops_prefect.tracking.wrapping import INNER, Surrounded, called

_logger = logging.getLogger("prefect.expops")
F = TypeVar("F", bound=Flow[..., Any])
T = TypeVar("T")
_FEW: Final = 1000  # a longer collection in a module holds data, not tasks


@dataclass
class InstrumentedPolicy(ExpOpsCachePolicy):
    """``EXPOPS`` inside instrumented or recorded flows, the task's own policy elsewhere.

    Attributes:
        original: the task's own policy.
    """

    original: CachePolicy | None = field(default=None)

    def compute_key(
        self, task_ctx: Any, inputs: dict[str, Any], flow_parameters: dict[str, Any], **kwargs: Any
    ) -> str | None:
        """See :meth:`ExpOpsCachePolicy.compute_key`."""
        if run_context.run_of(task_ctx.task) is None and run_context.project_around(task_ctx.task) is None:
            if self.original is None:
                return None
            return self.original.compute_key(task_ctx, inputs, flow_parameters, **kwargs)
        return super().compute_key(task_ctx, inputs, flow_parameters, **kwargs)


class InstrumentedTask(Task[..., Any], Surrounded):
    """An instrumented task of Prefect's decorator. Its clones are instrumented too."""

    def __call__(self, *args: Any, return_state: bool = False, wait_for: Any = None, **kwargs: Any) -> Any:  # type: ignore[override, unused-ignore]
        """See :meth:`prefect.Task.__call__`."""
        return called(self, super().__call__, args, kwargs, return_state=return_state, wait_for=wait_for)

    def with_options(self, **options: Any) -> Task[..., Any]:  # type: ignore[override, unused-ignore]
        """See :meth:`prefect.Task.with_options`."""
        return _instrument_clone(self, super().with_options(**options))


class InstrumentedFlow(Flow[..., Any], Surrounded):
    """An instrumented flow of Prefect's decorator. Its clones are instrumented too."""

    def with_options(self, **options: Any) -> Flow[..., Any]:  # type: ignore[override, unused-ignore]
        """See :meth:`prefect.Flow.with_options`."""
        return _instrument_clone(self, super().with_options(**options))


setattr(InstrumentedFlow, STANDS_FOR, Flow)  # in the keys of tasks that take one


@cache
def _instrumented(kind: Any) -> Any:
    """The instrumented subclass of a task or flow class; a class other than Prefect's own keeps its name.

    The class itself is the first base; otherwise Python does not allow an object to change its class.
    """
    if kind in (Task, Flow):
        return InstrumentedTask if kind is Task else InstrumentedFlow

    def with_options(self: Any, *args: Any, **options: Any) -> Any:
        return _instrument_clone(self, kind.with_options(self, *args, **options))

    named = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    return type(kind.__name__, (kind, Surrounded), {**named, "with_options": with_options})


def _instrument_clone(original: Any, clone: T) -> T:
    """Instrument a clone like its original."""
    if isinstance(clone, Task):
        _instrument_task(clone)
    elif isinstance(clone, Flow):
        _instrument_flow(clone, inner=vars(original)[INNER])
    return clone


def instrument(flow: F, *, tasks: Iterable[Task[..., Any]] = ()) -> F:
    """Add caching and recording to a flow and to the tasks and subflows that it uses.

    Tasks are found in the flow's module, in its closure, and in the project's modules imported there. Subflows are
    found by the names in the code of the flow and of the functions and tasks that it calls. Tasks whose caching you
    configured keep it. Other flows that share the tasks are not affected, and neither is a subflow that is called
    on its own.

    Args:
        flow: a Prefect flow.
        tasks: further tasks, for instance from a library or a factory.

    Returns:
        The same flow.

    Raises:
        TypeError: ``flow`` is not a flow, or one of ``tasks`` is not a task.

    Example:
        ```python
        from expops_prefect import instrument
        from pipelines import nightly  # written for Prefect alone

        instrument(nightly)

        if __name__ == "__main__":
            nightly()
        ```
    """
    tasks = _checked(flow, tasks)
    chosen = {id(item): item for item in [*_reachable(flow), *tasks]}
    for item in chosen.values():
        _instrument_task(item)
    names = [item.name for item in chosen.values()]
    for subflow in subflows_of(flow):
        _instrument_flow(subflow, inner=True)
    _instrument_flow(flow, inner=False)
    _logger.info("instrumented flow %s; tasks: %s", flow.name, ", ".join(sorted(names)) or "none found, pass tasks=[…]")
    return flow


def _checked(flow: Any, tasks: Iterable[Any]) -> list[Task[..., Any]]:
    if not isinstance(flow, Flow):
        more = "; pass a task in tasks=[…], together with the flow that calls it" if isinstance(flow, Task) else ""
        raise TypeError(f"instrument takes a flow made with Prefect's @flow, not {_kind(flow)}{more}")
    if isinstance(tasks, Task):
        raise TypeError(f"tasks takes a list: tasks=[{tasks.name}]")
    found = list(tasks)
    for item in found:
        if not isinstance(item, Task):
            raise TypeError(f"tasks takes tasks made with Prefect's @task, not {_kind(item)}")
    return found


def _kind(value: Any) -> str:
    name = getattr(value, "__name__", None) or getattr(value, "name", None) or repr(value)
    return f"the {type(value).__name__} {name}"


def _instrument_task(task: Task[..., Any]) -> None:
    if isinstance(task, Surrounded):
        return
    if _caching_is_default(task):
        policy = InstrumentedPolicy(original=task.cache_policy if isinstance(task.cache_policy, CachePolicy) else None)
        task.cache_policy = policy  # type: ignore[assignment]
    kind: Any = type(task)
    task.__class__ = _instrumented(kind)
    add_task_hooks(task)


def _instrument_flow(flow: Flow[..., Any], *, inner: bool) -> None:
    if isinstance(flow, ExpOpsFlow):
        return
    known = isinstance(flow, Surrounded)
    if not known:
        kind: Any = type(flow)
        flow.__class__ = _instrumented(kind)
    add_flow_hooks(flow)
    if not (known and inner):  # a flow that was instrumented directly stays so
        setattr(flow, INNER, inner)


def _caching_is_default(task: Task[..., Any]) -> bool:
    """Whether the user did not configure the task's caching."""
    settings = get_current_settings().tasks
    return (
        getattr(task, "_user_cache_policy", NotSet) is NotSet
        and task.cache_key_fn is None
        and task.result_storage_key is None
        and task.result_storage is None
        and getattr(task, "_user_persist_result", None) is not False
        and not settings.default_no_cache
        and not settings.disable_caching
    )


def _reachable(flow: Flow[..., Any]) -> Iterator[Task[..., Any]]:
    """Tasks in the module and closure of a flow, and in the project's modules imported there."""
    function: Callable[..., Any] = inspect.unwrap(flow.fn)
    seen: set[int] = {id(flow)}
    modules: set[str] = set()
    waiting: list[Any] = [*inspect.getclosurevars(function).nonlocals.values(), *function.__globals__.values()]
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, Task | Flow):
            if isinstance(item, Task):
                yield item
            else:
                inner = inspect.unwrap(item.fn)
                waiting += [*inspect.getclosurevars(inner).nonlocals.values(), *inner.__globals__.values()]
        elif isinstance(item, type):
            if not isinstance(item.__module__, str) or owner_of_module(item.__module__) is not Owner.PROJECT:
                continue
            # Static and class methods are wrapped there; inherited ones are in the bases.
            members = [_unwrapped(value) for value in tuple(vars(item).values())]
            waiting += [*item.__bases__, *(value for value in members if isinstance(value, Task | Flow | type))]
        elif isinstance(item, ModuleType):
            if item.__name__ not in modules and owner_of_module(item.__name__) is Owner.PROJECT:
                modules.add(item.__name__)
                waiting += list(vars(item).values())
        elif inspect.isfunction(item):
            if item.__module__ in sys.modules:
                waiting.append(sys.modules[item.__module__])
        elif isinstance(item, dict | list | tuple | set | frozenset):
            if len(item) <= _FEW:
                waiting += item.values() if isinstance(item, dict) else item
        else:
            waiting.append(type(item))


def _unwrapped(member: Any) -> Any:
    """The function of a static or class method; anything else unchanged."""
    # Only of those: other members may be anything, and inspecting them may change the class.
    return member.__func__ if isinstance(member, staticmethod | classmethod) else member


def subflows_of(flow: Flow[..., Any]) -> Iterator[Flow[..., Any]]:
    """The flows that a flow calls, directly or through the project's code, by the names in that code."""
    seen: set[int] = {id(flow)}
    waiting: list[Any] = [flow]
    while waiting:
        for value in _named_in(waiting.pop()):
            if id(value) in seen:
                continue
            seen.add(id(value))
            if isinstance(value, Flow):
                yield value
            if isinstance(value, Flow | Task) or _is_own(value):
                waiting.append(value)


def _is_own(value: Any) -> bool:
    code = isinstance(value, type) or inspect.isfunction(value)
    return code and owner_of_module(value.__module__) is Owner.PROJECT


def _named_in(item: Any) -> Iterator[Any]:
    """The objects that the code of a flow, task, function or class names, if they already exist."""
    if isinstance(item, type):
        yield from map(_unwrapped, tuple(vars(item).values()))
        return
    function: Any = inspect.unwrap(item.fn if isinstance(item, Flow | Task) else item)
    names = set(_names(function.__code__)) if inspect.isfunction(function) else set()
    found = [function.__globals__[name] for name in names if name in function.__globals__] if names else []
    if inspect.isfunction(function):
        found += inspect.getclosurevars(function).nonlocals.values()
    for value in found:
        if isinstance(value, ModuleType):
            yield from (vars(value)[name] for name in names if name in vars(value))
        elif isinstance(value, dict):
            yield from value.values()
        elif isinstance(value, list | tuple | set | frozenset):
            yield from value
        else:
            yield value


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
