"""The contract of an object store; it names no backend.

Keys are relative paths of ``/``-separated components, as :mod:`expops_prefect.models.names` makes them.
A key that is empty, absolute, has an empty, ``.`` or ``..`` component, a backslash, a NUL, a
component over 255 bytes or one that starts with ``.tmp-`` (unfinished writes) raises
:class:`~expops_prefect.errors.NameRefusedError`; every backend checks with :func:`check_key`.

A write is visible whole or not at all, even if the writer or the machine is killed. Methods
may be called from any thread and any process at once. A store connects on first use and
can be pickled and deep-copied. Failures raise :class:`~expops_prefect.errors.ObjectStoreError`;
absence is ``None`` or ``False``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, TypeAlias, runtime_checkable

from expops_prefect.errors import NameRefusedError

Buffer: TypeAlias = bytes | bytearray | memoryview

TEMPORARY: Final = ".tmp-"
"""The start of the names of unfinished writes."""

GRACE: Final = 3600.0
"""Seconds for which a garbage collection of the cache spares objects that were written or refreshed.

Before you refer to an object, make sure that it is no older than half of this; the other half is the
time to write the record. All releases that share a store must agree on the value.
"""

_MAX_COMPONENT: Final = 255


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object: its key, size in bytes, and a stamp that changes with every write.

    The stamp is one line of text; on files it holds size, mtime, ctime and inode. Where a service tells no more than
    the second in which the same bytes were written, two writes in one second may have the same stamp, but not a
    refresh.
    """

    key: str
    size: int
    stamp: str
    modified: float = field(default=0.0, compare=False)
    """When it was last written or refreshed, epoch seconds by the store's clock."""


class ObjectStore(Protocol):
    """Whole objects under relative keys. The module's docstring says what all methods share."""

    def put(self, key: str, parts: Sequence[Buffer], *, read_only: bool = False) -> ObjectInfo:
        """Write an object from consecutive buffers, replacing an existing one.

        Args:
            parts: written in order without being joined in memory.
            read_only: files get mode 0444.
        """

    def create(
        self, key: str, parts: Sequence[Buffer], *, read_only: bool = False, flush: bool = True
    ) -> ObjectInfo | None:
        """Write an object unless one of the same size exists; ``None`` if it does.

        For content-addressed keys, where an existing object has the same content. One of another
        size was damaged and is replaced. The stamp of the new object is empty, and its time 0, where the service
        would have to be asked again; :meth:`stat` does that.

        Args:
            key: its key.
            parts: see :meth:`put`.
            read_only: see :meth:`put`.
            flush: pass ``False`` if the content is kept elsewhere too: a crash of the machine before the
                file system has written it may leave a damaged file.
        """

    def get(self, key: str) -> bytes | None:
        """The whole object, or ``None``."""

    def stat(self, key: str) -> ObjectInfo | None:
        """The object's size and stamp, or ``None``."""

    def refresh(self, key: str) -> ObjectInfo | None:
        """Make an object as new as if it had been written now; ``None`` if it is gone and must be written.

        Its bytes stay, its stamp changes.
        """

    def delete(self, key: str, *, stamp: str | None = None) -> bool:
        """Remove an object; return whether it was removed.

        Args:
            stamp: remove it only if it still has this stamp. The check and the removal are atomic: an
                object that was written again or refreshed stays.
        """

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Objects whose key starts with this text, ascending, without unfinished writes."""

    def path(self, key: str) -> Path | None:
        """The local file of an object, to map into memory; ``None`` if there is no such file."""

    def fetch(self, key: str) -> Path | None:
        """Like :meth:`path`, but downloads the object if necessary; ``None`` if it or a place for it is missing.

        The content of the copy has not been checked: compare its digest.
        """

    def uri(self, key: str) -> str:
        """The address that ExpOps' readers open: an absolute path, or ``gs://bucket/…``."""

    def ping(self) -> None:
        """Raise :class:`ObjectStoreError` unless an object can be written, read and removed."""

    def close(self) -> None:
        """Close what this object opened. The next use opens it again."""

    def describe(self) -> str:
        """One line for people: kind and location, without secrets."""


@runtime_checkable
class TakesFiles(Protocol):
    """An object store whose objects are files of this machine: a file becomes an object without being copied."""

    def scratch(self) -> Path:
        """A new path for such a file, on the same file system. What a killed process leaves there is swept."""

    def take(self, key: str, file: Path) -> ObjectInfo | None:
        """Make a file an object unless one of the same size exists; then ``None``, and the file is removed.

        Args:
            key: its key, derived from its content.
            file: a complete file at a path from :meth:`scratch`.
        """


def check_key(key: str) -> None:
    """Refuse a key that the module's docstring does not allow.

    Raises:
        NameRefusedError: the message says what is wrong with the key.
    """
    if "\\" in key or "\0" in key:
        raise NameRefusedError(f"object key {key!r} has a backslash or a NUL")
    for component in key.split("/"):
        if component in {"", ".", ".."}:
            raise NameRefusedError(f"object key {key!r} is empty, absolute or has the component {component!r}")
        if component.startswith(TEMPORARY):
            raise NameRefusedError(f"object key {key!r} has a component with the reserved start {TEMPORARY!r}")
        try:
            length = len(component.encode())
        except UnicodeEncodeError as error:
            raise NameRefusedError(f"object key {key!r} is not valid Unicode") from error
        if length > _MAX_COMPONENT:
            raise NameRefusedError(f"object key {key!r} has a component of over {_MAX_COMPONENT} bytes")


def check_prefix(prefix: str) -> None:
    """Refuse a prefix that no key can start with. The same rules apply, except to the last, unfinished component."""
    head, separator, tail = prefix.rpartition("/")
    if separator:
        check_key(head)
    if "\\" in tail or "\0" in tail:
        raise NameRefusedError(f"object prefix {prefix!r} has a backslash or a NUL")
