"""The data between processes: outputs by name, loaded only when a function gets them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from expops_prefect.expops.bridge.expansion import Instance
from expops_prefect.serialization.deferred import Deferred

Outputs: TypeAlias = dict[str, Any]
"""Deferred values by name, a list of them for an output that a split divides; and the logged metrics."""

METRICS: Final = "__expops_metrics__"
"""The metrics of a process and its steps, kept beside its outputs for charts."""
_LABEL: Final = {"data": "data", "seed": "seed"}


class PipelineError(RuntimeError):
    """Raised if the processes of a pipeline do not fit together."""


def inputs_of(instance: Instance, results: Mapping[str, Outputs]) -> Outputs:
    """The outputs that an instance may use.

    Args:
        instance: the instance.
        results: the results of all its dependencies, by probe path.

    Returns:
        Deferred values by name. If an aggregation gets one name from several branches, its value is a
        dictionary by ``data1``, ``data2``, …, or ``seed1``, ``seed2``, …, or by both, data first.

    Raises:
        PipelineError: two processes have outputs of the same name.
    """
    found: dict[str, list[tuple[str, tuple[Any, ...], Any]]] = {}
    for source in instance.sources:
        for name, value in results[source.path].items():
            if name.startswith("__"):
                continue
            part = value[(source.part or 1) - 1] if isinstance(value, list) else value
            found.setdefault(name, []).append((source.process, source.slot, part))
    inputs: Outputs = {}
    for name, entries in found.items():
        if len(entries) == 1:
            inputs[name] = entries[0][2]
            continue
        places = {place for _, place, _ in entries}
        if len(places) < len(entries) or () in places:
            processes = " and ".join(dict.fromkeys(process for process, _, _ in entries))
            raise PipelineError(
                f"{instance.process.name} gets {name!r} from {processes}; outputs that meet must have different names"
            )
        branches: dict[str, Any] = {}
        for _, place, value in entries:
            *outer, last = [f"{_LABEL[kind]}{number}" for kind, number in sorted(place)]
            at = branches
            for label in outer:
                at = at.setdefault(label, {})
            at[last] = value
        inputs[name] = branches
    return inputs


def arguments_of(
    instance: Instance, function: Callable[..., Any], inputs: Outputs, shared: Mapping[str, Any], seed: int | None
) -> dict[str, Any]:
    """The arguments of a process's function: outputs and parameters, by the names of its own parameters.

    Args:
        instance: the process.
        function: its function; one with ``**kwargs`` gets everything.
        inputs: see :func:`inputs_of`.
        shared: the project's parameters; the process's own, and outputs, take precedence.
        seed: the project's random seed.

    Raises:
        PipelineError: an output has the same name as one of the process's own parameters.
    """
    process = instance.process
    both = sorted(inputs.keys() & process.parameters.keys())
    if both:
        raise PipelineError(f"{process.name} has the parameter {both[0]!r} and gets an output of that name")
    offered = {**shared, **process.parameters, **inputs}
    if process.seeds:
        offered.setdefault("seeds", list(process.seeds))
    drawn = seed if instance.seed is None else instance.seed
    seeds = {} if drawn is None else {"random_seed": drawn}
    if instance.seed is not None:
        offered = {**offered, **seeds}
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        named = {parameter.name for parameter in parameters}
        return {**{name: value for name, value in seeds.items() if name in named}, **offered}
    offered = {**seeds, **offered}
    return {parameter.name: offered[parameter.name] for parameter in parameters if parameter.name in offered}


def loaded(value: Any) -> Any:
    """Load an argument if it is deferred, or contains deferred values of an aggregation."""
    if isinstance(value, Deferred):
        return value.value()
    if type(value) is dict and any(isinstance(part, dict | Deferred) for part in value.values()):
        return {name: loaded(part) for name, part in value.items()}
    return value


def outputs_of(instance: Instance, returned: Any) -> Outputs:
    """The result of a process from its function's return value, divided for a split.

    Raises:
        PipelineError: it is not a dictionary of outputs, or cannot be divided as configured.
    """
    process = instance.process
    if isinstance(returned, list | tuple) and process.rows is not None:
        returned = {process.data_name or "data": returned}
    if not isinstance(returned, Mapping):
        kind = type(returned).__name__
        raise PipelineError(f"process {process.name!r} must return a dictionary of its outputs, not {kind}")
    outputs: Outputs = {str(name): _deferred(value) for name, value in returned.items()}
    if process.rows is not None:
        name = process.data_name or "data"
        if name not in outputs:
            known = ", ".join(outputs) or "none"
            raise PipelineError(f"{process.name} should split {name!r}, which is not among its outputs: {known}")
        parts = split_rows(outputs[name].value(), process.rows)
        outputs[name] = [Deferred.of(part) for part in parts]
    return outputs


def _deferred(value: Any) -> Deferred[Any]:
    value = value if isinstance(value, Deferred) else loaded(value)
    return value if isinstance(value, Deferred) else Deferred.of(value)


def split_rows(value: Any, rows: int | Sequence[int]) -> list[Any]:
    """Divide data into partitions of consecutive rows.

    Args:
        value: a frame, an array, a list or tuple of rows, or a dictionary of columns.
        rows: the number of partitions, whose sizes differ by at most one, larger ones first; or the number of
            rows of each.

    Raises:
        PipelineError: it has no rows, or a different number of rows.
    """
    total = _count(value)
    if isinstance(rows, int):
        least, more = divmod(total, rows)
        rows = [least + (number < more) for number in range(rows)]
    if sum(rows) != total:
        raise PipelineError(f"data of {total} rows cannot be split into partitions of {', '.join(map(str, rows))} rows")
    ends = [sum(rows[: number + 1]) for number in range(len(rows))]
    return [_slice(value, end - size, end) for end, size in zip(ends, rows, strict=True)]


def _count(value: Any) -> int:
    if isinstance(value, dict):
        columns = list(value.values())
        lengths = {len(column) for column in columns if _has_rows(column)}
        if len(lengths) == 1 and all(map(_has_rows, columns)):
            return lengths.pop()
    elif _has_rows(value):
        return len(value)
    raise PipelineError(f"{type(value).__name__} has no rows to split")


def _has_rows(value: Any) -> bool:
    return hasattr(value, "__len__") and hasattr(value, "__getitem__") and not isinstance(value, str | bytes | dict)


def _slice(value: Any, start: int, end: int) -> Any:
    if isinstance(value, dict):
        return {name: _slice(column, start, end) for name, column in value.items()}
    return value.iloc[start:end] if hasattr(value, "iloc") else value[start:end]
