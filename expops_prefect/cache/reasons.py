"""Why a task run is executed instead of taking its result from the cache, in a few words.

:mod:`expops_prefect.explain` later finds what differs from earlier results; nothing is read or computed
for that here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from expops_prefect._internal.formatting import moment
from expops_prefect._internal.redaction import masked_message
from expops_prefect.cache.results import record_key
from expops_prefect.errors import FingerprintError, FormatError
from expops_prefect.models.effects import Effect
from expops_prefect.models.misses import MissKind
from expops_prefect.models.names import CacheKey
from expops_prefect.project import Project
from expops_prefect.record.cache_records import KEPT, CacheRecord, expiry
from expops_prefect.stores.kv.base import JSON


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a task run is executed.

    Attributes:
        kind: for programs.
        text: for people, one line.
    """

    kind: MissKind
    text: str

    @property
    def is_usual(self) -> bool:
        """Whether it needs no explanation: nothing was computed yet, or the task is executed every time."""
        return self.kind in _USUAL_KINDS or self.text in _USUAL

    def fields(self) -> dict[str, JSON]:
        """The fields of the call's row."""
        return {"miss": self.kind, "miss_reason": self.text}


_FEW_OUTPUTS: Final = 5
ABSENT: Final = Reason("absent", "no result yet for these inputs, configuration and code")
NOT_READY: Final = Reason("not ready", "it did not start: a task that it depends on failed")
TRANSACTION_HOOKS: Final = Reason("policy", "it has an on_commit or on_rollback hook, so it is executed every time")
GENERATOR: Final = Reason("generator", "generator tasks are never cached")
SAME_RUN: Final = Reason("same run", "this run has computed it, but what it calls may return something else by now")
UNWATCHED: Final = Reason("absent", "its earlier result does not record which files it depends on")
OTHER_CHECKOUT: Final = Reason("dependency", "its result contains paths of another checkout of the project")
REFRESHED: Final = Reason("refreshed", "the cache is refreshed (refresh_cache)")
ELSEWHERE: Final = Reason("absent", "no result in the storage that the task or its flow names")

NO_HITS: Final = {
    "none": "it returns None, so it is executed every time (prefect.cache.none_results)",
    "state": "it returns a Prefect state, so it is executed every time",
    "failed": "it failed the last time",
    "changed": "its result was changed in place before its transaction ended",
    "effect": "it does more than compute",
    "meanwhile": "something that it read was changed while it ran",
}
"""Why a stored result is not a hit, by the word in its record."""

_USUAL_KINDS: Final = frozenset({"off", "policy", "generator", "effect", "not asked for"})
_USUAL: Final = frozenset({ABSENT.text, ELSEWHERE.text, *(NO_HITS[name] for name in ("none", "state", "effect"))})


def effect(found: Effect, *, more: int = 0) -> Reason:
    """The task does more than compute.

    Args:
        found: the most important effect.
        more: how many others there are.
    """
    where = f" ({Path(found.file).name}:{found.line})" if found.file else ""
    others = f" and {more} more" if more > 0 else ""
    return Reason("effect", f"{_DOES[found.kind]}: {found.call}{where}{others}{EVERY_TIME}")


def materializes(asset: str) -> Reason:
    """The task materializes an asset, and no file of it is part of its result."""
    return Reason("effect", f"it materializes {masked_message(asset)}{EVERY_TIME}")


def earlier(found: Effect) -> Reason:
    """An earlier call of its code did more than compute, and this one may use what that call opened."""
    where = f" ({Path(found.file).name}:{found.line})" if found.file else ""
    said = f"{_DOES[found.kind]}: {found.call}{where}, which its code did in an earlier call of this process"
    return Reason("effect", said + EVERY_TIME)


def of_record(effects: str) -> Reason:
    """The effects of its body when a result was computed; ``effects`` is the JSON text of a record."""
    try:
        kind, call, file, line = orjson.loads(effects)[0]
        return effect(Effect(kind, call, file, line))
    except (ValueError, TypeError, KeyError, IndexError):
        return damaged("its record of what its body did cannot be read")


def how_to_cache(name: str, *, decorated: bool, declares: bool = False, outputs: Sequence[str] = ()) -> str:
    """How to have a task cached although it does more than compute.

    Args:
        name: its name in the configuration.
        decorated: whether it has a decorator that its author can change.
        declares: whether its decorator takes ``outputs``.
        outputs: the files that it writes, if it does nothing else.
    """
    if outputs and decorated:
        listed = ", ".join([*map(json.dumps, outputs[:_FEW_OUTPUTS]), *(["…"] if len(outputs) > _FEW_OUTPUTS else [])])
        declaring = f", or declare them: outputs=[{listed}]" if declares else f": {listed}"
        return f"to cache it with its files, have it return them as DataFile{declaring}"
    decorator = "give it cache_policy=EXPOPS and a cache_expiration, or " if decorated else ""
    return f"to cache it anyway, {decorator}set prefect.cache.processes.{name}.ttl"


def dependency(what: str) -> Reason:
    """Something that its result depends on has changed."""
    return Reason("dependency", what)


def unsettled(what: str) -> Reason:
    """Something that it read was changed while it ran."""
    return Reason("not kept", f"{what}, so its result is not kept")


def not_asked_for(name: str) -> Reason:
    """The configuration caches only tasks that ask for it."""
    said = f"prefect.cache.default is none, and nothing asks for {name} to be cached"
    return Reason("not asked for", said)


EVERY_TIME: Final = ", so it is executed every time"
_DOES: Final = {
    "clock": "it reads the clock",
    "random": "it draws random numbers",
    "environment": "it asks about the machine or the process",
    "network": "it uses the network",
    "database": "it uses a database",
    "process": "it starts a process",
    "file read": "it reads files that cannot be determined",
    "file write": "it writes files",
    "state": "it changes objects that it did not create",
    "identity": "it returns an object that others hold too",
    "prefect": "it acts on Prefect",
    "lazy data": "it returns data that is loaded later",
    "person": "it asks for user input",
    "unknown": "it is unknown what its code does",
}


def damaged(what: str) -> Reason:
    """The stored result is not what was written."""
    return Reason("damaged", f"its cached result is damaged: {what}")


def unreadable(what: str) -> Reason:
    """The stores did not answer."""
    return Reason("unreadable", f"the cache could not be read: {what}")


def without_digest(what: str) -> Reason:
    """The key cannot be computed, for example because the data file cannot be read."""
    return Reason("unreadable", f"its key could not be computed: {what}")


def of_value(project: Project, key: str, value: JSON | None) -> Reason:
    """Why the value under a key in the KV store is not a hit.

    Args:
        project: the project.
        key: the transaction key.
        value: the record's JSON form; ``None`` if there is none.
    """
    if value is None:
        return ABSENT
    if not project.signatures.valid(record_key(key), value):
        return damaged("its record is not signed with a key of prefect.cache.signing_key_file")
    try:
        record = CacheRecord.load(value)
        if record.status == KEPT:
            return Reason("not kept", NO_HITS.get(record.no_hit, "its result is of a kind that is never a hit"))
        parsed = CacheKey.parse(key)
        expires = expiry(record, None if parsed is None else project.settings.cache.ttl_of(parsed.task))
    except (FormatError, TypeError) as error:
        return damaged(f"its record is {error}")
    if expires is not None:
        return Reason("expired", f"its cached result expired at {moment(expires)}")
    return damaged("its record is incomplete")


def switched_off(project: Project, name: str) -> Reason:
    """The configuration switches caching off, for this process or for all tasks."""
    own = project.settings.cache.says_enabled(name)
    where = "prefect.cache.enabled" if own is None else f"prefect.cache.processes.{name}.enabled"
    return Reason("off", f"caching is switched off: {where} is false in project_config.yaml")


def unhashable(error: FingerprintError) -> Reason:
    """A parameter cannot be fingerprinted."""
    if not error.path:
        return Reason("unhashable", f"cannot be fingerprinted: {error}")
    if error.unread:
        return Reason("unhashable", f"the content of {error.path} is part of the key, and {error.unread}")
    return Reason("unhashable", f"cannot be fingerprinted: {error.path} ({error.type_name})")


def without_key(task: Any) -> Reason:
    """Why we compute no key for a task: caching is switched off, or it has its own policy."""
    from prefect.cache_policies import NO_CACHE
    from prefect.settings import get_current_settings

    settings = get_current_settings().tasks
    if task.isgenerator:
        return GENERATOR
    if getattr(task, "_user_persist_result", None) is False:
        return _off("persist_result=False")
    if settings.disable_caching:
        return _off("PREFECT_TASKS_DISABLE_CACHING")
    if task.cache_policy == NO_CACHE:
        left_open = getattr(task, "_policy_left_open", False) and settings.default_no_cache
        return _off("PREFECT_TASKS_DEFAULT_NO_CACHE" if left_open else "cache_policy=NO_CACHE")
    if task.result_storage_key is not None:
        return Reason("policy", "it has its own result_storage_key, under which results of other runs are not found")
    if task.cache_policy is None:
        return _off("cache_policy=None")
    what = "cache_key_fn" if task.cache_key_fn is not None else f"cache policy, {type(task.cache_policy).__name__}"
    return Reason("policy", f"it has its own {what}, which found no result")


def plain(task: Any) -> Reason:
    """Why a task with Prefect's own decorator was executed: only Prefect looks for its result."""
    from prefect.utilities.annotations import NotSet

    reason = without_key(task)
    if reason.kind == "policy" and getattr(task, "_user_cache_policy", None) is NotSet and task.cache_key_fn is None:
        return Reason("policy", "made by Prefect's own decorator, so only Prefect caches it")
    return reason


def not_looked(task: Any) -> Reason:
    """Why a task with our key was executed without a lookup in our storage."""
    from prefect.settings import get_current_settings

    refresh = task.refresh_cache
    if refresh is None:
        refresh = get_current_settings().tasks.refresh_cache
    return REFRESHED if refresh else ELSEWHERE


def _off(where: str) -> Reason:
    return Reason("off", f"caching is switched off: {where}")
