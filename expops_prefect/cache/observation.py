"""Watches a task's body while it runs, and decides whether its result is cached.

What the body read becomes part of its record. What it did beside computing keeps the result out of
the cache, unless the task's decorator or the configuration asks for it to be cached.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import orjson

from expops_prefect._internal.diagnostics import degrade, first
from expops_prefect._internal.process import of_process
from expops_prefect.cache import decision, reasons, results
from expops_prefect.cache.argument_changes import Given
from expops_prefect.cache.context import CacheContext, Observed, computing
from expops_prefect.cache.files.produced import Declared, produced, worth_declaring
from expops_prefect.cache.files.tree import NotStorableError
from expops_prefect.cache.given_back import given_back
from expops_prefect.cache.session import session
from expops_prefect.effects import dependencies, generators, shown, surroundings
from expops_prefect.effects.ambient import State
from expops_prefect.effects.dependencies import Dependency, Named
from expops_prefect.effects.seeding import derived_seed, seeded
from expops_prefect.effects.watch import note_file, watching
from expops_prefect.fingerprint.files import counting
from expops_prefect.fingerprint.guards import Guards
from expops_prefect.models.effects import CodeEffects, Effect

if TYPE_CHECKING:
    from expops_prefect.cache.reasons import Reason
    from expops_prefect.project import Project

_logger = logging.getLogger("prefect.expops")
_MOST_EFFECTS: Final = 20


@dataclass(slots=True)
class Before:
    """The state of a task run before its body runs, to compare with afterwards.

    Attributes:
        code: the effects found in its code.
        requested: its decorator or the configuration asks for it to be cached, whatever it does.
        function: the code object that calls of its function share.
        guards: the objects that its code refers to.
        given: the arguments that can be changed in place; ``None`` if they are not checked again.
        parts: the parts of its code's fingerprint.
        ambient: the state of the process that affects computing, when the key was computed.
        plain_key: the key that Prefect's own policy gives it; ``None`` if its result would not be kept.
        store: the attributes of Prefect's result store before the project's storages replaced them.
        outputs: the files and folders that its task declares to write.
        assets: the assets that it materializes.
    """

    code: CodeEffects
    requested: bool
    function: object = None
    guards: Guards | None = None
    given: Given | None = None
    parts: Collection[str] | None = None
    ambient: State | None = None
    plain_key: str | None = None
    store: dict[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    assets: tuple[str, ...] = ()


class Observation:
    """The watch over one body.

    Args:
        cache_context: the context of its task run.
        before: the state before it runs.
    """

    def __init__(self, cache_context: CacheContext, before: Before) -> None:
        self._context = cache_context
        self._before = before
        self._stack = ExitStack()
        self._watch: watching | None = None
        self._named = Named((), ())
        self._around: surroundings.Snapshot = {}
        self._returned = False
        self._began = 0

    def begin(self) -> None:
        """Start watching: the body is about to run."""
        cache_context = self._context
        seed = cache_context.project.settings.random_seed
        try:
            self._named = dependencies.named(self._before.code)
            self._around = surroundings.snapshot(self._before.parts, self._before.ambient)
            if seed is not None:
                self._stack.enter_context(seeded(derived_seed(seed, cache_context.key)))
            self._began = time.time_ns()
            self._watch = self._stack.enter_context(watching(self._before.code, code=self._before.function))
        except Exception as error:  # noqa: BLE001 - must not fail the task; it is executed every time
            degrade("bodies not watched", repr(error), key=cache_context.label, about=cache_context.label)

    def finish(self, result: Any, transaction: Any, context: Any) -> None:
        """Decide, once the body has returned, whether its result is cached or left to Prefect."""
        self._stop()
        self._returned = True
        try:
            self._judge(result, transaction, context)
        except Exception as error:  # noqa: BLE001 - a user's own objects may raise anything; the task is done
            self._context.refuse(
                reasons.unsettled(f"what its body did could not be determined ({type(error).__name__})")
            )
            degrade("bodies not watched", repr(error), key=self._context.label, about=self._context.label)

    def _judge(self, result: Any, transaction: Any, context: Any) -> None:
        cache_context, before = self._context, self._before
        cache_context.before = None
        seen = None if self._watch is None else self._watch.seen()
        if seen is None:
            cache_context.refuse(reasons.unsettled("its body could not be watched"))
            return
        project, declared = cache_context.project, Declared(before.outputs, self._began)
        try:
            made = produced(result, declared, seen, project.settings.root, project.data_rules())
        except (NotStorableError, OSError) as error:
            self._refuse(reasons.unsettled(str(error)), transaction, context)
            degrade("results not cached", str(error), key=str(error), about=cache_context.label)
            return
        in_code = decision.certain(before.code)
        found = (*made.effects, *self._changed_arguments(), *self._left_behind(result), *self._given_back(result))
        effects = decision.forbidding(project, found)
        # Traffic over a connection that another call opened is not observed.
        earlier = None if effects else shown.earlier(before.function)
        told = (*decision.forbidding(project, in_code), *effects, *filter(None, [earlier]))
        dumped = _dump(told[:_MOST_EFFECTS])
        seeds = before.code.seeds and cache_context.project.settings.random_seed is None
        left = generators.left_behind(before.code.seeds) if seeds else ""
        proven = before.code.resolved and not (
            in_code or made.effects or made.reads or before.code.environment or before.code.variables
        )
        cache_context.observed = Observed(self._named, made.reads, proven, dumped, left, made.paths)
        if before.requested:
            return
        if effects:
            self._refuse(reasons.effect(effects[0], more=len(effects) - 1), transaction, context)
            only_files = all(effect.kind == "file write" for effect in effects)
            outputs = worth_declaring(seen.writes) if only_files else []
            tell_once(cache_context.task, effects[0], context.task, outputs)
        elif earlier is not None:
            self._refuse(reasons.earlier(earlier), transaction, context)
        elif before.assets and not made.paths:
            why = reasons.materializes(before.assets[0])
            self._refuse(why, transaction, context)
            tell_of_assets(cache_context.task, why)

    def _refuse(self, why: Reason, transaction: Any, context: Any) -> None:
        """Leave a result to Prefect, and withdraw an older one under its key."""
        self._withdraw()
        self._context.refuse(why)
        if not self._before.requested:
            self._leave_to_prefect(transaction, context)

    def _withdraw(self) -> None:
        if self._context.why not in (reasons.ABSENT, reasons.ELSEWHERE):
            results.withdraw(self._context.project, self._context.key, self._context)

    def close(self) -> None:
        """Stop watching. If the body failed, its effects still withdraw an older result under its key."""
        self._stop()
        if not self._returned and self._watch is not None and not self._before.requested:
            self._returned = True
            if decision.forbidding(self._context.project, self._watch.seen().effects):
                self._withdraw()

    def _stop(self) -> None:
        with suppress(Exception):
            self._stack.close()

    def _changed_arguments(self) -> tuple[Effect, ...]:
        given, cache_context = self._before.given, self._context
        if given is None:
            return ()
        with counting(cache_context.project.data_rules()):
            found = given.changes(cache_context.project.settings.root)
        cache_context.tell_unstable({name: type(given.values[name]) for name in found.unstable})
        return tuple(Effect("state", f"{name} (an argument that it changes in place)") for name in found.changed)

    def _left_behind(self, result: Any) -> tuple[Effect, ...]:
        return tuple(Effect("state", what) for what in surroundings.changed(self._around, result))

    def _given_back(self, result: Any) -> tuple[Effect, ...]:
        guards, given = self._before.guards, self._before.given
        known = (*(() if given is None else given.values.items()), *(() if guards is None else guards.values()))
        return tuple(Effect("identity", name) for name in given_back(result, known))

    def _leave_to_prefect(self, transaction: Any, context: Any) -> None:
        """Have Prefect treat the result as if this package were not there."""
        before = self._before
        for name, value in before.store.items():
            setattr(context.result_store, name, value)
        kept = before.plain_key is not None
        context.persist_result = kept
        if transaction is not None:
            transaction.write_on_commit = kept
            if before.plain_key is not None:
                transaction.key = before.plain_key
        self._context.release_lease()
        session().committed(self._context)


def inherit(found: tuple[Dependency, ...], files: Iterable[str] = ()) -> None:
    """Add the dependencies and the files of a hit to what the bodies did in which it happened."""
    for cache_context in computing.get():
        cache_context.inherited += found
    for path in files:
        note_file(path)


def settled(cache_context: CacheContext) -> tuple[Dependency, ...]:
    """The dependencies of the result of a body that has run.

    Raises:
        ChangedMeanwhileError: one of them was changed since.
    """
    project = cache_context.project
    rules = replace(project.data_rules(), folders=list(cache_context.data_folders))
    observed = cache_context.observed
    named, reads = (Named((), ()), ()) if observed is None else (observed.named, observed.reads)
    found = dependencies.taken(named, reads, project.settings.root, rules)
    known = {(item.kind, item.name) for item in found}
    return (*found, *(item for item in cache_context.inherited if (item.kind, item.name) not in known))


def tell_once(name: str, effect: Effect, task: Any, outputs: Sequence[str] = ()) -> None:
    """Log once that a task is executed every time, why, and how to have it cached."""
    if first("effect", f"{name} {effect.kind} {effect.call} {effect.line}"):
        decorated, declares = decision.is_decorated(task), hasattr(task, "outputs")
        how = reasons.how_to_cache(name, decorated=decorated, declares=declares, outputs=outputs)
        _logger.info("%s: %s; %s", name, reasons.effect(effect).text, how)


def tell_of_assets(name: str, why: Reason) -> None:
    """Log once that a task is executed every time because it materializes assets."""
    if first("assets", name):
        _logger.info(
            "%s: %s; to cache it with its files, have it return them as DataFile, or declare them with outputs=[…]",
            name,
            why.text,
        )


class _Writers(dict[str, Effect]):
    """The tasks of this process that write files and nothing else, by name, until it is logged."""


def tell_with_files(name: str, effect: Effect) -> None:
    """Have it logged, once the next body of a task has run, that it is executed every time because it writes files.

    What it writes is known only then.
    """
    if first("writes files", name):
        of_process(_Writers)[name] = effect


@contextmanager
def telling_of_files(task: Any, name_of: Callable[[Any], str]) -> Iterator[None]:
    """Observe the body of a task that is executed every time, if it is to be logged which files it writes.

    Args:
        task: the task.
        name_of: returns its name in the configuration.
    """
    waiting = of_process(_Writers)
    name = name_of(task) if waiting else ""
    effect = waiting.pop(name, None)
    if effect is None:
        yield
        return
    watch = watching()
    try:
        with watch:
            yield
    finally:
        try:
            tell_once(name, effect, task, worth_declaring(watch.seen().writes))
        except Exception as error:  # noqa: BLE001 - a notice
            degrade("bodies not watched", repr(error), key=name, about=name)


def tell_of_request(project: Project, name: str, effect: Effect, task: Any) -> None:
    """Say once, when its result is stored, that a task is cached as its author asked although it does more."""
    settings = project.settings.cache
    if settings.ttl_of(name) is None and first("effect", f"{name} told"):
        _logger.info(
            "%s: it is cached as requested, although %s. Give it %sprefect.cache.processes.%s.ttl, so that its result "
            "expires",
            name,
            reasons.effect(effect).text.removesuffix(reasons.EVERY_TIME),
            "a cache_expiration, or " if decision.is_decorated(task) else "",
            name,
        )


def _dump(effects: tuple[Effect, ...]) -> str:
    if not effects:
        return ""
    unique = dict.fromkeys((effect.kind, effect.call, effect.file, effect.line) for effect in effects)
    return orjson.dumps([list(entry) for entry in unique]).decode()
