"""Whether a surrounding flow names a storage or a serializer for results, which then replaces ours.

Prefect passes them from flows to subflows and tasks without their origin, so a storage that is not
Prefect's default was named explicitly. Defaults, including those of a profile or a server, are named
for no particular flow; ours replace them. Also tells whether results are persisted without our policy.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from prefect.context import FlowRunContext, TaskRunContext
from prefect.filesystems import LocalFileSystem
from prefect.results import ResultStore, get_default_persist_setting, get_default_result_storage
from prefect.serializers import Serializer
from prefect.settings import get_current_settings

from expops_prefect.cache.storage import ExpOpsResultStorage
from expops_prefect.serialization.serializer import ExpOpsSerializer


class _Last:
    """Caches the last answer: all task runs of a flow run ask about the same objects."""

    def __init__(self, ask: Callable[[Any, Any], bool]) -> None:
        self._ask = ask
        self._known: tuple[Any, Any, bool] = None, None, False

    def __call__(self, found: Any) -> bool:
        settings = get_current_settings().results
        known = self._known
        if known[0] is not found or known[1] is not settings:
            known = self._known = found, settings, self._ask(found, settings)
        return known[2]


def storage(store: ResultStore) -> bool:
    """Whether a flow around the task names the storage of this store."""
    found = store.result_storage
    return found is not None and not isinstance(found, ExpOpsResultStorage) and _storage(found)


def serializer(store: ResultStore) -> bool:
    """Whether a flow around the task names the serializer of this store."""
    found = store.serializer
    return not isinstance(found, ExpOpsSerializer) and _serializer(found)


def withhold_failure(context: TaskRunContext) -> None:
    """Keep the exception of a task run out of every storage, unless its user has results persisted.

    It is never a hit, and its message may contain secrets. Prefect would persist it only because the task
    has our policy. A retry gets a context of its own.
    """
    if not _persists(context.task):
        context.persist_result = False


def _persists(task: Any) -> bool:
    """Whether a task's results would be persisted without our policy."""
    left_open = getattr(task, "_policy_left_open", False)
    known = task._user_persist_result if left_open else task.persist_result
    if known is not None:
        return bool(known)
    if any(item is not None for item in (task.result_storage_key, task.result_storage, task.result_serializer)):
        return True
    by_default, flow = get_current_settings().tasks.default_persist_result, FlowRunContext.get()
    if by_default is not None:
        return by_default
    return get_default_persist_setting() if flow is None else flow.persist_result


@_Last
def _storage(found: Any, settings: Any) -> bool:
    if isinstance(found, LocalFileSystem) and _same_folder(found.basepath, str(settings.local_storage_path)):
        return False
    return bool(found != _default_storage(settings.default_storage_block))


@_Last
def _serializer(found: Any, settings: Any) -> bool:
    return bool(found != _default_serializer(settings.default_serializer))


@lru_cache(maxsize=4)
def _default_storage(block: str | None) -> Any:  # noqa: ARG001 - the answer depends on it
    return get_default_result_storage(_sync=True)  # type: ignore[call-arg]


@lru_cache(maxsize=4)
def _default_serializer(name: str) -> Serializer[Any]:
    return Serializer(type=name)


@lru_cache(maxsize=16)
def _same_folder(one: str, other: str) -> bool:
    return Path(one).expanduser().absolute() == Path(other).expanduser().absolute()
