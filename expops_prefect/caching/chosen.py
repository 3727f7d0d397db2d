"""Whether a flow around a task names a storage or a serializer for its results: then that wins over ours.

Prefect hands them down from flow to flow and to tasks without a word on where they come from, so what
is not Prefect's default was chosen. The defaults themselves, those of a profile or a server
included, are chosen for no flow in particular: there ours take their place.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from prefect.filesystems import LocalFileSystem
from prefect.results import ResultStore, get_default_result_storage
from prefect.serializers import Serializer
from prefect.settings import get_current_settings

from expops_prefect.caching.storage import ExpOpsResultStorage
from expops_prefect.serialization.serializer import ExpOpsSerializer


class _Last:
    """The last answer: all task runs of a flow run ask about the same objects."""

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
