"""Why a task run is executed rather than given a result of the cache: noted where it happens, in a few words.

What differs from earlier results is found later, by :mod:`expops_prefect.explain`; here
nothing is read or computed for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from expops_prefect._internal.formatting import moment
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
        """Whether it goes without saying: nothing was computed yet, or the task is executed every time."""
        return self.kind in _USUAL_KINDS or self.text in _USUAL

    def fields(self) -> dict[str, JSON]:
        """As it stands in the row of the call."""
        return {"miss": self.kind, "miss_reason": self.text}


ABSENT: Final = Reason("absent", "no result yet for these inputs, configuration and code")
NOT_READY: Final = Reason("not ready", "it never began: what it waits for failed")
TRANSACTION_HOOKS: Final = Reason("policy", "it has an on_commit or on_rollback hook, so it is executed every time")
GENERATOR: Final = Reason("generator", "generator tasks are never cached")
SAME_RUN: Final = Reason("same run", "this run computed it, and what it calls may give something else by now")
UNWATCHED: Final = Reason("absent", "its earlier result does not say which files it was read from")
OTHER_CHECKOUT: Final = Reason("dependency", "its result names paths of another checkout of the project")
REFRESHED: Final = Reason("refreshed", "the cache is refreshed (refresh_cache)")
ELSEWHERE: Final = Reason("absent", "no result in the storage that the task or its flow names")

NO_HITS: Final = {
    "none": "it returns None, so it is executed every time (prefect.cache.none_results)",
    "state": "it returns a state of Prefect's, so it is executed every time",
    "failed": "it failed the last time",
    "changed": "its result was changed in place before its transaction ended",
    "effect": "it does more than compute",
    "meanwhile": "what it read was changed while it ran",
}
"""Why a result that is kept is no hit; the words that stand in its record."""

_USUAL_KINDS: Final = frozenset({"off", "policy", "generator", "effect", "not asked for"})
_USUAL: Final = frozenset({ABSENT.text, ELSEWHERE.text, *(NO_HITS[name] for name in ("none", "state", "effect"))})


def effect(found: Effect, *, more: int = 0) -> Reason:
    """It does more than compute.

    Args:
        found: the most telling effect.
        more: how many others there are.
    """
    where = f" ({Path(found.file).name}:{found.line})" if found.file else ""
    others = f" and {more} more" if more > 0 else ""
    return Reason("effect", f"{_DOES[found.kind]}: {found.call}{where}{others}{EVERY_TIME}")


def earlier(found: Effect) -> Reason:
    """Another call of its code did more than compute, and this one may go on with what that has opened."""
    where = f" ({Path(found.file).name}:{found.line})" if found.file else ""
    said = f"{_DOES[found.kind]}: {found.call}{where}, which its code did in an earlier call of this process"
    return Reason("effect", said + EVERY_TIME)


def of_record(effects: str) -> Reason:
    """What its body was seen to do when a result was computed; the JSON text of a record."""
    try:
        kind, call, file, line = orjson.loads(effects)[0]
        return effect(Effect(kind, call, file, line))
    except (ValueError, TypeError, KeyError, IndexError):
        return damaged("its record does not say legibly what its body did")


def how_to_cache(name: str, *, decorated: bool) -> str:
    """What to write to have a task cached although it does more than compute.

    Args:
        name: its name in the configuration.
        decorated: whether it has a decorator that can be changed.
    """
    decorator = "give it cache_policy=EXPOPS and a cache_expiration, or " if decorated else ""
    return f"to cache it all the same, {decorator}set prefect.cache.processes.{name}.ttl"


def dependency(what: str) -> Reason:
    """Something that its result was read from is not as it was."""
    return Reason("dependency", what)


def unsettled(what: str) -> Reason:
    """Something that it read was changed while it ran."""
    return Reason("not kept", f"{what}, so its result is not kept")


def not_asked_for(name: str) -> Reason:
    """The configuration has only those tasks cached that ask for it."""
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
    "file read": "it reads files that cannot be told",
    "file write": "it writes files",
    "state": "it changes what it did not make",
    "identity": "it gives back an object that others have too",
    "prefect": "it acts on Prefect",
    "lazy data": "it hands on data that is loaded later",
    "person": "it asks a person",
    "unknown": "nobody knows what its code does",
}


def damaged(what: str) -> Reason:
    """A result was found that is not what was written."""
    return Reason("damaged", f"its cached result is damaged: {what}")


def unreadable(what: str) -> Reason:
    """The stores did not answer."""
    return Reason("unreadable", f"the cache could not be read: {what}")


def without_digest(what: str) -> Reason:
    """The data file cannot be read, for instance."""
    return Reason("unreadable", f"its key could not be computed: {what}")


def of_value(project: Project, key: str, value: JSON | None) -> Reason:
    """Why what stands in the KV store under a key is no hit.

    Args:
        project: the project.
        key: the transaction key.
        value: the record's JSON form; ``None`` for none.
    """
    if value is None:
        return ABSENT
    if not project.signatures.valid(record_key(key), value):
        return damaged("its record is not signed with a key of prefect.cache.signing_key_file")
    try:
        record = CacheRecord.load(value)
        if record.status == KEPT:
            return Reason("not kept", NO_HITS.get(record.no_hit, "its result is of a kind that is executed every time"))
        parsed = CacheKey.parse(key)
        expires = expiry(record, None if parsed is None else project.settings.cache.ttl_of(parsed.task))
    except (FormatError, TypeError) as error:
        return damaged(f"its record is {error}")
    if expires is not None:
        return Reason("expired", f"its cached result expired at {moment(expires)}")
    return damaged("its record is incomplete")


def switched_off(project: Project, name: str) -> Reason:
    """The configuration switches caching off: for this process, else for all tasks."""
    own = project.settings.cache.says_enabled(name)
    where = "prefect.cache.enabled" if own is None else f"prefect.cache.processes.{name}.enabled"
    return Reason("off", f"caching is switched off: {where} is false in project_config.yaml")


def unhashable(error: FingerprintError) -> Reason:
    """A parameter cannot be fingerprinted."""
    if not error.path:
        return Reason("unhashable", f"cannot be fingerprinted: {error}")
    if error.unread:
        return Reason("unhashable", f"the content of {error.path} counts, and {error.unread}")
    return Reason("unhashable", f"cannot be fingerprinted: {error.path} ({error.type_name})")


def without_key(task: Any) -> Reason:
    """Why a task has no key of ours: caching is switched off, or it has a policy of its own."""
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
        return Reason("policy", "it has a result_storage_key of its own, which another run's results never satisfy")
    if task.cache_policy is None:
        return _off("cache_policy=None")
    what = "cache_key_fn" if task.cache_key_fn is not None else f"cache policy, {type(task.cache_policy).__name__}"
    return Reason("policy", f"it has its own {what}, which found no result")


def plain(task: Any) -> Reason:
    """Why a task of Prefect's own decorator was executed: only Prefect looks for its result."""
    from prefect.utilities.annotations import NotSet

    reason = without_key(task)
    if reason.kind == "policy" and getattr(task, "_user_cache_policy", None) is NotSet and task.cache_key_fn is None:
        return Reason("policy", "made by Prefect's own decorator, so only Prefect caches it")
    return reason


def not_looked(task: Any) -> Reason:
    """Why a task with a key of ours was executed although our storage was not asked."""
    from prefect.settings import get_current_settings

    refresh = task.refresh_cache
    if refresh is None:
        refresh = get_current_settings().tasks.refresh_cache
    return REFRESHED if refresh else ELSEWHERE


def _off(where: str) -> Reason:
    return Reason("off", f"caching is switched off: {where}")
