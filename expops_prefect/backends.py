"""From settings to concrete backends: the only place that names them."""

from __future__ import annotations

from expops_prefect.config import Settings
from expops_prefect.errors import ConfigurationError
from expops_prefect.kv.base import KVStore
from expops_prefect.objects.base import ObjectStore


def open_kv(settings: Settings) -> KVStore:
    """The project's KV store; nothing is connected yet.

    Raises:
        ConfigurationError: this release has no such backend.
    """
    if settings.kv.type == "local":
        from expops_prefect.kv.sqlite import SQLiteKV

        return SQLiteKV(settings.kv.path)
    raise _not_available(settings, "experiment.cache.backend.type", settings.kv.type, "local")


def open_objects(settings: Settings) -> ObjectStore:
    """The project's object store; nothing is connected yet.

    Raises:
        ConfigurationError: this release has no such backend.
    """
    if settings.objects.type == "local":
        from expops_prefect.objects.local import LocalObjects

        return LocalObjects(settings.objects.root)
    raise _not_available(settings, "experiment.cache.object_store.type", settings.objects.type, "local")


def _not_available(settings: Settings, key: str, found: str, allowed: str) -> ConfigurationError:
    return ConfigurationError(
        f"{settings.config_file or settings.root}: {key} is {found!r}, which this release cannot use yet; "
        f"allowed: {allowed!r}"
    )
