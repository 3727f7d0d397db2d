"""Lets a retried flow run reuse what its earlier attempts computed, even if our key differs by then.

A global or a closure that a task reads may change while the flow runs. Prefect's own key of a task that persists its
result consists of its inputs, its own source lines and the flow run, so that a retry finds the earlier result. We store
Prefect's key with a reference to ours, under which the result is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expops_prefect._internal.diagnostics import degrade
from expops_prefect.cache import results
from expops_prefect.errors import ExpOpsPrefectError
from expops_prefect.models import names

if TYPE_CHECKING:
    from prefect.context import TaskRunContext

    from expops_prefect.cache.context import CacheContext
    from expops_prefect.project import Project


def name_for(context: TaskRunContext, inputs: dict[str, Any]) -> str | None:
    """The KV key of the reference to a task run's result; ``None`` if Prefect would not persist the result.

    Args:
        context: Prefect's context of the task run.
        inputs: the call's arguments by name.
    """
    from prefect.cache_policies import DEFAULT
    from prefect.context import FlowRunContext
    from prefect.results import get_default_persist_setting

    persists, flow = getattr(context.task, "_user_persist_result", None), FlowRunContext.get()
    if persists is None:
        persists = get_default_persist_setting() if flow is None else flow.persist_result
    if not persists or context.task_run.flow_run_id is None:
        return None
    try:
        key = DEFAULT.compute_key(task_ctx=context, inputs=inputs, flow_parameters={})
    except Exception:  # noqa: BLE001 - arguments that Prefect cannot hash; Prefect alone has no key then either
        return None
    return None if key is None else names.retry_key(key)


def completed_before(project: Project, context: TaskRunContext, name: str | None) -> names.CacheKey | None:
    """The key of the result that an earlier attempt at this flow run computed; ``None`` if there is none.

    Args:
        project: the project.
        context: Prefect's context of the task run.
        name: the KV key from :func:`name_for`.
    """
    if name is None or context.task.refresh_cache or not _is_retried():
        return None
    try:
        value = project.kv.get(name)
        if not isinstance(value, dict) or not project.signatures.valid(name, value):
            return None
        key = str(value.get("key"))
        return names.CacheKey.parse(key) if results.read_hit(project, key) is not None else None
    except ExpOpsPrefectError as error:
        said = f"{error}; results of earlier attempts at its flow run are not reused"
        degrade("cache not readable", said, about=context.task.name)
        return None


def note(cache_context: CacheContext) -> None:
    """Store the reference for retries, once the result of a task run is stored."""
    if cache_context.retry_name is None or cache_context.not_stored is not None:
        return
    project, name = cache_context.project, cache_context.retry_name
    try:
        project.kv.put(name, project.signatures.signed(name, {"key": cache_context.key}))
    except ExpOpsPrefectError as error:
        said = f"{error}; a retry of its flow may execute it again"
        degrade("records not stored", said, key=cache_context.label, about=cache_context.label)


def _is_retried() -> bool:
    """Whether the surrounding flow run was retried or resumed."""
    from prefect.context import FlowRunContext

    flow = FlowRunContext.get()
    return flow is not None and flow.flow_run is not None and flow.flow_run.run_count > 1
