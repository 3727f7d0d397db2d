"""What a flow run has computed is not computed again when it is retried, even where our key differs by then.

A global or a closure that a task reads may change while the flow runs. With Prefect alone the key of a task that
persists its result is made of its inputs, its own lines and the flow run, so a retry takes what an earlier attempt
has computed. That key is kept beside ours, under which the result is.
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
    """The KV key under which it is kept where the result of a task run is; ``None`` where Prefect would not persist it.

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
    except Exception:  # noqa: BLE001 - arguments that Prefect cannot hash; with Prefect alone there is no key either
        return None
    return None if key is None else names.retry_key(key)


def completed_before(project: Project, context: TaskRunContext, name: str | None) -> names.CacheKey | None:
    """The key of the result that an earlier attempt at this flow run has computed; ``None`` if there is none.

    Args:
        project: where results are kept.
        context: Prefect's context of the task run.
        name: as :func:`name_for` gives it.
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
        said = f"{error}; what its flow computed before is not looked for"
        degrade("cache not readable", said, about=context.task.name)
        return None


def note(cache_context: CacheContext) -> None:
    """The result of a task run has been stored."""
    if cache_context.retry_name is None or cache_context.not_stored is not None:
        return
    project, name = cache_context.project, cache_context.retry_name
    try:
        project.kv.put(name, project.signatures.signed(name, {"key": cache_context.key}))
    except ExpOpsPrefectError as error:
        said = f"{error}; a retry of its flow may execute it again"
        degrade("records not stored", said, key=cache_context.label, about=cache_context.label)


def _is_retried() -> bool:
    """Whether the flow run that is around has run before: it is retried, or was resumed."""
    from prefect.context import FlowRunContext

    flow = FlowRunContext.get()
    return flow is not None and flow.flow_run is not None and flow.flow_run.run_count > 1
