"""What is known of each task run between the computation of its key and the end of its commit.

Prefect passes nothing of ours from the policy to the storages and the hooks: they meet here, in
the process that runs the task. A task run is found by its id; a commit that comes later, inside a
parent's transaction, by its key.
"""

from __future__ import annotations

import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID

from expops_prefect._internal.diagnostics import degrade
from expops_prefect._internal.forks import ForkSafeLock
from expops_prefect.errors import FingerprintError
from expops_prefect.fingerprint.values import fingerprint
from expops_prefect.models.names import CacheKey
from expops_prefect.record.records import CacheRecord, Output

if TYPE_CHECKING:
    from prefect.client.schemas.objects import TaskRun
    from prefect.serializers import Serializer

    from expops_prefect.cache.key_components import Material, Written
    from expops_prefect.cache.locking.leases import Held
    from expops_prefect.cache.observation import Before
    from expops_prefect.cache.reasons import Reason
    from expops_prefect.cache.results import Found
    from expops_prefect.effects.dependencies import Dependency, Named
    from expops_prefect.models.effects import Read
    from expops_prefect.project import Project

_LIMIT: Final = 20_000
"""Task runs remembered at most, whatever became of them."""

K = TypeVar("K")


@dataclass(slots=True)
class Attempt:
    """One task run under a cache key.

    Attributes:
        key: the transaction key.
        task_run_id, label: the task run's id and its name.
        verified: what was found, checked and loaded, and waits for the read that follows.
        hit: the record whose result the task run was given; ``None`` while it was executed.
        paired: both of our storages are in use, so the key storage's write completes the result's.
        started: when the body began, epoch seconds; ``None`` before.
        ended: when the body ended.
        run_id, path: where the task run stands in the record, empty outside a recorded run.
        returned_state: the result is a state of Prefect's or holds one, which tells of this very run.
        returned: what the body returned and its fingerprint, where a transaction around commits it later.
        configured: the processes whose configuration is part of the key.
        unkeyed: the body was told what is configured for another process; its result may depend on that.
        kept: the digest of the result under its key that is no hit, if there is one.
        serializer: what makes bytes of its result.
        outputs: asks the recorder where metrics and charts of this computation went.
        on_miss: told once that the result is not in the cache.
        lease: the lease under which this is computed; ``None`` if none is used.
        newer: what stands under its key was written by a newer release, and stays.
        waited: seconds that it waited for others that computed the same result.
        why: why it is executed; ``None`` for a hit, and until that is known.
        not_kept: why its result is not in the cache although it was computed.
        object_key: where its result was stored; ``None`` until it is.
        material: what its key is made of, until it is known whether it is a hit.
        retry_name: under which key it is noted where its result is, for a retry of its flow.
        written: the same, to be written down with the result; ``None`` for a hit.
        before: what is known of it before its body runs, where that is watched.
        computed_in: the run, and the attempt at it, that it belongs to.
        refused: its body did more than its key can say, so that its result is no hit.
        watched, proven, effects: see :class:`CacheRecord`.
        named, reads: what it read, see :mod:`expops_prefect.effects.dependencies`.
        data_folders: the folders of its key that count by their content, see :class:`DataRules`.
        inherited: the dependencies of hits inside its body.
    """

    project: Project
    key: str
    cache_key: CacheKey | None
    task_run_id: UUID
    label: str
    task_run: Callable[[], TaskRun | None]
    """Its task run, while that lasts: its state holds the result."""
    paired: bool = False
    serializer: Serializer[Any] | None = None
    configured: frozenset[str] = frozenset()
    unkeyed: bool = False
    kept: str | None = None
    verified: Found | None = None
    hit: CacheRecord | None = None
    missed: bool = False
    returned_state: bool = False
    returned: tuple[Any, str] | None = None
    started: float | None = None
    ended: float | None = None
    run_id: str = ""
    path: str = ""
    step_of: tuple[str, str] | None = None
    outputs: Callable[[], tuple[Output, ...]] = field(default=tuple)
    on_miss: Callable[[], None] | None = None
    lease: Held | None = None
    newer: bool = False
    waited: float = 0.0
    why: Reason | None = None
    not_kept: str | None = None
    object_key: str | None = None
    material: Material | None = None
    retry_name: str | None = None
    written: Written | None = None
    before: Before | None = None
    computed_in: str = ""
    refused: bool = False
    watched: bool = False
    proven: bool = False
    effects: str = ""
    generators: str = ""
    named: Named | None = None
    reads: tuple[Read, ...] = ()
    data_folders: tuple[str, ...] = ()
    inherited: tuple[Dependency, ...] = ()

    @classmethod
    def of(cls, project: Project, key: CacheKey, task_run: TaskRun, *, nested: bool) -> Attempt:
        """The attempt of a task run.

        Args:
            project: where its result is kept.
            key: its cache key.
            task_run: Prefect's task run.
            nested: a transaction around it commits it, maybe long after its end; its state is asked for then.
        """
        find: Callable[[], TaskRun | None] = (lambda: task_run) if nested else weakref.ref(task_run)
        return cls(project, str(key), key, task_run.id, task_run.name, find)

    @property
    def holder(self) -> str:
        """Under which name its task run takes leases of its own."""
        return str(self.task_run_id)

    def refuse(self, why: Reason) -> None:
        """Its result is not to be kept for others."""
        self.refused, self.why = True, why

    def land(self) -> None:
        """Let others compute the result, or take it; a lease that Prefect took is left to Prefect."""
        lease = self.lease
        if lease is not None and self.holder in lease.holders:
            self.lease = None
            lease.give_back(self.holder)

    @property
    def state(self) -> Any:
        """The task run's state; ``None`` if it is gone or has none."""
        task_run = self.task_run()
        return None if task_run is None else task_run.state

    def will_commit_later(self, result: Any) -> None:
        """A transaction around it commits its result, which others may change until then."""
        with suppress(FingerprintError):  # what cannot be walked cannot be stored either
            self.returned = result, fingerprint(result)

    def was_changed(self) -> bool:
        """Whether its result is not any more what the body returned."""
        if self.returned is None:
            return False
        result, digest = self.returned
        try:
            return fingerprint(result) != digest
        except FingerprintError:
            return True

    def slim(self) -> None:
        """The task run has ended. A commit that is still to come needs little of it."""
        self.returned_state = must_not_store(self)
        outputs = () if _by_key.get(self.key) is not self else self.outputs()
        self.outputs = lambda: outputs
        self.task_run = _gone
        self.verified = self.on_miss = self.material = self.before = None

    def write_down(self) -> None:
        """It is executed: what its key is made of is put down before the body may change its arguments."""
        material, self.material = self.material, None
        if material is None:
            return
        try:
            given = None if self.before is None else self.before.given
            self.written = material.written(self._task, looked_at=() if given is None else given.values)
        except Exception as error:  # noqa: BLE001 - what a user's own objects do here must not cost a result
            said = f"{error!r}; what it is made of is not compared later"
            degrade("explanations not kept", said, about=self.label)

    def tell_unstable(self, kinds: Mapping[str, type]) -> None:
        """Arguments were other values at a second look although the body changed nothing; by parameter their types."""
        if kinds and self.written is not None:
            self.written = self.written.unstable(self._task, kinds)

    @property
    def _task(self) -> str:
        return self.cache_key.task if self.cache_key is not None else self.label

    def miss(self) -> None:
        """The body is going to run."""
        self.missed = True
        self.write_down()
        if self.started is None:
            self.started = time.time()
        tell, self.on_miss = self.on_miss, None
        if tell is not None:
            tell()


class _Bounded(OrderedDict[K, Attempt]):
    """The newest attempts; older ones are forgotten."""

    def __setitem__(self, key: K, value: Attempt) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        if len(self) > _LIMIT:
            self.popitem(last=False)


def _gone() -> None:
    """There is no task run any more."""


_lock = ForkSafeLock()
_by_task_run: _Bounded[UUID] = _Bounded()
_by_key: _Bounded[str] = _Bounded()


_gone_task_runs: deque[UUID] = deque()
"""Task runs that are gone; any thread may add to it at any time, so it is emptied elsewhere."""


def remember(attempt: Attempt) -> None:
    """Make an attempt findable by its task run and by its key."""
    with _lock:
        _forget_gone()
        _by_task_run[attempt.task_run_id] = attempt
        _by_key[attempt.key] = attempt


def forget_with(task_run: TaskRun) -> None:
    """Forget an attempt when its task run is gone: no hook of ours tells of its end."""
    weakref.finalize(task_run, _gone_task_runs.append, task_run.id).atexit = False


def _forget_gone() -> None:
    while _gone_task_runs:
        attempt = _by_task_run.pop(_gone_task_runs.popleft(), None)
        if attempt is not None and _by_key.get(attempt.key) is attempt:
            del _by_key[attempt.key]


def of_task_run(task_run_id: UUID) -> Attempt | None:
    """The attempt of a task run of this process."""
    return _by_task_run.get(task_run_id)


def current(key: str) -> Attempt | None:
    """The attempt of the task run that is active here, if ``key`` is its key."""
    from prefect.context import TaskRunContext

    context = TaskRunContext.get()
    attempt = None if context is None else _by_task_run.get(context.task_run.id)
    return attempt if attempt is not None and attempt.key == key else None


def of_key(key: str) -> Attempt | None:
    """The newest attempt under a key: the active task run's own, else the last one of this process."""
    return current(key) or _by_key.get(key)


def forget(task_run_id: UUID) -> Attempt | None:
    """A task run has ended. Its key stays known if its commit may come later, with its parent's."""
    with _lock:
        attempt = _by_task_run.pop(task_run_id, None)
    if attempt is not None:
        if attempt.hit is not None:
            committed(attempt)
        attempt.slim()
    return attempt


def committed(attempt: Attempt) -> None:
    """Nothing is to be written under its key any more: there is no need to find it by that."""
    with _lock:
        if _by_key.get(attempt.key) is attempt:
            del _by_key[attempt.key]
    attempt.task_run = _gone
    attempt.returned = None


def remembered() -> int:
    """How many task runs are remembered."""
    with _lock:
        _forget_gone()
    return len({*map(id, _by_task_run.values()), *map(id, _by_key.values())})


def reset() -> None:
    """Forget everything (a forked child, a test)."""
    with _lock:
        _by_task_run.clear()
        _by_key.clear()


def uses_configuration(processes: frozenset[str]) -> None:
    """The code that runs here depends on what is configured for processes: results whose keys lack it are no hits.

    Args:
        processes: their normalised names.
    """
    for attempt in computing.get():
        for name in sorted(processes - attempt.configured):
            if not attempt.unkeyed and attempt.project.settings.process_parameters(name):
                attempt.unkeyed = True
                said = (
                    f"its result depends on what is configured for the process {name!r}, which its code does not name, "
                    "so it is executed every time. Call that task by its own name in the body, or pass the parameters "
                    "as arguments"
                )
                place = f"{attempt.cache_key and attempt.cache_key.task} {name}"
                degrade("results not cached", said, key=place, about=attempt.label)


def must_not_store(attempt: Attempt | None) -> bool:
    """Whether a result is none to keep.

    The task failed, or returned a state (which may be a failed one), or depends on more than its key says.
    """
    if attempt is None or attempt.cache_key is None:
        return False
    if attempt.unkeyed or attempt.refused:
        return True
    state = attempt.state
    return attempt.returned_state or (state is not None and (state.is_failed() or state.is_crashed()))


computing: ContextVar[tuple[Attempt, ...]] = ContextVar("expops_computing", default=())
"""The cached results that the code that runs now contributes to: those of the tasks around it, outermost first."""
