"""The outbox of a project in one process: accepts changes at once, delivers them in the background.

Changes are in the journal, on disk, before :meth:`Outbox.write` returns. A thread delivers them in
batches at least every half second. While a store cannot be reached, the journal grows and the flow
goes on. The next process of the project delivers what is left when this one ends.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
import uuid
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from expops_prefect._internal.diagnostics import concern, degrade
from expops_prefect._internal.process import of_process
from expops_prefect.errors import BackendError
from expops_prefect.stores.kv.base import KVStore
from expops_prefect.stores.objects.base import ObjectStore
from expops_prefect.stores.outbox.changes import AnyChange, Batch, StoreObject, dump
from expops_prefect.stores.outbox.journal import Journal, Numbered, Plan
from expops_prefect.stores.outbox.numbering import StepNumbers, with_steps

_logger = logging.getLogger("prefect.expops")
_BATCH_BYTES: Final = 4 << 20
_BATCH_CHANGES: Final = 20_000
_ROTATE_BYTES: Final = 16 << 20
_LONGEST_PAUSE: Final = 10.0
_GATHER: Final = 0.2
"""The part of ``flush_seconds`` for which the first change is held back: changes come in groups."""
_AT_EXIT: Final = 2.0
_TIDY_UP: Final = 1.0
_LOOK_AGAIN: Final = 60.0


class Outbox:
    """Delivers one process's changes to a project's stores.

    Args:
        kv: the store for records.
        objects: the store for objects.
        folder: the folder of the journals, shared by all processes of the project on this machine.
        project_id: the project; journals of other projects are not delivered.
        flush_seconds: the longest time that a change waits while the stores can be reached.
        parallel: keys to write in parallel; 1 for stores on this machine.
        on_delivery: called after each delivered batch, when the KV store is known to answer.
        on_adoption: called in the background after the journals of dead processes were delivered.

    Attributes:
        folder, project_id: as above.
    """

    def __init__(
        self,
        kv: KVStore,
        objects: ObjectStore,
        folder: Path,
        *,
        project_id: str = "",
        flush_seconds: float = 0.5,
        parallel: int = 1,
        on_delivery: Callable[[], None] = lambda: None,
        on_adoption: Callable[[], object] = lambda: None,
    ) -> None:
        self._kv = kv
        self._objects = objects
        self.folder = folder
        self.project_id = project_id
        self._flush_seconds = flush_seconds
        self._parallel = parallel
        self._on_delivery = on_delivery
        self._on_adoption = on_adoption
        self._start_afresh()
        of_process(_Outboxes).open.add(self)

    def _start_afresh(self) -> None:
        self._state = threading.Condition()
        self._delivering = threading.Lock()
        self._journal: Journal | None = None
        self._memory: deque[AnyChange] = deque()
        self._memory_id = f"memory-{uuid.uuid4().hex[:12]}"
        self._memory_plan = Plan(0)
        self._blobs: dict[str, bytes] = {}
        self._written = self._delivered = 0
        self._urgent = self._closed = self._once_more = False
        self._failures = 0
        self._lasting = False
        self._last = float("-inf")
        self._thread: threading.Thread | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._brief: _Brief | None = None
        self._numbers = StepNumbers(self._kv)
        self._renewals = getattr(self._kv, "renewals", 0)
        self._look = True
        self._looked = float("-inf")

    # Taking in ---------------------------------------------------------------------------------

    def write(self, *changes: AnyChange, brief: bool = False) -> None:
        """Queue changes; they will be delivered in this order. Never raises, never waits for a store.

        Args:
            changes: what to deliver.
            brief: the next changes are likely to replace these very soon, and both become one write. A
                delivery that is due right away leaves them for the next one, unless somebody waits.
        """
        lines = b"".join(map(dump, changes))
        with self._state:
            journal = self._current()
            try:
                if journal is None or self._memory:
                    raise OSError("the journal is not written")
                self._brief = _Brief(journal, journal.size, time.monotonic()) if brief else None
                journal.append(lines)
            except OSError as error:
                if not self._memory:
                    degrade("journal not written", f"{error}: the record waits in memory", key=str(self.folder))
                self._memory.extend(changes)
            was_empty = self._written == self._delivered
            self._written += len(changes)
            self._run_thread()
            if was_empty:
                self._state.notify_all()

    def write_object(self, object_key: str, data: bytes) -> None:
        """Queue an object, such as a chart."""
        with self._state:
            journal = self._current()
            try:
                if journal is None:
                    raise OSError("the journal is not written")
                blob = journal.add_blob(data)
            except OSError:
                blob = f"memory-{uuid.uuid4().hex}"
                self._blobs[blob] = data
            # Before another thread can find everything delivered and remove the journal with its bytes.
            self.write(StoreObject(object_key, blob))

    def look_around(self) -> None:
        """Look again, in the background, for journals of dead processes; at most once a minute."""
        if time.monotonic() - self._looked > _LOOK_AGAIN:
            self._look = True

    @property
    def pending(self) -> int:
        """How many changes of this process are not yet delivered."""
        return self._written - self._delivered

    @property
    def in_memory(self) -> int:
        """How many of them are only in memory, because the folder could not be written."""
        return len(self._memory)

    @property
    def hopeless(self) -> bool:
        """Whether the last attempt failed permanently: one more attempt is enough to wait for."""
        return self._failures > 0 and self._lasting

    @property
    def failing(self) -> bool:
        """Whether the last attempt to deliver failed."""
        return self._failures > 0

    def _current(self) -> Journal | None:
        if self._journal is None and not self._memory:
            try:
                self._journal = Journal.create(self.folder, self.project_id)
            except OSError as error:
                degrade("journal not written", f"{error}: the record waits in memory", key=str(self.folder))
        return self._journal

    # Waiting -----------------------------------------------------------------------------------

    def flush(self, timeout: float, *, while_failing: bool = True) -> bool:
        """Wait until everything queued so far is delivered.

        Args:
            timeout: seconds to wait at most.
            while_failing: whether to wait while the stores cannot be reached. A permanent failure is not
                waited for, see :attr:`hopeless`.

        Returns:
            Whether everything is delivered.
        """
        deadline = time.monotonic() + timeout
        with self._state:
            target, failures = self._written, self._failures
            # The cause may have been fixed: try once, at once.
            self._once_more = self.hopeless
            while self._delivered < target:
                left = deadline - time.monotonic()
                in_vain = self.hopeless and self._failures > failures
                if left <= 0 or self._closed or in_vain or (self._failures and not while_failing):
                    return False
                self._urgent = True
                self._run_thread()
                self._state.notify_all()
                self._state.wait(min(left, 0.5))
        return True

    def settle(self, timeout: float) -> bool:
        """Flush at the end of a run, and remove the journal if it is empty."""
        done = self.flush(timeout)
        # Another thread's delivery may take long: a store can answer slowly.
        if done and self._delivering.acquire(timeout=_TIDY_UP):
            try:
                with self._state:
                    if self._journal is not None and self._written == self._delivered:
                        self._journal.delete()
                        self._journal = None
            finally:
                self._delivering.release()
        return done

    def close(self, timeout: float) -> bool:
        """Flush and end the thread; the next process delivers what is left in the journal."""
        done = self.settle(timeout)
        with self._state:
            self._closed = True
            self._state.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(timeout)
        if self._executor is not None:
            self._executor.shutdown(wait=False)
        if self._journal is not None:
            self._journal.release()
            self._journal = None
        return done

    # Delivering --------------------------------------------------------------------------------

    def deliver_orphans(self, timeout: float = threading.TIMEOUT_MAX) -> int:
        """Deliver the journals of processes that have ended; return how many changes that was.

        Args:
            timeout: seconds after which no further batch starts; the rest stays in the journal.

        Raises:
            BackendError: a store failed; the rest stays in the journal.
        """
        count, deadline = 0, time.monotonic() + timeout
        for journal in Journal.orphans(self.folder, self.project_id):
            try:
                while journal.waiting:
                    left = deadline - time.monotonic()
                    if left <= 0 or not self._delivering.acquire(timeout=left):
                        journal.release()
                        return count
                    try:
                        delivered, more = self._deliver(journal)
                    finally:
                        self._delivering.release()
                    count += delivered
                    if not more:
                        break
                journal.delete()
            except BaseException:
                journal.release()
                raise
        return count

    def _run_thread(self) -> None:
        if self._thread is None and not self._closed:
            self._thread = threading.Thread(target=self._work, name="expops-outbox", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        concern(self.folder)
        self._adopt()
        while self._wait_for_work():
            self._adopt()
            try:
                self._deliver_some()
            except BackendError as error:
                self._failed(error)
            except Exception as error:  # noqa: BLE001 - the thread must not die silently
                self._failed(error)
            else:
                if self._failures:
                    _logger.info("the stores answer again; the records are being delivered")
                self._failures = 0
                self._last = time.monotonic()

    def _wait_for_work(self) -> bool:
        with self._state:
            while not self._closed and self._written == self._delivered:
                self._state.wait()
            backoff = min(_LONGEST_PAUSE, 0.25 * 2.0 ** min(self._failures, 8))
            deadline = time.monotonic() + backoff if self._failures else self._due()
            while not self._closed and not self._once_more and (not self._urgent or self._failures):
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._state.wait(left)
            self._once_more = False
            return not self._closed

    def _due(self) -> float:
        """When to deliver: at once after a quiet time, so that an open page shows it; else at the usual interval."""
        now = time.monotonic()
        return max(now + _GATHER * self._flush_seconds, self._last + self._flush_seconds)

    def _failed(self, error: Exception) -> None:
        with self._state:
            self._failures += 1
            self._lasting = isinstance(error, BackendError) and error.lasting
            self._state.notify_all()
        degrade(
            "record delayed",
            f"{error}; the flow goes on; its records wait in {self.folder} and are delivered later",
            key=str(self.folder),
        )

    def _adopt(self) -> None:
        if not self._look:
            return
        self._look, self._looked = False, time.monotonic()
        try:
            count = self.deliver_orphans()
            if count:
                _logger.info("delivered %d changes that an earlier process had left", count)
            self._on_adoption()
        except Exception as error:  # noqa: BLE001 - the thread must not die silently
            degrade("record delayed", str(error), key=str(self.folder))

    def _deliver_some(self) -> None:
        """Deliver one batch: first from the journal, then changes that could not be written to it."""
        with self._delivering:
            self._restore_lost()
            journal = self._journal
            if journal is not None and journal.waiting:
                count, _ = self._deliver(journal, self._bytes_due(journal))
            else:
                count = self._deliver_memory()
            with self._state:
                self._delivered += count
                idle = self._delivered == self._written
                if idle:
                    self._urgent = False
                    if journal is not None and journal.size > _ROTATE_BYTES:
                        journal.delete()
                        self._journal = None
                self._state.notify_all()

    def _restore_lost(self) -> None:
        """Deliver again what went to a database that is gone, as far as the journal still holds it."""
        look = getattr(self._kv, "look", None)
        if look is None:
            return
        look()
        renewals = self._kv.renewals  # type: ignore[attr-defined]
        journal = self._journal
        if renewals == self._renewals:
            return
        if journal is not None:
            self._numbers = StepNumbers(self._kv)
            changes, end = journal.delivered(0, _BATCH_BYTES)
            while changes:
                batch = Batch(journal.id, end).add(changes)
                self._number(batch, {})
                self._warn_of_lost_charts(batch)
                batch.deliver(self._kv, self._objects, _Blobs(journal, self._blobs), self._pool())
                changes, end = journal.delivered(end, _BATCH_BYTES)
            with self._state:
                if journal.is_gone and journal.plan.sending is None:
                    self._journal = journal.moved(self.project_id)
                    self._brief = None
        self._renewals = renewals
        _logger.info("the records of this run were written again")

    def _warn_of_lost_charts(self, batch: Batch) -> None:
        """Report charts that are lost: their bytes were dropped on delivery, and the folder is gone."""
        for object_key in batch.objects:
            if self._objects.stat(object_key) is None:
                message = f"{object_key} was in the folder that was removed or moved; the next run draws it again"
                degrade("charts lost", message, key=object_key)
        batch.objects.clear()

    def _bytes_due(self, journal: Journal) -> int:
        """How many bytes of the journal to deliver now: changes that will soon be replaced wait."""
        with self._state:
            brief = self._brief
            if brief is None or brief.journal is not journal or self._urgent or self._closed:
                return _BATCH_BYTES
            if time.monotonic() - brief.since >= _GATHER * self._flush_seconds:
                return _BATCH_BYTES
        return min(_BATCH_BYTES, brief.start - journal.plan.done)

    def _deliver(self, journal: Journal, most: int = _BATCH_BYTES) -> tuple[int, bool]:
        if most <= 0 and journal.plan.sending is None:
            return 0, True
        changes, end = journal.read(most)
        batch = Batch(journal.id, end).add(changes)
        journal.begin(end, journal.plan.numbered)
        journal.begin(end, self._number(batch, journal.plan.numbered))
        batch.deliver(self._kv, self._objects, _Blobs(journal, self._blobs), self._pool())
        self._on_delivery()
        journal.finish(end)
        for blob in _blobs_of(changes):
            self._blobs.pop(blob, None)
            journal.drop_blob(blob)
        return len(changes), bool(changes)

    def _deliver_memory(self) -> int:
        plan = self._memory_plan
        with self._state:
            # A failed batch is sent again with the same bounds: its name tells the store what it already has.
            end = plan.done + min(len(self._memory), _BATCH_CHANGES) if plan.sending is None else plan.sending
            changes = list(islice(self._memory, end - plan.done))
        plan.sending = end
        batch = Batch(self._memory_id, end).add(changes)
        plan.numbered = self._number(batch, plan.numbered)
        batch.deliver(self._kv, self._objects, _Blobs(self._journal, self._blobs), self._pool())
        self._on_delivery()
        with self._state:
            for _ in changes:
                self._memory.popleft()
            self._memory_plan = Plan(end)
        for blob in _blobs_of(changes):
            self._drop_blob(blob)
        return len(changes)

    def _number(self, batch: Batch, known: Numbered) -> Numbered:
        """Assign a step to every point of a batch; a batch that is sent again has them already.

        Args:
            batch: to be delivered.
            known: the points that were numbered when it was sent before.

        Returns:
            The points that were numbered, for the next attempt.
        """
        numbered = dict(known)
        for key, logged in batch.logged.items():
            points = numbered.get(key) or with_steps(logged)
            if points is None:
                points = numbered[key] = self._numbers.number(key, logged, batch.id)
            batch.points[key] = points
            self._numbers.saw(key, points)
        return numbered

    def _drop_blob(self, blob: str) -> None:
        if self._blobs.pop(blob, None) is None and self._journal is not None:
            self._journal.drop_blob(blob)

    def _pool(self) -> ThreadPoolExecutor | None:
        if self._parallel > 1 and self._executor is None:
            self._executor = ThreadPoolExecutor(
                self._parallel, thread_name_prefix="expops-outbox", initializer=concern, initargs=(self.folder,)
            )
        return self._executor


@dataclass(frozen=True)
class _Brief:
    """The last changes, if the next may replace them: their start in the journal, and their time."""

    journal: Journal
    start: int
    since: float


@dataclass(frozen=True)
class _Blobs:
    """The bytes of objects; in memory if they could not be written beside the journal."""

    journal: Journal | None
    memory: dict[str, bytes]

    def blob(self, name: str) -> bytes | None:
        if name in self.memory or self.journal is None:
            return self.memory.get(name)
        return self.journal.blob(name)


def _blobs_of(changes: Sequence[AnyChange]) -> Iterator[str]:
    """The blobs of all objects, including objects that were stored again in the same batch."""
    return (change.blob for change in changes if isinstance(change, StoreObject))


class _Outboxes:
    """The outboxes of this process."""

    def __init__(self) -> None:
        self.open: weakref.WeakSet[Outbox] = weakref.WeakSet()
        atexit.register(self.close)

    def close(self) -> None:
        """Deliver as much as possible before the process ends."""
        for outbox in list(self.open):
            outbox.close(_AT_EXIT if outbox.pending else 0.0)

    def in_forked_child(self) -> None:
        """Drop the queues in a forked child: the parent delivers them."""
        for outbox in list(self.open):
            outbox._start_afresh()
