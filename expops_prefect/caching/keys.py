"""Computes a task's key and, as Prefect asks for it first, puts our storages in place.

Exceptions in a policy are swallowed by Prefect and leave the task uncached. Everything that can go
wrong here is therefore said here, once, with what to do.
"""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakKeyDictionary

from prefect.futures import PrefectFutureList
from prefect.transactions import IsolationLevel, get_transaction

from expops_prefect import names, scope
from expops_prefect.caching import attempts, blocks, chosen, flights, reasons
from expops_prefect.caching.attempts import Attempt
from expops_prefect.caching.locks import ExpOpsLockManager
from expops_prefect.caching.parts import Material, config_parts
from expops_prefect.degraded import degrade
from expops_prefect.errors import ConfigurationError, ExpOpsPrefectError, FingerprintError
from expops_prefect.fingerprint import lazy_imports
from expops_prefect.fingerprint.canonical import Note
from expops_prefect.fingerprint.code import code_fingerprint
from expops_prefect.fingerprint.files import data_digest
from expops_prefect.fingerprint.values import fingerprint, register_fingerprint
from expops_prefect.project import Project

if TYPE_CHECKING:
    from prefect.context import TaskRunContext

_logger = logging.getLogger("prefect.expops")
_said: set[tuple[str, ...]] = set()
_Configured: TypeAlias = tuple[str, frozenset[str]]
_ConfigDigest: TypeAlias = tuple[str | None, str, Mapping[str, str]]
_config_digests: WeakKeyDictionary[Project, dict[_Configured, _ConfigDigest]] = WeakKeyDictionary()
"""By project, process and those it calls: the data file's digest, that of the configuration with it, and its parts."""

# What map returned, with its futures resolved: a list that is formally an iterator.
register_fingerprint(PrefectFutureList, list)  # type: ignore[type-abstract]


def prepare(
    context: TaskRunContext, inputs: dict[str, Any], *, ignore: tuple[str, ...], others: tuple[str, ...] = ()
) -> str | None:
    """Compute a task run's key and set our storages on its result store."""
    task = context.task
    if task.isgenerator:
        return None  # Prefect executes generators always; they are recorded only.
    earlier = attempts.of_task_run(context.task_run.id)
    if earlier is not None:
        earlier.land()  # A retry takes the lease anew; its key may be another one.
    try:
        run = scope.run_of(task)
        project = (scope.project_around(task) or project_of_task(task.fn)) if run is None else run.project
    except ConfigurationError as error:
        if _first("configuration", str(error)):
            _logger.error("%s; tasks run uncached", error)
        return None
    try:
        key, material, configured = _key(project, task, inputs, (*ignore, *getattr(task, "ignore", ())), others)
    except FingerprintError as error:
        _warn_unhashable(task.name, error)
        if run is not None:
            run.uncached(context, reasons.unhashable(error))
        return None
    except Exception as error:  # noqa: BLE001 - the edge to Prefect, which would tell nobody why the task is uncached
        said = str(error) if isinstance(error, (ExpOpsPrefectError, OSError)) else repr(error)
        degrade("keys not computed", f"{task.name}: {said}; it runs uncached", key=task.name)
        if run is not None:
            run.uncached(context, reasons.without_digest(said))
        return None
    if key is None:
        if run is not None:
            run.uncached(context, reasons.switched_off(project, key_name(task)))
        return None
    attempts.uses_configuration(configured)
    _notice_without_inputs(task, inputs)
    attempt = Attempt.of(project, key, context.task_run, nested=get_transaction() is not None)
    attempt.configured = configured
    store = context.result_store
    if store.lock_manager is None and _serializable(task):
        store.lock_manager = ExpOpsLockManager(str(project.settings.root))
    if project.settings.cache.single_flight and not getattr(task.fn, "__expops_wrapper__", False):
        flights.land_at_end(task)
    if task.result_storage is None and not chosen.storage(store):
        result_storage, key_storage = blocks.storages(project)
        store.result_storage = result_storage
        if task.result_serializer is None and not chosen.serializer(store):
            store.serializer = blocks.serializer(project)
        if task.cache_policy is None or getattr(task.cache_policy, "key_storage", None) is None:
            store.metadata_storage = key_storage
        store.cache_result_in_memory = False
        attempt.serializer = store.serializer
        attempt.paired = store.result_storage is result_storage and store.metadata_storage is key_storage
        if attempt.paired:
            attempt.material = material
    attempts.remember(attempt)
    if run is not None:
        run.attach(context, attempt)
    else:
        attempts.forget_with(context.task_run)
    return str(key)


def key_name(task: Any) -> str:
    """The name under which a task is cached, configured and shown: its ``process``, else its own."""
    return names.normalise(getattr(task, "process", None) or task.name)


def project_of_task(function: Callable[..., object]) -> Project:
    """The project of a task outside a recorded run: found from the file that defines it."""
    return Project.open(source_file=_source_file(inspect.unwrap(function)))


def _key(
    project: Project, task: Any, inputs: dict[str, Any], ignore: tuple[str, ...], others: tuple[str, ...]
) -> tuple[names.CacheKey | None, Material | None, frozenset[str]]:
    """The key, what it is made of, and the processes whose configuration is part of it; no key where caching is off."""
    name = key_name(task)
    if not project.settings.cache.enabled_for(name):
        return None, None, frozenset()
    values = {parameter: value for parameter, value in inputs.items() if parameter not in ignore}
    # Objects count by their state; what they do is their class's code, which may be the project's.
    classes: set[type] = set()
    notes: dict[str, list[Note]] = {parameter: [] for parameter in values}
    digests = {
        parameter: fingerprint(value, name=parameter, classes=classes, notes=notes[parameter])
        for parameter, value in values.items()
    }
    code = code_fingerprint(task.fn, classes=classes)
    if code.imports_by_name:
        given = (dict(values), project.settings.config_part(name))
        code = code_fingerprint(task.fn, classes=classes, texts=lazy_imports.texts_in(given, 6))
    if code.unresolved:
        raise FingerprintError(
            f"{code.unresolved[0]} imports a module by a name that stands neither in the code nor in the arguments, so "
            "a change of that module would be missed; name it where it is called, or give the task NO_CACHE"
        )
    # A hit skips the tasks that it calls, so what is configured for them counts too.
    configured = frozenset({name, *map(names.normalise, code.calls)})
    config, config_made_of = _config_digest(project, name, configured)
    key = names.CacheKey(name, fingerprint([digests, list(others)]), config, code.digest)
    return key, Material(values, digests, notes, others, config_made_of, code), configured


def _config_digest(project: Project, name: str, configured: frozenset[str]) -> tuple[str, Mapping[str, str]]:
    """The digest of what is configured for a process and those it calls, and its parts; made anew for other data."""
    settings = project.settings
    data = None if settings.data_path is None else _data_digest(settings.data_path)
    by_name = _config_digests.setdefault(project, {})
    known = by_name.get((name, configured))
    if known is None or known[0] != data:
        part = dict(settings.config_part(name))
        entering: dict[str, Any] = {"process": part, "data": data}
        calls = {other: settings.config_part(other)["process"] for other in sorted(configured - {name})}
        if called := {other: process for other, process in calls.items() if process}:
            entering["calls"] = called
            part = {**part, "process": {**part["process"], "calls": called}}
        shown = "" if settings.data_path is None else os.path.relpath(settings.data_path, settings.root)
        known = by_name[name, configured] = data, fingerprint(entering), config_parts(part, data, shown)
    return known[1], known[2]


def _data_digest(path: Path) -> str:
    try:
        return data_digest(path)
    except FileNotFoundError:
        if path.exists():
            raise  # something in a folder has just gone
        # A flow may fetch its data first. Absent is a state of its own, so nothing stale can hit.
        if _first("absent", str(path)):
            _logger.warning(
                "%s (data.path) is not there: results do not depend on it until it is. If no task makes it, correct "
                "the path in the configuration.",
                path,
            )
        return "absent"


def _serializable(task: Any) -> bool:
    """Whether the transaction that is about to begin takes locks: its own level counts, else its parent's."""
    level, parent = getattr(task.cache_policy, "isolation_level", None), get_transaction()
    if level is None and parent is not None:
        level = parent.isolation_level
    return level is not None and IsolationLevel(level) == IsolationLevel.SERIALIZABLE


def _warn_unhashable(task: str, error: FingerprintError) -> None:
    if not error.path:
        if _first("unhashable", task):
            _logger.warning("%s runs uncached: %s", task, error)
        return
    parameter = error.path.split(".")[0].split("[")[0]
    if _first("unhashable", task, parameter):
        _logger.warning(
            "%s runs uncached: its parameter %r cannot be fingerprinted (%s at %s). Leave it out of the key with "
            "@task(ignore=[%r]) or EXPOPS - %r if the result does not depend on it, or pass plain data.",
            task,
            parameter,
            error.type_name or "unknown type",
            error.path,
            parameter,
            parameter,
        )


def _notice_without_inputs(task: Any, inputs: dict[str, Any]) -> None:
    if not inputs and task.cache_expiration is None and _first("no inputs", task.name):
        _logger.info(
            "%s has no inputs, so it is executed once and then taken from the cache until its code or configuration "
            "changes. If it reads something that changes, give it cache_policy=NO_CACHE or a ttl (cache_expiration=).",
            task.name,
        )


def _first(*what: str) -> bool:
    if what in _said:
        return False
    _said.add(what)
    return True


@lru_cache(maxsize=4096)
def _source_file(function: Callable[..., object]) -> str | None:
    try:
        return inspect.getsourcefile(function)
    except TypeError:
        return None
