"""The journal of an outbox: the changes that a process has yet to deliver, in a file that survives its death.

A journal is one append-only file of changes, one a line. A small plan beside it says how far
they have been delivered. The owner holds a lock on the file, which the system releases however
the process ends. A journal whose lock is free can be adopted.
"""

from __future__ import annotations

import contextlib
import os
import socket
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

import orjson

from expops_prefect._internal.diagnostics import degrade
from expops_prefect._internal.file_locks import FileLocks
from expops_prefect._internal.files import write_file
from expops_prefect._internal.process import of_process
from expops_prefect.stores.kv.base import MetricPoint
from expops_prefect.stores.outbox.changes import AnyChange, load

_SUFFIX: Final = ".journal"
_HEAD: Final = b'{"expops-prefect journal":1}\n'
_LONGEST_HEAD: Final = 1024
DAMAGED: Final = ".damaged"
"""The suffix of a damaged journal that is kept aside."""

Numbered: TypeAlias = dict[str, list[MetricPoint]]
"""Points whose steps were assigned, by metrics key."""


@dataclass
class Plan:
    """How far a journal has been delivered, and which batch is being delivered.

    Attributes:
        done: bytes delivered.
        sending: the end of the batch in progress; a retry uses the same bounds.
        numbered: the points of that batch whose steps had to be assigned, by metrics key.
    """

    done: int = len(_HEAD)
    sending: int | None = None
    numbered: Numbered = field(default_factory=dict)

    @classmethod
    def load(cls, data: bytes) -> Plan:
        """Read a plan back.

        Raises:
            ValueError, TypeError: it is not a plan.
        """
        values = orjson.loads(data)
        try:
            values["numbered"] = {
                key: [MetricPoint(**point) for point in points] for key, points in values["numbered"].items()
            }
            return cls(**values)
        except (LookupError, AttributeError) as error:
            raise ValueError(f"not a plan: {error!r}") from error


class Journal:
    """The journal of one process. One thread may append while another delivers.

    Args:
        path: the file; it must be locked.
        descriptor: its open file descriptor.
        plan: how far it has been delivered.
    """

    def __init__(self, path: Path, descriptor: int, plan: Plan) -> None:
        self.path = path
        self.id = path.name.removesuffix(_SUFFIX)
        self.plan = plan
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size
        self._blobs = 0

    @classmethod
    def create(cls, folder: Path, project: str = "") -> Journal:
        """Create a journal in this folder.

        Args:
            folder: the outbox's folder.
            project: the id of the project that the changes belong to.

        Raises:
            OSError: it cannot be written.
        """
        path = folder / f"{socket.gethostname()[:40]}-{os.getpid()}-{uuid.uuid4().hex[:12]}{_SUFFIX}"
        locks = of_process(FileLocks)
        descriptor = locks.create(path, os.O_APPEND)
        try:
            head = _head(project)
            if os.write(descriptor, head) != len(head):
                raise OSError("the disk is full")
        except OSError:
            locks.remove(path)
            raise
        return cls(path, descriptor, Plan(len(head)))

    @classmethod
    def orphans(cls, folder: Path, project: str = "") -> Iterator[Journal]:
        """Journals of processes that have ended. Each is locked from then on.

        A damaged journal is reported and kept aside; one of another project is reported and left in place.
        """
        for path in sorted(folder.glob(f"*{_SUFFIX}")):
            journal = cls._adopt(path, project)
            if journal is not None:
                yield journal

    @staticmethod
    def waiting_in(folder: Path) -> Iterator[AnyChange]:
        """The changes in all journals, including those of running processes. Takes no lock."""
        for path in sorted(folder.glob(f"*{_SUFFIX}")):
            try:
                data = of_process(FileLocks).read(path)
                head = data[: data.find(b"\n") + 1]
                plan = Plan.load(_plan_of(path).read_bytes()) if _plan_of(path).exists() else Plan(len(head))
                data = data[plan.done :]
            except (OSError, ValueError, TypeError, KeyError):
                continue  # just delivered, or not a journal
            for line in data[: data.rfind(b"\n") + 1].splitlines():
                if change := _parsed(line):
                    yield change

    @classmethod
    def _adopt(cls, path: Path, project: str) -> Journal | None:
        locks = of_process(FileLocks)
        descriptor = locks.adopt(path, os.O_APPEND)
        if descriptor is None:
            return None  # its process is running, another has just delivered it, or it cannot be opened
        plan = None
        try:
            plan = _plan_of_orphan(path, descriptor, project)
        except OSError:
            pass  # another process has just delivered it
        except (ValueError, TypeError, KeyError) as error:
            _set_aside(path, str(error))
        if plan is None:
            locks.release(descriptor)
            return None
        return cls(path, descriptor, plan)

    @property
    def waiting(self) -> int:
        """Bytes not yet delivered."""
        return self._size - self.plan.done

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._size

    def append(self, lines: bytes) -> None:
        """Add whole lines.

        Raises:
            OSError: they could not be written; the journal holds none of them.
        """
        written = os.write(self._descriptor, lines)
        if written != len(lines):
            os.ftruncate(self._descriptor, self._size)
            raise OSError("the disk is full")
        self._size += written

    def add_blob(self, data: bytes) -> str:
        """Keep bytes beside the journal until they are delivered; return their name."""
        self._blobs += 1
        name = f"{self.id}-{self._blobs}.blob"
        try:
            write_file(self.path.with_name(name), data)
        except OSError:
            self.drop_blob(name)  # a partial file takes room on a full disk
            raise
        return name

    def blob(self, name: str) -> bytes | None:
        """See :class:`~expops_prefect.stores.outbox.changes.Blobs`."""
        try:
            return self.path.with_name(Path(name).name).read_bytes()
        except FileNotFoundError:
            return None

    def drop_blob(self, name: str) -> None:
        """Delete bytes that have been delivered."""
        self.path.with_name(Path(name).name).unlink(missing_ok=True)

    def read(self, limit: int) -> tuple[list[AnyChange], int]:
        """The next changes to deliver, up to about ``limit`` bytes, and where they end.

        A batch that was in progress when its process ended is returned with the same bounds.
        """
        end = self.plan.sending if self.plan.sending is not None else self._size
        length = end - self.plan.done
        if self.plan.sending is None:
            length = min(length, limit)
        data = os.pread(self._descriptor, length, self.plan.done)
        whole = data.rfind(b"\n") + 1
        while not whole and len(data) == length < end - self.plan.done:
            length *= 2  # a single line longer than a batch
            data = os.pread(self._descriptor, min(length, end - self.plan.done), self.plan.done)
            whole = data.rfind(b"\n") + 1
        if not whole:
            return [], self._size  # half a line: its writer was killed
        return [change for line in data[:whole].splitlines() if (change := _parsed(line))], self.plan.done + whole

    def delivered(self, start: int, limit: int) -> tuple[list[AnyChange], int]:
        """Changes that have been delivered, up to about ``limit`` bytes, and where they end.

        Args:
            start: where they begin; 0 for the first.
            limit: bytes.
        """
        if start == 0:
            start = os.pread(self._descriptor, _LONGEST_HEAD, 0).find(b"\n") + 1
        length = self.plan.done - start
        data = os.pread(self._descriptor, min(limit, length), start)
        if len(data) < length and b"\n" not in data:
            data = os.pread(self._descriptor, length, start)  # a single longer line
        whole = data.rfind(b"\n") + 1
        return [change for line in data[:whole].splitlines() if (change := _parsed(line))], start + whole

    @property
    def is_gone(self) -> bool:
        """Whether its file was removed; the owner can still read it."""
        return not self.path.exists()

    def moved(self, project: str) -> Journal:
        """Copy the journal to a new file, after its file was removed.

        Args:
            project: as for :meth:`create`.

        Raises:
            OSError: it cannot be written.
        """
        made = Journal.create(self.path.parent, project)
        head = os.pread(self._descriptor, _LONGEST_HEAD, 0).find(b"\n") + 1
        shift = made.size - head
        made.append(os.pread(self._descriptor, self._size - head, head))
        made.plan = Plan(self.plan.done + shift)
        self.release()
        return made

    def begin(self, end: int, numbered: Numbered) -> None:
        """Record that a batch is about to be sent."""
        plan = Plan(self.plan.done, end, numbered)
        if plan != self.plan:
            self._save(plan)

    def finish(self, end: int) -> None:
        """Record that a batch was delivered."""
        self._save(Plan(end))

    def delete(self) -> None:
        """Remove the journal after everything in it was delivered."""
        for path in (self.path, _plan_of(self.path), *self.path.parent.glob(f"{self.id}-*.blob")):
            path.unlink(missing_ok=True)
        self.release()

    def release(self) -> None:
        """Release the journal with its content; the next process adopts it."""
        of_process(FileLocks).release(self._descriptor)

    def _save(self, plan: Plan) -> None:
        self.plan = plan
        target = _plan_of(self.path)
        temporary = target.with_suffix(".new")
        with contextlib.suppress(OSError):  # a full disk: this process still knows the plan
            write_file(temporary, orjson.dumps(plan))
            temporary.replace(target)


def _parsed(line: bytes) -> AnyChange | None:
    try:
        return load(line)
    except (ValueError, TypeError) as error:
        degrade("records refused", f"a damaged line in a journal: {error}", key=str(error))
        return None


def _head(project: str) -> bytes:
    """The first line of a journal: its format and its project."""
    return orjson.dumps({"expops-prefect journal": 1, "project": project}) + b"\n" if project else _HEAD


def _plan_of_orphan(path: Path, descriptor: int, project: str) -> Plan | None:
    """How far an abandoned journal was delivered; ``None`` if it must be left in place.

    Raises:
        OSError: it cannot be read.
        ValueError, TypeError, KeyError: it is damaged; the message says how.
    """
    status = os.fstat(descriptor)
    if not status.st_nlink or not status.st_size:
        return None  # its owner has deleted it, or has only just made it
    line, end, _ = os.pread(descriptor, _LONGEST_HEAD, 0).partition(b"\n")
    try:
        head = orjson.loads(line)
        version, its_project = head["expops-prefect journal"], head.get("project", project)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ValueError("its first line is not that of a journal") from None
    if version != 1:
        return None  # written by a newer release
    if project and its_project != project:
        text = f"{path} holds undelivered records of the project {its_project!r}; they are not delivered to {project!r}"
        degrade("journals of other projects", text, key=str(path))
        return None
    try:
        return Plan.load(_plan_of(path).read_bytes()) if _plan_of(path).exists() else Plan(len(line + end))
    except (ValueError, TypeError, KeyError):
        raise ValueError(f"{_plan_of(path).name}, which says how far it was delivered, cannot be read") from None


def _set_aside(path: Path, why: str) -> None:
    """Rename a damaged journal and its files, so that no process adopts them."""
    aside = path.with_name(path.name + DAMAGED)
    text = f"{path}: {why}; it is not delivered, but kept as {aside.name}"
    degrade("journals damaged", text, key=str(path))
    with contextlib.suppress(OSError):
        if _plan_of(path).exists():
            _plan_of(path).replace(_plan_of(path).with_name(_plan_of(path).name + DAMAGED))
        path.replace(aside)


def undeliverable(folder: Path, project: str) -> Iterator[tuple[Path, str]]:
    """Journals that no process delivers, each with the reason: damaged ones, and those of other projects."""
    for path in sorted(folder.glob(f"*{_SUFFIX}{DAMAGED}")):
        yield path, "damaged"
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            its_project = orjson.loads(of_process(FileLocks).read(path).partition(b"\n")[0]).get("project", project)
            if its_project != project:
                yield path, f"of the project {its_project!r}"


def _plan_of(path: Path) -> Path:
    return path.with_suffix(".plan")
