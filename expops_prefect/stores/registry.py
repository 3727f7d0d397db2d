"""Backends by the name that you write as ``type``: those of this package, then those of other distributions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from inspect import isabstract
from typing import Final, TypeVar

from expops_prefect.errors import ConfigurationError
from expops_prefect.stores.settings import KVSettings, ObjectSettings, StoreSettings

KV_GROUP: Final = "expops_prefect.kv_stores"
OBJECT_GROUP: Final = "expops_prefect.object_stores"
_OWN: Final[Mapping[str, Mapping[str, str]]] = {
    KV_GROUP: {
        "local": "expops_prefect.stores.kv.sqlite.settings:SQLiteSettings",
        "sqlite": "expops_prefect.stores.kv.sqlite.settings:SQLiteSettings",
        "gcp": "expops_prefect.stores.kv.firestore.settings:FirestoreSettings",
        "firestore": "expops_prefect.stores.kv.firestore.settings:FirestoreSettings",
        "redis": "expops_prefect.stores.kv.redis.settings:RedisSettings",
    },
    OBJECT_GROUP: {
        "local": "expops_prefect.stores.objects.local.settings:LocalObjectSettings",
        "gcs": "expops_prefect.stores.objects.gcs.settings:GCSSettings",
        "s3": "expops_prefect.stores.objects.cloud.settings:S3Settings",
        "azure": "expops_prefect.stores.objects.cloud.settings:AzureSettings",
    },
}
"""A table, because scanning entry points takes longer than the rest of reading a configuration."""
_S = TypeVar("_S", bound=StoreSettings)


def kv_settings(name: str) -> type[KVSettings] | None:
    """The settings class of a type of KV store; ``None`` if no backend has registered the name.

    Raises:
        ConfigurationError: the distribution that registered it cannot be imported.
    """
    return _settings(KV_GROUP, name, KVSettings)  # type: ignore[type-abstract]


def object_settings(name: str) -> type[ObjectSettings] | None:
    """The settings class of a type of object store; see :func:`kv_settings`."""
    return _settings(OBJECT_GROUP, name, ObjectSettings)  # type: ignore[type-abstract]


def names(group: str) -> list[str]:
    """All names that are allowed as ``type``, sorted."""
    return sorted({*_OWN[group], *(entry.name.lower() for entry in entry_points(group=group))})


def environment() -> tuple[str, ...]:
    """The environment variables that the backends in use may read."""
    return tuple(
        sorted({name for cls in _subclasses(KVSettings) | _subclasses(ObjectSettings) for name in cls.environment})
    )


def _settings(group: str, name: str, base: type[_S]) -> type[_S] | None:
    wanted = name.strip().lower()
    place = _OWN[group].get(wanted)
    if place is not None:
        module, _, attribute = place.partition(":")
        own: type[_S] = getattr(import_module(module), attribute)
        return own
    entry = next((entry for entry in entry_points(group=group) if entry.name.lower() == wanted), None)
    return None if entry is None else _load(entry, base)


@cache
def _load(entry: EntryPoint, base: type[_S]) -> type[_S]:
    label = f"the store type {entry.name!r} of {entry.dist.name if entry.dist else 'another distribution'}"
    try:
        found = entry.load()
    except Exception as error:
        raise ConfigurationError(
            f"{label} cannot be imported ({entry.value}): {type(error).__name__}: {error}; reinstall or remove it"
        ) from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ConfigurationError(f"{label} is {entry.value}, not a subclass of {base.__module__}.{base.__name__}")
    if isabstract(found):
        missing = ", ".join(sorted(found.__abstractmethods__))
        raise ConfigurationError(f"{label} is {entry.value}, which does not define {missing}")
    return found


def _subclasses(base: type[StoreSettings]) -> set[type[StoreSettings]]:
    found = set(base.__subclasses__())
    return found.union(*map(_subclasses, found))
