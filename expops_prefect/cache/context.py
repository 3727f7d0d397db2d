"""What the cache knows of one task run, from the computation of its key to the end of its commit.

Prefect passes nothing of ours from the policy to the storages and the hooks. They meet here, by the
:class:`~expops_prefect.cache.session.Session` of the process that runs the task.
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

    from expops_prefect.cache.key_components import KeyComponents, KeySnapshot
    from expops_prefect.cache.locking.leases import HeldLease
    from expops_prefect.cache.observation import Before
    from expops_prefect.cache.reasons import Reason
    from expops_prefect.cache.results import Found
    from expops_prefect.effects.dependencies import Dependency, Named
    from expops_prefect.models.effects import Read
    from expops_prefect.project import Project


class TaskRecorder(Protocol):
    """What records a task run, if anything does. The cache does not know more of it."""

    @property
    def run_id(self) -> str:
        """The recorded run."""

    @property
    def path(self) -> str:
        """The task run's probe path in it."""

    @property
    def step_of(self) -> tuple[str, str] | None:
        """For a step, its process's path and its name."""

    def missed(self) -> None:
        """Told once that the result is not in the cache: the body is executed."""

    def outputs(self) -> tuple[Output, ...]:
        """Where metrics and charts of this computation went."""


@dataclass(frozen=True, slots=True)
class Computation:
    """Who computed a result, and when, as it stands in the cache record.

    Attributes:
        run_id, path: where the task run is recorded; empty outside a recorded run.
        step_of: for a step, its process's path and its name.
        task_run_id: Prefect's id of it.
        started, ended: when its body ran, epoch seconds; ``None`` if that is not known.
        outputs: where its metrics and charts went.
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
        key: the transaction key; ``None`` for one that is not this package's.
        hit: the record whose result the task run was given; ``None`` if it was executed.
        why: why it was executed; ``None`` for a hit, and until that is known.
        not_stored: why its result is not in the cache although it was computed.
        object_key: where its result was stored; ``None`` until it is.
        waited: seconds that it waited for others that computed the same result.
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
    """What a body did, as it was watched.

    Attributes:
        named, reads: what it read, see :mod:`expops_prefect.effects.dependencies`.
        proven: see :class:`CacheRecord`.
        effects: what it did beside computing, as it stands in the record.
        generators: what it left of the global random generators, as it stands in the record.
    """

    named: Named
    reads: tuple[Read, ...]
    proven: bool
    effects: str
    generators: str


@dataclass(slots=True)
class CacheContext:
    """One task run under a cache key.

    Attributes:
        project: where its result is kept.
        key: the transaction key.
        cache_key: the same, taken apart; ``None`` for a key that is not this package's.
        task_run_id, label: the task run's id and its name.
        task_run: its task run, while that lasts: the state holds the result.
        paired: both of our storages are in use, so the key storage's write completes the result's.
        serializer: what makes bytes of its result.
        components: what its key is made of, until it is known whether it is a hit.
        snapshot: the same, to be written down with the result; ``None`` for a hit.
        configured: the processes whose configuration is part of the key.
        retry_name: under which key it is noted where its result is, for a retry of its flow.
        computed_in: the run, and the attempt at it, that it belongs to.
        recorder: what records it.
        verified: what was found, checked and loaded, and waits for the read that follows.
        hit: the record whose result the task run was given; ``None`` while it was executed.
        kept: the digest of the result under its key that is no hit, if there is one.
        newer: a newer release has written a record under its key, which stays.
        missed: it is not a hit.
        why: why it is executed.
        lease: the lease under which this is computed.
        waited: seconds that it waited for others that computed the same result.
        before: what is known of it before its body runs, where that is watched.
        observed: what its body did.
        data_folders: the folders of its key that count by their content, see :class:`DataRules`.
        inherited: the dependencies of hits inside its body.
        started, ended: when the body ran, epoch seconds.
        refused: its body did more than its key can say, so that its result is no hit.
        unkeyed: the body was told what is configured for another process; its result may depend on that.
        returned_state: the result is a state of Prefect's or holds one, which tells of this very run.
        returned: what the body returned and its fingerprint, where a transaction around commits it later.
        staged: the record of a result whose objects are stored, which the key storage writes next.
        not_stored: why its result is not in the cache although it was computed.
        object_key: where its result was stored.
        computed: who computed its result, once its task run has ended: a commit may be still to come.
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
            nested: a transaction around it commits it, maybe long after its end; its state is asked for then.
        """
        find: Callable[[], TaskRun | None] = (lambda: task_run) if nested else weakref.ref(task_run)
        return cls(project, str(key), key, task_run.id, task_run.name, find)

    @property
    def holder(self) -> str:
        """The name under which its task run takes leases of its own."""
        return str(self.task_run_id)

    @property
    def task(self) -> str:
        """The name under which its task is cached."""
        return self.cache_key.task if self.cache_key is not None else self.label

    @property
    def state(self) -> Any:
        """The task run's state; ``None`` if it is gone or has none."""
        task_run = self.task_run()
        return None if task_run is None else task_run.state

    @property
    def outcome(self) -> Outcome:
        """How the cache has dealt with it so far."""
        key = None if self.cache_key is None else self.key
        hit = None if self.missed else self.hit
        return Outcome(key, hit, self.why, self.not_stored, self.object_key, self.waited, self.snapshot)

    def computation(self) -> Computation:
        """Who computes its result, and when."""
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
        """Whether its result is none to keep.

        The task failed, or returned a state (which may be a failed one), or depends on more than its key says.
        """
        if self.cache_key is None:
            return False
        if self.unkeyed or self.refused:
            return True
        state = self.state
        return self.returned_state or (state is not None and (state.is_failed() or state.is_crashed()))

    def refuse(self, why: Reason) -> None:
        """Do not keep its result for others."""
        self.refused, self.why = True, why

    def release_lease(self) -> None:
        """Let others compute the result, or take it. A lease that Prefect took is left to Prefect."""
        lease = self.lease
        if lease is not None and self.holder in lease.holders:
            self.lease = None
            lease.give_back(self.holder)

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

    def keep_components(self) -> None:
        """It is executed: note what its key is made of before the body may change its arguments."""
        components, self.components = self.components, None
        if components is None:
            return
        try:
            given = None if self.before is None else self.before.given
            self.snapshot = components.snapshot(self.task, looked_at=() if given is None else given.values)
        except Exception as error:  # noqa: BLE001 - what a user's own objects do here must not cost a result
            said = f"{error!r}; what it is made of is not compared later"
            degrade("explanations not kept", said, about=self.label)

    def tell_unstable(self, kinds: Mapping[str, type]) -> None:
        """Arguments were other values at a second look although the body changed nothing; by parameter their types."""
        if kinds and self.snapshot is not None:
            self.snapshot = self.snapshot.unstable(self.task, kinds)

    def miss(self) -> None:
        """The body is going to run."""
        self.keep_components()
        if self.started is None:
            self.started = time.time()
        if not self.missed and self.recorder is not None:
            self.recorder.missed()
        self.missed = True

    def end(self, *, commits_later: bool) -> None:
        """The task run has ended. A commit that is still to come needs little of it."""
        self.returned_state = self.must_not_store
        self.computed = self.computation() if commits_later else None
        self.task_run = gone
        self.recorder = self.verified = self.components = self.before = None


def gone() -> None:
    """There is no task run any more."""


computing: ContextVar[tuple[CacheContext, ...]] = ContextVar("expops_computing", default=())
"""The cached results that the code that runs now contributes to: those of the tasks around it, outermost first."""


def uses_configuration(processes: frozenset[str]) -> None:
    """The code that runs here depends on what is configured for processes: results whose keys lack it are no hits.

    Args:
        processes: their normalised names.
    """
    for context in computing.get():
        for name in sorted(processes - context.configured):
            if not context.unkeyed and context.project.settings.process_parameters(name):
                context.unkeyed = True
                said = (
                    f"its result depends on what is configured for the process {name!r}, which its code does not name, "
                    "so it is executed every time. Call that task by its own name in the body, or pass the parameters "
                    "as arguments"
                )
                degrade("results not cached", said, key=f"{context.task} {name}", about=context.label)
