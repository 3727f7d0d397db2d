"""Computes a task's key, and installs our storages, because Prefect asks for the key first.

Prefect swallows exceptions in a policy and leaves the task uncached. Everything that can go wrong
here is therefore logged here, once, with what to do.
"""

from __future__ import annotations

import inspect
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from prefect.context import FlowRunContext
from prefect.futures import PrefectFutureList
from prefect.transactions import IsolationLevel, get_transaction

from expops_prefect import run_context
from expops_prefect._internal.diagnostics import degrade, first
from expops_prefect.cache import explicit_storage, reasons, results, retries
from expops_prefect.cache.argument_changes import Given
from expops_prefect.cache.blocks import Blocks
from expops_prefect.cache.context import CacheContext, uses_configuration
from expops_prefect.cache.decision import (
    Decision,
    certain,
    decide,
    forbidding,
    is_decorated,
    is_left_open,
    persists,
    plain_policy,
)
from expops_prefect.cache.files.declared import assets, formatted
from expops_prefect.cache.key_components import KeyComponents, config_parts
from expops_prefect.cache.locking import single_flight
from expops_prefect.cache.locking.lock_manager import ExpOpsLockManager
from expops_prefect.cache.observation import Before, tell_of_assets, tell_of_request, tell_once, tell_with_files
from expops_prefect.cache.session import session
from expops_prefect.effects import ambient, shown
from expops_prefect.effects.code.analysis import code_effects
from expops_prefect.effects.code.held import with_arguments
from expops_prefect.errors import ConfigurationError, ExpOpsPrefectError, FingerprintError
from expops_prefect.fingerprint import lazy_imports
from expops_prefect.fingerprint.canonical import Note
from expops_prefect.fingerprint.code import code_fingerprint
from expops_prefect.fingerprint.files import counting, data_digest
from expops_prefect.fingerprint.sharing import Arguments
from expops_prefect.fingerprint.values import fingerprint, register_fingerprint
from expops_prefect.models import names
from expops_prefect.models.effects import CodeEffects
from expops_prefect.project import Project

if TYPE_CHECKING:
    from prefect.context import TaskRunContext

_logger = logging.getLogger("prefect.expops")
_HOST: Final = socket.gethostname()
_STARTED: Final = time.time_ns()
_Configured: TypeAlias = tuple[str, frozenset[str]]
_ConfigDigest: TypeAlias = tuple[str | None, str, Mapping[str, str]]


class _ConfigDigests(dict[_Configured, _ConfigDigest]):
    """By process and the processes it calls: the digests of the data file and the configuration, and its parts."""

    def __init__(self, _: Project) -> None:
        super().__init__()


# What map returned, with its futures resolved: a list, although its class is an iterator.
register_fingerprint(PrefectFutureList, list)  # type: ignore[type-abstract]


def prepare(
    context: TaskRunContext,
    inputs: dict[str, Any],
    *,
    ignore: tuple[str, ...],
    others: tuple[str, ...] = (),
    plain: Callable[[], str | None] = lambda: None,
) -> str | None:
    """Compute a task run's key and set our storages on its result store.

    Args:
        context: Prefect's context of the task run.
        inputs: the arguments by parameter.
        ignore: the parameters that are left out of the key.
        others: the keys of other policies that enter this one.
        plain: computes the key that the task has if this package does not cache it.
    """
    task = context.task
    if task.isgenerator:
        return plain()  # Prefect always executes generators; they are only recorded.
    earlier, made = session().of_task_run(context.task_run.id), None
    if earlier is not None:
        earlier.release_lease()  # A retry takes a new lease; its key may differ.
        made = earlier.made_ahead(inputs)
    key = _prepared(context, inputs, ignore=ignore, others=others, plain=plain, made=made)
    return plain() if key is None else key


def _prepared(
    context: TaskRunContext,
    inputs: dict[str, Any],
    *,
    ignore: tuple[str, ...],
    others: tuple[str, ...],
    plain: Callable[[], str | None],
    made: tuple[_Made, tuple[str, ...]] | None,
) -> str | None:
    task = context.task
    try:
        run = run_context.run_of(task)
        project = (run_context.project_around(task) or project_of_task(task.fn)) if run is None else run.project
    except ConfigurationError as error:
        if first("configuration", str(error)):
            _logger.error("%s; tasks run uncached", error)
        return None
    name = key_name(task)
    if not project.settings.cache.enabled_for(name):
        if run is not None:
            run.uncached(context, reasons.switched_off(project, name))
        return None
    try:
        if made is not None:
            made_of: _Made | Decision = made[0]
            folders = made[1]
        else:
            with counting(project.data_rules()) as rules:
                made_of = _made(project, task, name, inputs, (*ignore, *getattr(task, "ignore", ())), others)
            folders = tuple(rules.folders or ())
    except FingerprintError as error:
        _warn_unhashable(task, error)
        if run is not None:
            run.uncached(context, reasons.unhashable(error))
        return None
    except Exception as error:  # noqa: BLE001 - the edge to Prefect, which would not say why the task is uncached
        said = str(error) if isinstance(error, (ExpOpsPrefectError, OSError)) else repr(error)
        degrade("keys not computed", f"{said}; it runs uncached", key=task.name, about=task.name)
        if run is not None:
            run.uncached(context, reasons.without_digest(said))
        return None
    if isinstance(made_of, Decision):
        if run is not None and made_of.why_not is not None:
            run.uncached(context, made_of.why_not)
        return None
    key, components, configured = made_of.key, made_of.components, made_of.configured
    uses_configuration(configured)
    retry_name = retries.name_for(context, inputs)
    before = retries.completed_before(project, context, retry_name)
    changed, key = before not in (None, key), before or key
    cache_context = CacheContext.of(project, key, context.task_run, nested=get_transaction() is not None)
    cache_context.configured, cache_context.retry_name = configured, retry_name
    cache_context.made, cache_context.inputs = (made_of, folders), inputs
    # If it is executed nevertheless, its result does not belong to this key.
    cache_context.unkeyed = changed
    store = context.result_store
    surrounded = getattr(task, run_context.SURROUNDED_ATTRIBUTE, False)
    if made_of.decision.watched:
        cache_context.before = _before(made_of, task, store, plain, surrounded=surrounded)
        cache_context.data_folders = folders
        found = forbidding(project, certain(made_of.effects)) if made_of.decision.requested else ()
        if found:
            cache_context.told_when_stored = partial(tell_of_request, project, name, found[0], task)
    if store.lock_manager is None and _serializable(task):
        store.lock_manager = ExpOpsLockManager(str(project.settings.root))
    if project.settings.cache.single_flight and not surrounded:
        single_flight.release_at_end(task)
    if task.result_storage is None and not explicit_storage.storage(store):
        blocks = project.part(Blocks)
        result_storage, key_storage = blocks.storages
        store.result_storage = result_storage
        if task.result_serializer is None and not explicit_storage.serializer(store):
            store.serializer = blocks.serializer
        if task.cache_policy is None or getattr(task.cache_policy, "key_storage", None) is None:
            store.metadata_storage = key_storage
        store.cache_result_in_memory = False
        cache_context.serializer = store.serializer
        cache_context.paired = store.result_storage is result_storage and store.metadata_storage is key_storage
        if cache_context.paired:
            cache_context.components = components
    context.persist_result = True
    session().add(cache_context)
    if run is not None:
        run.attach(context, cache_context)
    else:
        cache_context.computed_in = _unrecorded_run(context.task_run)
        session().forget_with(context.task_run)
    return str(key)


def plain_key(
    context: TaskRunContext, inputs: dict[str, Any], flow_parameters: dict[str, Any], more: dict[str, Any]
) -> str | None:
    """The key that a task has without this package; its persistence follows Prefect's rules from here on.

    Args:
        context: Prefect's context of the task run.
        inputs: its arguments by parameter.
        flow_parameters: those of its flow.
        more: the other keyword arguments that Prefect passes to a policy.
    """
    task = context.task
    if not is_left_open(task):
        return None
    context.persist_result = persists(task)
    policy = plain_policy(task)
    if not context.persist_result or policy is None:
        return None
    return policy.compute_key(task_ctx=context, inputs=inputs, flow_parameters=flow_parameters, **more)


def _before(made: _Made, task: Any, store: Any, plain: Callable[[], str | None], *, surrounded: bool) -> Before:
    """The state before the body runs, to compare with after it."""
    given = Given(made.components.values, made.components.digests) if surrounded else None
    guards = made.components.code.guards
    parts = made.components.code.parts
    before = Before(made.effects, made.decision.requested, made.function, guards, given, parts, made.state)
    before.outputs, before.assets = made.outputs, assets(task)
    if not made.decision.requested:
        before.plain_key = plain()
        names_of_store = ("result_storage", "metadata_storage", "serializer", "cache_result_in_memory", "lock_manager")
        before.store = {name: getattr(store, name) for name in names_of_store}
    return before


def _unrecorded_run(task_run: Any) -> str:
    """The identity of the run of a task outside a recorded run: its flow run, else this process."""
    flow = FlowRunContext.get()
    if flow is None or flow.flow_run is None:
        return f"{_HOST} {os.getpid()} {_STARTED}"
    return f"{task_run.flow_run_id} {flow.flow_run.run_count}"


def key_name(task: Any) -> str:
    """The name under which a task is cached, configured and shown: its ``process``, else its own name."""
    return names.process_name(getattr(task, "process", None) or task.name)


def project_of_task(function: Callable[..., object]) -> Project:
    """The project of a task outside a recorded run, found from the file that defines the task."""
    return Project.open(source_file=_source_file(inspect.unwrap(function)))


@dataclass(frozen=True, slots=True)
class _Made:
    """A key, and what it was made of.

    Attributes:
        key: the key.
        components: what it is made of.
        configured: the processes whose configuration is part of it.
        decision: whether and how the task run is cached.
        effects: the effects found in its code.
        function: the code object that calls of its function share.
        state: the state of the process that computing depends on.
        outputs: the files and folders that it declares to write.
    """

    key: names.CacheKey
    components: KeyComponents
    configured: frozenset[str]
    decision: Decision
    effects: CodeEffects
    function: object
    state: ambient.State
    outputs: tuple[str, ...] = ()


def _made(
    project: Project, task: Any, name: str, inputs: dict[str, Any], ignore: tuple[str, ...], others: tuple[str, ...]
) -> _Made | Decision:
    """The key of a task run, or the decision not to cache it."""
    marks, root = project.settings.cache.effects, project.settings.root
    code = code_fingerprint(task.fn, root=root, marks=marks, analyse=code_effects)
    outputs = formatted(task, inputs)
    decision = decide(project, task, name, _with_outputs(code.effects, outputs))
    if decision.why_not is not None:
        _tell(project, task, name, decision, code.effects)
        return decision
    values = {parameter: value for parameter, value in inputs.items() if parameter not in ignore}
    # Objects are hashed by their state; their class's code, which may be the project's, is hashed with the function's.
    classes: set[type] = set()
    notes: dict[str, list[Note]] = {parameter: [] for parameter in values}
    arguments = Arguments()
    digests = {
        parameter: fingerprint(
            value, name=parameter, classes=classes, notes=notes[parameter], arguments=arguments, root=root
        )
        for parameter, value in values.items()
    }
    entering: list[Any] = [digests, list(others)]
    if arguments.together:
        # Two arguments share a mutable object: a task that changes one of them changes the other.
        entering.append(fingerprint(values, name="arguments", root=root))
    if arguments.same:
        entering.append(["same", arguments.same])
    if outputs:
        entering.append(["outputs", fingerprint(outputs, name="outputs", root=root)])
    if classes:
        code = code_fingerprint(task.fn, root=root, classes=classes, marks=marks, analyse=code_effects)
    if code.imports_by_name:
        given = (dict(values), project.settings.config_part(name))
        texts = lazy_imports.texts_in(given, 6)
        code = code_fingerprint(task.fn, root=root, classes=classes, texts=texts, marks=marks, analyse=code_effects)
    if code.unresolved:
        raise FingerprintError(
            f"{code.unresolved[0]} imports a module by a name that is neither in the code nor in the arguments, so "
            "a change of that module would be missed; write the name where it is called, or "
            + ("give the task NO_CACHE" if is_decorated(task) else f"set prefect.cache.processes.{name}.enabled: false")
        )
    # Which settings count depends on the classes of the arguments, too.
    state = ambient.changed(code.parts)
    if process := {what: _digest_of(held, root) for what, held in state.items()}:
        entering.append(["process", process])
    effects = _with_outputs(with_arguments(code.effects, inputs.values(), marks), outputs)
    decision = decide(project, task, name, effects)
    _tell(project, task, name, decision, effects)
    if decision.why_not is not None:
        return decision
    # A hit skips the tasks that it calls, so their configuration is part of the key.
    configured = frozenset({name, *map(names.process_name, code.calls)})
    config, config_made_of = _config_digest(project, name, configured)
    key = names.CacheKey(name, fingerprint(entering), config, code.digest)
    function = shown.code_of(task.fn)
    if not decision.requested and (earlier := shown.earlier(function)) is not None:
        results.withdraw(project, str(key))
        return Decision(reasons.earlier(earlier), requested=False, watched=False)
    components = KeyComponents(values, digests, notes, others, config_made_of, code, root, process)
    return _Made(key, components, configured, decision, effects, function, state, outputs)


def _with_outputs(code: CodeEffects, outputs: tuple[str, ...]) -> CodeEffects:
    """The effects of code whose files are declared: what is declared is found even if its writing is not observed."""
    return replace(code, makes_files=True, hidden_writes=False) if outputs else code


def _digest_of(state: Any, root: Path) -> str:
    try:
        return fingerprint(state, root=root)
    except FingerprintError:
        return fingerprint(repr(state))


def _tell(project: Project, task: Any, name: str, decision: Decision, effects: CodeEffects) -> None:
    """Log once why a task with an effect is not cached."""
    found = forbidding(project, certain(effects))
    if decision.why_not is not None and decision.why_not.kind == "effect":
        if not found:
            tell_of_assets(name, decision.why_not)
        elif is_decorated(task) and all(effect.kind == "file write" for effect in found):
            tell_with_files(name, found[0])
        else:
            tell_once(name, found[0], task)


def _config_digest(project: Project, name: str, configured: frozenset[str]) -> tuple[str, Mapping[str, str]]:
    """The digest and the parts of the configuration of a process and those it calls; renewed when the data changes."""
    settings = project.settings
    data = None if settings.data_path is None else _data_digest(settings.data_path)
    by_name = project.part(_ConfigDigests)
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
            raise  # something in a folder was just removed
        # A flow may download its data first. "absent" is a digest of its own, so no stale result can hit.
        if first("absent", str(path)):
            _logger.warning(
                "%s (data.path) does not exist: results do not depend on it until it does. If no task creates it, "
                "correct the path in the configuration.",
                path,
            )
        return "absent"


def _serializable(task: Any) -> bool:
    """Whether the transaction that is about to begin takes locks, by its own isolation level, else its parent's."""
    level, parent = getattr(task.cache_policy, "isolation_level", None), get_transaction()
    if level is None and parent is not None:
        level = parent.isolation_level
    return level is not None and IsolationLevel(level) == IsolationLevel.SERIALIZABLE


def _warn_unhashable(task: Any, error: FingerprintError) -> None:
    name = task.name
    if not error.path:
        if first("unhashable", name):
            _logger.warning("%s runs uncached: %s", name, error)
        return
    parameter = error.path.split(".")[0].split("[")[0]
    if error.unread:
        if first("unread", f"{name} {parameter}"):
            _logger.error(
                "%s runs uncached: its parameter %r is hashed by content, and %s. Create it before the task is called, "
                "or correct the path.",
                name,
                parameter,
                error.unread,
            )
    elif first("unhashable", f"{name} {parameter}"):
        leave_out = (
            f"Leave it out of the key with @task(ignore=[{parameter!r}]) or EXPOPS - {parameter!r} if the result does "
            "not depend on it, or pass plain data."
        )
        _logger.warning(
            "%s runs uncached: its parameter %r cannot be fingerprinted (%s at %s)%s. %s",
            name,
            parameter,
            error.type_name or "unknown type",
            error.path,
            f": {error.reason}" if error.reason else "",
            leave_out if is_decorated(task) else "Have the process that returns it return plain data.",
        )


@lru_cache(maxsize=4096)
def _source_file(function: Callable[..., object]) -> str | None:
    try:
        return inspect.getsourcefile(function)
    except TypeError:
        return None
