"""Sends the events of a task's assets on a hit, which Prefect sends only when it executes the task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from expops_prefect.record.cache_records import CacheRecord


def send(task: Any, task_run: Any, state: Any, hit: CacheRecord) -> None:
    """Send the events that an execution would have sent, with the run that computed the result.

    Args:
        task: the task.
        task_run: its task run.
        state: the state in which it ended.
        hit: the record of the result.
    """
    if not getattr(task, "assets", None):
        return
    from prefect.context import AssetContext

    around = AssetContext.get()
    if around is not None and around.copy_to_child_ctx:  # submitted to another process
        context = around.model_copy()
    else:
        context = AssetContext.from_task_and_inputs(task, task_run.id, task_run.task_inputs)
    computed = {"cached": True, "computed_by_run": hit.run_id, "computed_by_task_run": hit.task_run_id}
    context.materialization_metadata = {asset.key: dict(computed) for asset in context.downstream_assets}
    # Prefect sends nothing for a state of this name.
    context.emit_events(state.model_copy(update={"name": "Completed"}) if state.name == "Cached" else state)
