"""``instrument``: give a flow that keeps Prefect's own decorators caching and recording.

Prefect's tasks are found by name from many places, so they are changed where they are. Outside the
instrumented flows they behave as before: their policy delegates to the original one.
"""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, TypeVar

from prefect import Flow, Task
from prefect.cache_policies import CachePolicy
from prefect.settings.context import get_current_settings
from prefect.utilities.annotations import NotSet

from expops_prefect import scope
from expops_prefect.caching.policy import ExpOpsCachePolicy
from expops_prefect.decorators import ExpOpsFlow, ExpOpsTask
from expops_prefect.fingerprint.ownership import Owner, owner_of_module
from expops_prefect.recording.body import wrap_body
from expops_prefect.recording.hooks import add_flow_hooks, add_task_hooks, silence_own_hooks

_logger = logging.getLogger("prefect.expops")
F = TypeVar("F", bound=Flow[..., Any])


@dataclass
class InstrumentedPolicy(ExpOpsCachePolicy):
    """``EXPOPS`` inside flows of ours, the task's own policy elsewhere.

    Attributes:
        original: the policy that the task had.
    """

    original: CachePolicy | None = field(default=None)

    def compute_key(
        self, task_ctx: Any, inputs: dict[str, Any], flow_parameters: dict[str, Any], **kwargs: Any
    ) -> str | None:
        """See :meth:`ExpOpsCachePolicy.compute_key`."""
        if scope.find_run[-1](task_ctx.task) is None and scope.project_around(task_ctx.task) is None:
            if self.original is None:
                return None
            return self.original.compute_key(task_ctx, inputs, flow_parameters, **kwargs)
        key = super().compute_key(task_ctx, inputs, flow_parameters, **kwargs)
        if key is not None:
            # The task did not ask for persistence by itself; its result is persisted in this run only.
            task_ctx.persist_result = True
        return key


class InstrumentedTask(Task[..., Any]):
    """A task of Prefect's decorator that was instrumented. Its clones are, too."""

    def with_options(self, **options: Any) -> Task[..., Any]:  # type: ignore[override, unused-ignore]
        """See :meth:`prefect.Task.with_options`."""
        clone = super().with_options(**options)
        clone.task_key = self.task_key  # it is made of the function's own code, and that is our wrapper's
        _instrument_task(clone)
        return clone


def instrument(flow: F, *, tasks: Iterable[Task[..., Any]] = ()) -> F:
    """Switch on caching and recording for a flow and the tasks and subflows that it uses.

    They are found in the flow's module, in its closure, and in own modules that those import. Tasks
    whose caching the user chose keep it; flows that share the tasks keep their behaviour.

    Args:
        flow: a Prefect flow.
        tasks: further tasks, for instance of a library or made by a factory.

    Returns:
        The same flow.

    Example:
        ```python
        from expops_prefect import instrument
        from pipelines import nightly  # written for Prefect alone

        instrument(nightly)

        if __name__ == "__main__":
            nightly()
        ```
    """
    silence_own_hooks()
    found = list(_reachable(flow))
    chosen = {id(item): item for item in [*found, *tasks]}
    names = []
    for item in chosen.values():
        if isinstance(item, Task):
            _instrument_task(item)
            names.append(item.name)
        else:
            _instrument_flow(item)
    _instrument_flow(flow)
    _logger.info("instrumented flow %s; tasks: %s", flow.name, ", ".join(sorted(names)) or "none found, pass tasks=[…]")
    return flow


def _instrument_task(task: Task[..., Any]) -> None:
    if isinstance(task, ExpOpsTask | InstrumentedTask):
        return
    if _caching_is_default(task):
        policy = InstrumentedPolicy(original=task.cache_policy if isinstance(task.cache_policy, CachePolicy) else None)
        task.cache_policy = policy  # type: ignore[assignment]
    task.fn = wrap_body(task.fn, "task")
    add_task_hooks(task)
    if type(task) is Task:
        task.__class__ = InstrumentedTask


def _instrument_flow(flow: Flow[..., Any]) -> None:
    if not isinstance(flow, ExpOpsFlow):
        flow.fn = wrap_body(flow.fn, "flow")
        add_flow_hooks(flow)


def _caching_is_default(task: Task[..., Any]) -> bool:
    """Whether the user said nothing about the task's caching."""
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


def _reachable(flow: Flow[..., Any]) -> Iterator[Task[..., Any] | Flow[..., Any]]:
    """Tasks and flows in the module and closure of a flow, and in own modules imported there."""
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
            yield item
            if isinstance(item, Flow):
                inner = inspect.unwrap(item.fn)
                waiting += [*inspect.getclosurevars(inner).nonlocals.values(), *inner.__globals__.values()]
        elif isinstance(item, type):
            waiting += [value for value in vars(item).values() if isinstance(value, Task | Flow)]
        elif isinstance(item, ModuleType):
            if item.__name__ not in modules and owner_of_module(item.__name__) is Owner.PROJECT:
                modules.add(item.__name__)
                waiting += list(vars(item).values())
        elif inspect.isfunction(item) and item.__module__ in sys.modules:
            waiting.append(sys.modules[item.__module__])
