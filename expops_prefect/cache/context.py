"""What the cache knows of one task run, from the computation of its key to the end of its commit.

Prefect passes none of our data from the policy to the storages and the hooks. They share it here, through
the :class:`~expops_prefect.cache.session.Session` of the process that runs the task.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from expops_prefect._internal.diagnostics import degrade
from expops_prefect.errors import FingerprintError
from expops_prefect.fingerprint.values import fingerprint
from expops_prefect.models.names import CacheKey
from expops_prefect.record.cache_records import CacheRecord, Output

if TYPE_CHECKING:
    from prefect.client.schemas.objects import TaskRun
    from prefect.serializers import Serializer

    from expops_prefect.cache.files.tree import Scanned
    from expops_prefect.cache.key_components import KeyComponents, KeySnapshot
    from expops_prefect.cache.locking.leases import HeldLease
    from expops_prefect.cache.observation import Before
    from expops_prefect.cache.reasons import Reason
    from expops_prefect.cache.results import Found
    from expops_prefect.effects.dependencies import Dependency, Named
    from expops_prefect.models.effects import Read
    from expops_prefect.project import Project


class TaskRecorder(Protocol):
    """The cache's view of the recorder of a task run."""

    @property
    def run_id(self) -> str:
        """The id of the recorded run."""

    @property
    def path(self) -> str:
        """The task run's probe path in it."""

    @property
    def step_of(self) -> tuple[str, str] | None:
        """For a step, its process's path and its name."""

    def missed(self) -> None:
        """Called once when the result is not in the cache and the body will be executed."""

    def outputs(self) -> tuple[Output, ...]:
        """Where the metrics and charts of this computation were written."""


@dataclass(frozen=True, slots=True)
class Computation:
    """Where and when a result was computed, for the cache record.

    Attributes:
        run_id, path: where the task run is recorded; empty outside a recorded run.
        step_of: for a step, its process's path and its name.
        task_run_id: Prefect's id of the task run.
        started, ended: when its body ran, epoch seconds; ``None`` if unknown.
        outputs: where its metrics and charts were written.
        components: what its key is made of.
    """

    run_id: str = ""
    path: str = ""
    step_of: tuple[str, str] | None = None
    task_run_id: str | None = None
    started: float | None = None
    ended: float | None = None
    outputs: tuple[Output, ...] = ()
    components: KeySnapshot | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the cache dealt with a task run, as the recorder reads it.

    Attributes:
        key: the transaction key; ``None`` for a key that this package did not compute.
        hit: the record whose result the task run received; ``None`` if it was executed.
        why: why it was executed; ``None`` for a hit, and until it is known.
        not_stored: why its result is not in the cache although it was computed.
        object_key: where its result was stored; ``None`` until it is.
        waited: seconds that it waited for other task runs that computed the same result.
        components: what its key is made of; ``None`` for a hit.
    """

    key: str | None = None
    hit: CacheRecord | None = None
    why: Reason | None = None
    not_stored: str | None = None
    object_key: str | None = None
    waited: float = 0.0
    components: KeySnapshot | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """What was observed of a body.

    Attributes:
        named, reads: what it read, see :mod:`expops_prefect.effects.dependencies`.
        proven: see :class:`CacheRecord`.
        effects: what it did beside computing, in the record's format.
        generators: the state in which it left the global random generators, in the record's format.
        files: the files and folders of its result, see :mod:`expops_prefect.cache.files`.
    """

    named: Named
    reads: tuple[Read, ...]
    proven: bool
    effects: str
    generators: str
    files: tuple[tuple[str, tuple[Scanned, ...]], ...] = ()


@dataclass(slots=True)
class CacheContext:
    """One task run under a cache key.

    Attributes:
        project: where its result is kept.
        key: the transaction key.
        cache_key: the parsed key; ``None`` for a key that this package did not compute.
        task_run_id, label: the task run's id and its name.
        task_run: returns the task run while it exists; its state holds the result.
        paired: both our storages are in use, so the key storage's write completes the result's.
        serializer: serializes its result.
        components: what its key is made of, until it is known whether it is a hit.
        made: its key and what it was made of, for the engine if it was looked up before it.
        inputs: the arguments by parameter, likewise.
        ahead: it was looked up before the engine began, and is a miss.
        snapshot: the same, for the record of the result; ``None`` for a hit.
        configured: the processes whose configuration is part of the key.
        retry_name: the KV key that leads a retry of its flow to its result.
        computed_in: the run, and the attempt at it, that it belongs to.
        recorder: records it; ``None`` if it is not recorded.
        verified: the hit that was checked and loaded, kept for the read that follows.
        hit: the record whose result the task run received; ``None`` if it was executed.
        kept: the digest of a result under its key that is not a hit, if there is one.
        newer: a newer release wrote the record under its key, which is not replaced.
        missed: it is not a hit.
        why: why it is executed.
        lease: the lease under which it is computed.
        waited: seconds that it waited for other task runs that computed the same result.
        before: its state before its body runs, if the body is watched.
        observed: what its body did.
        data_folders: the folders in its key that are hashed by content, see :class:`DataRules`.
        told_when_stored: says what its author should know once its result is stored.
        inherited: the dependencies of hits inside its body.
        started, ended: when the body ran, epoch seconds.
        refused: its body did more than its key covers, so its result is not a hit.
        unkeyed: the body received the configuration of another process, and its result may depend on it.
        returned_state: the result is or contains a Prefect state, which describes this run only.
        returned: what the body returned and its fingerprint, if a surrounding transaction commits it later.
        staged: the record of a result whose objects are stored; the key storage writes it next.
        not_stored: why its result is not in the cache although it was computed.
        object_key: where its result was stored.
        computed: where and when its result was computed, if it ended before its commit.
    """

    project: Project
    key: str
    cache_key: CacheKey | None
    task_run_id: UUID
    label: str
    task_run: Callable[[], TaskRun | None]
    paired: bool = False
    serializer: Serializer[Any] | None = None
    components: KeyComponents | None = None
    made: Any = None
    inputs: Mapping[str, Any] | None = None
    ahead: bool = False
    snapshot: KeySnapshot | None = None
    configured: frozenset[str] = frozenset()
    retry_name: str | None = None
    computed_in: str = ""
    recorder: TaskRecorder | None = None
    verified: Found | None = None
    hit: CacheRecord | None = None
    kept: str | None = None
    newer: bool = False
    missed: bool = False
    why: Reason | None = None
    lease: HeldLease | None = None
    waited: float = 0.0
    before: Before | None = None
    observed: Observed | None = None
    data_folders: tuple[str, ...] = ()
    told_when_stored: Callable[[], None] | None = None
    inherited: tuple[Dependency, ...] = ()
    started: float | None = None
    ended: float | None = None
    refused: bool = False
    unkeyed: bool = False
    returned_state: bool = False
    returned: tuple[Any, str] | None = None
    staged: CacheRecord | None = None
    not_stored: str | None = None
    object_key: str | None = None
    computed: Computation | None = None

    @classmethod
    def of(cls, project: Project, key: CacheKey, task_run: TaskRun, *, nested: bool) -> CacheContext:
        """The context of a task run.

        Args:
            project: where its result is kept.
            key: its cache key.
            task_run: Prefect's task run.
            nested: a surrounding transaction commits it, perhaps long after its end, and reads its state then.
        """
        find: Callable[[], TaskRun | None] = (lambda: task_run) if nested else weakref.ref(task_run)
        return cls(project, str(key), key, task_run.id, task_run.name, find)

    @property
    def holder(self) -> str:
        """The name under which its task run takes leases."""
        return str(self.task_run_id)

    @property
    def task(self) -> str:
        """The name under which its task is cached."""
        return self.cache_key.task if self.cache_key is not None else self.label

    @property
    def state(self) -> Any:
        """The task run's state; ``None`` if the task run no longer exists or has no state."""
        task_run = self.task_run()
        return None if task_run is None else task_run.state

    @property
    def outcome(self) -> Outcome:
        """How the cache has dealt with the task run so far."""
        key = None if self.cache_key is None else self.key
        hit = None if self.missed else self.hit
        return Outcome(key, hit, self.why, self.not_stored, self.object_key, self.waited, self.snapshot)

    def computation(self) -> Computation:
        """Where and when its result is computed."""
        if self.computed is not None:
            return self.computed
        by, task_run_id = self.recorder, str(self.task_run_id)
        if by is None:
            return Computation("", "", None, task_run_id, self.started, self.ended, (), self.snapshot)
        outputs = by.outputs()
        return Computation(
            by.run_id, by.path, by.step_of, task_run_id, self.started, self.ended, outputs, self.snapshot
        )

    @property
    def step_of(self) -> tuple[str, str] | None:
        """For a recorded step, its process's path and its name."""
        if self.computed is not None:
            return self.computed.step_of
        return None if self.recorder is None else self.recorder.step_of

    @property
    def must_not_store(self) -> bool:
        """Whether its result must not become a hit.

        The task failed, returned a state (which may be a failed one), or depends on more than its key covers.
        """
        if self.cache_key is None:
            return False
        if self.unkeyed or self.refused:
            return True
        state = self.state
        return self.returned_state or (state is not None and (state.is_failed() or state.is_crashed()))

    def refuse(self, why: Reason) -> None:
        """Do not give its result to other task runs."""
        self.refused, self.why = True, why

    def release_lease(self) -> None:
        """Release the lease, so that waiting task runs go on. Prefect releases a lease that it took itself."""
        lease = self.lease
        if lease is not None and self.holder in lease.holders:
            self.lease = None
            lease.give_back(self.holder)

    def will_commit_later(self, result: Any) -> None:
        """Note the result that a surrounding transaction commits later; it may be changed until then."""
        with suppress(FingerprintError):  # what cannot be fingerprinted cannot be stored either
            self.returned = result, fingerprint(result)

    def was_changed(self) -> bool:
        """Whether its result was changed since the body returned it."""
        if self.returned is None:
            return False
        result, digest = self.returned
        try:
            return fingerprint(result) != digest
        except FingerprintError:
            return True

    def made_ahead(self, inputs: Mapping[str, Any]) -> Any:
        """The key that was made before the engine began, if it is for the same objects; only once."""
        made, given, ahead = self.made, self.inputs, self.ahead
        self.made = self.inputs = None
        self.ahead = False
        if not ahead or given is None or inputs.keys() != given.keys():
            return None
        return made if all(inputs[name] is given[name] for name in inputs) else None

    def keep_components(self) -> None:
        """Note what the key of an executed task run is made of, before the body can change its arguments."""
        self.made = self.inputs = None
        components, self.components = self.components, None
        if components is None:
            return
        try:
            given = None if self.before is None else self.before.given
            self.snapshot = components.snapshot(self.task, looked_at=() if given is None else given.values)
        except Exception as error:  # noqa: BLE001 - an error in a user's own objects must not cost a result
            said = f"{error!r}; cache explain cannot compare its key later"
            degrade("explanations not kept", said, about=self.label)

    def tell_unstable(self, kinds: Mapping[str, type]) -> None:
        """Note arguments whose fingerprint differed although the body did not change them: types by parameter."""
        if kinds and self.snapshot is not None:
            self.snapshot = self.snapshot.unstable(self.task, kinds)

    def miss(self) -> None:
        """Note that the body is about to run."""
        self.keep_components()
        if self.started is None:
            self.started = time.time()
        if not self.missed and self.recorder is not None:
            self.recorder.missed()
        self.missed = True

    def end(self, *, commits_later: bool) -> None:
        """Release what a later commit does not need: the task run has ended."""
        self.returned_state = self.must_not_store
        self.computed = self.computation() if commits_later else None
        self.task_run = gone
        self.recorder = self.verified = self.components = self.before = self.made = self.inputs = None


def gone() -> None:
    """The task run no longer exists."""


computing: ContextVar[tuple[CacheContext, ...]] = ContextVar("expops_computing", default=())
"""The contexts of the cached tasks around the running code, outermost first: it contributes to their results."""


def uses_configuration(processes: frozenset[str]) -> None:
    """Note that the running code depends on the configuration of processes.

    Results whose keys do not include it are not hits.

    Args:
        processes: their normalised names.
    """
    for context in computing.get():
        for name in sorted(processes - context.configured):
            if not context.unkeyed and context.project.settings.process_parameters(name):
                context.unkeyed = True
                said = (
                    f"its result depends on the configuration of the process {name!r}, which its code does not name, "
                    "so it is executed every time. Call that task by its own name in the body, or pass the parameters "
                    "as arguments"
                )
                degrade("results not cached", said, key=f"{context.task} {name}", about=context.label)
