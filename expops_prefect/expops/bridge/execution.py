"""Processes, steps and charts as tasks around the project's own functions."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from prefect.cache_policies import CachePolicy

from expops_prefect.cache.decision import RULE_ATTRIBUTE
from expops_prefect.cache.policy import EXPOPS
from expops_prefect.decorators import ExpOpsTask
from expops_prefect.effects.seeding import derived_seed, seeded
from expops_prefect.expops.bridge import core
from expops_prefect.expops.bridge.expansion import Instance
from expops_prefect.expops.bridge.metrics import Logged, MetricLog, normalised, record
from expops_prefect.expops.bridge.outputs import METRICS, Outputs, loaded, outputs_of
from expops_prefect.fingerprint.code import code_fingerprint
from expops_prefect.fingerprint.ownership import Owner, owner_of_module
from expops_prefect.models.names import process_name, readable
from expops_prefect.run_context import PLACE_ATTRIBUTE, CallPlacement
from expops_prefect.serialization.deferred import Deferred
from expops_prefect.tracking.api import log_metric

Function = Callable[..., Any]


@dataclass
class ProcessCall:
    """A process that is being run by its task.

    Attributes:
        instance: the instance of the process.
        seed: the seed of its random numbers.
        project_id, run_id: for the context of charts.
        executed: whether its function ran; otherwise its result came from the cache.
    """

    instance: Instance
    seed: int
    project_id: str
    run_id: str
    executed: bool = False
    log: MetricLog = field(default_factory=MetricLog)

    def call_step(self, name: str, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a step: a nested task with a cache entry of its own. See :class:`core.Frame`."""
        call = _StepCall(self, derived_seed(self.seed, name))
        with _set(_step, call):
            result = _step_task(name, function, call.seed)(*args, **kwargs)
        if call.executed is None:
            # From the cache: the metrics logged then belong to this call too.
            value, logged = result
        else:
            (value,), logged = call.executed, call.logged
        for item in logged:
            self.log.add(name, item)
        return value

    def log_metric(self, name: str, value: Any, step: int | None) -> None:
        """Log a metric of the process."""
        item = normalised(name, value, step)
        self.log.add("", item)
        record(item, log_metric)


@dataclass(frozen=True)
class _ProcessFrame:
    """A process whose function is running."""

    call: ProcessCall

    def call_step(self, name: str, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self.call.call_step(name, function, args, kwargs)

    def log(self, name: str, value: Any, step: int | None) -> None:
        self.call.log_metric(name, value, step)


@dataclass
class _StepCall:
    """A step that is being run by its task."""

    process: ProcessCall
    seed: int
    executed: tuple[Any] | None = None
    logged: list[Logged] = field(default_factory=list)

    def call_step(self, name: str, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self.process.call_step(name, function, args, kwargs)

    def log(self, name: str, value: Any, step: int | None) -> None:
        item = normalised(name, value, step)
        self.logged.append(item)
        record(item, log_metric)


process_call: ContextVar[ProcessCall] = ContextVar("expops_process_call")
_step: ContextVar[_StepCall] = ContextVar("expops_step_call")


def process_task(call: ProcessCall, function: Function) -> ExpOpsTask[..., Outputs]:
    """The task of a process.

    Args:
        call: the call of the process.
        function: the project's; its arguments may be deferred.
    """

    @functools.wraps(function)
    def body(*args: Any, **kwargs: Any) -> Outputs:
        return _execute(process_call.get(), function, args, kwargs)

    return _task(call, body)


def pass_on(**outputs: Any) -> dict[str, Any]:
    """The function of a split without one: returns its arguments."""
    return outputs


def failing(error: Exception) -> Function:
    """A function for a process that cannot run: it always raises this error."""

    def fail(**_: Any) -> None:
        raise error

    return fail


def plain_task(call: ProcessCall, body: Function) -> ExpOpsTask[..., Outputs]:
    """The task of a chart, whose body does everything itself."""
    return _task(call, body)


def _task(call: ProcessCall, body: Function) -> ExpOpsTask[..., Outputs]:
    name = call.instance.process.name
    task: ExpOpsTask[..., Outputs] = ExpOpsTask(
        body,
        name=name,
        task_run_name=readable(call.instance.path),
        cache_policy=EXPOPS + _Given(str(call.seed)),
    )
    setattr(task, RULE_ATTRIBUTE, "all")  # its project's author wrote each process to be cached
    upstream = {process_name(source.process) for source in call.instance.sources}
    setattr(task, PLACE_ATTRIBUTE, CallPlacement(call.instance.path, tuple(sorted(upstream))))
    return task


def _step_task(name: str, function: Function, seed: int) -> ExpOpsTask[..., Any]:
    @functools.wraps(function)
    def body(*args: Any, **kwargs: Any) -> Any:
        call = _step.get()
        with _set(core.current, call), seeded(call.seed):
            value = function(*args, **kwargs)
        call.executed = (value,)
        # As in ExpOps, a step that returns nothing runs every time.
        return None if value is None else (value, call.logged)

    task: ExpOpsTask[..., Any] = ExpOpsTask(body, name=name, cache_policy=EXPOPS + _Given(str(seed)))
    setattr(task, RULE_ATTRIBUTE, "all")
    return task


def _execute(call: ProcessCall, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Outputs:
    call.executed = True
    call.log = MetricLog()
    if function is not pass_on:
        args = tuple(map(loaded, args))
        kwargs = {name: loaded(value) for name, value in kwargs.items()}
    with _set(core.current, _ProcessFrame(call)), seeded(call.seed):
        returned = function(*args, **kwargs)
    return {**outputs_of(call.instance, returned), METRICS: call.log.content}


@contextmanager
def _set(variable: ContextVar[Any], value: Any) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


@dataclass
class _Given(CachePolicy):
    """What a result depends on besides inputs, configuration and code: its seed, and the classes of deferred objects.

    Attributes:
        seed: the seed of the random numbers.
    """

    seed: str = ""

    def compute_key(
        self,
        task_ctx: Any,  # noqa: ARG002
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],  # noqa: ARG002
        **_: Any,
    ) -> str:
        """See :class:`CachePolicy`."""
        found = sorted({name for value in inputs.values() for name in _classes(value)})
        return "\n".join((self.seed, *map(_class_code, found)))


def _classes(value: Any) -> Iterator[str]:
    if isinstance(value, Deferred):
        yield from value.classes
    elif type(value) is dict:
        for part in value.values():
            yield from _classes(part)


def _class_code(name: str) -> str:
    module, _, qualified = name.partition(":")
    if owner_of_module(module) is not Owner.PROJECT:
        return ""
    try:
        found: Any = sys.modules.get(module) or importlib.import_module(module)
        for part in qualified.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return f"{name} is gone"
    return code_fingerprint(found).digest if inspect.isclass(found) else name
