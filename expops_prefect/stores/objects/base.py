"""What the project needs of an object store. The contract; no backend is named here.

Keys are relative paths of ``/``-separated components, as :mod:`expops_prefect.models.names` makes them.
A key that is empty, absolute, has an empty, ``.`` or ``..`` component, a backslash, a NUL, a
component over 255 bytes or one that starts with ``.tmp-`` (unfinished writes) raises
:class:`~expops_prefect.errors.NameRefusedError`; every backend checks with :func:`check_key`.

A write is seen whole or not at all, also after a kill of the writer or of the machine. Methods
may be called from any thread and any process at once. A store connects when it is first used and
can be pickled and deep-copied. Failures raise :class:`~expops_prefect.errors.ObjectStoreError`;
absence is ``None`` or ``False``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from expops_prefect.errors import NameRefusedError

Buffer: TypeAlias = bytes | bytearray | memoryview

TEMPORARY: Final = ".tmp-"
"""What the names of unfinished writes start with."""

GRACE: Final = 3600.0
"""Seconds for which a collection of the cache leaves alone what was written or refreshed.

Whoever is going to refer to an object makes sure that it is no older than half of this, and has half
of this to write the record. All releases that share a store must agree on it.
"""

_MAX_COMPONENT: Final = 255


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object: its key, size in bytes, and a stamp that changes whenever it may have been written to.

    The stamp is one line of text; on files it holds size, mtime, ctime and inode.
    """

    key: str
    size: int
    stamp: str
    modified: float = field(default=0.0, compare=False)
    """When it was written or refreshed last, epoch seconds by the store's clock."""


class ObjectStore(Protocol):
    """Whole objects under relative keys. See the module's text for what all methods share."""

    def put(self, key: str, parts: Sequence[Buffer], *, read_only: bool = False) -> ObjectInfo:
        """Write an object from buffers that follow one another, replacing any that was there.

        Args:
            parts: written in order without being joined in memory first.
            read_only: files get mode 0444.
        """

    def create(
        self, key: str, parts: Sequence[Buffer], *, read_only: bool = False, flush: bool = True
    ) -> ObjectInfo | None:
        """Write an object only if there is none of that size yet; ``None`` if there was.

        For content-addressed keys, where an object that exists has the same content. One that has
        another size was damaged and is replaced.

        Args:
            key: its key.
            parts: see :meth:`put`.
            read_only: see :meth:`put`.
            flush: ``False`` where the content is kept elsewhere too: the machine may go down before
                the file system has written it, and leave a file that is damaged.
        """

    def get(self, key: str) -> bytes | None:
        """The whole object, or ``None``."""

    def stat(self, key: str) -> ObjectInfo | None:
        """The object's size and stamp, or ``None``."""

    def refresh(self, key: str) -> ObjectInfo | None:
        """Make an object as new as one that was written now; ``None`` if it must be written: it is gone.

        Its bytes stay, its stamp changes.
        """

    def delete(self, key: str, *, stamp: str | None = None) -> bool:
        """Remove an object; whether that was done.

        Args:
            stamp: remove it only if it still has this stamp. Nothing comes between look and removal:
                an object that was written again or refreshed stays.
        """

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Objects whose key starts with this text, ascending. Unfinished writes are not among them."""

    def path(self, key: str) -> Path | None:
        """The local file of an object, for mapping it into memory; ``None`` where there is no such file."""

    def fetch(self, key: str) -> Path | None:
        """The same, after downloading the object if need be; ``None`` if there is no object or no place for it.

        What comes back is a copy whose content nobody has checked: compare its digest.
        """

    def uri(self, key: str) -> str:
        """What ExpOps' readers open: an absolute path, or ``gs://bucket/…``."""

    def ping(self) -> None:
        """Raise :class:`ObjectStoreError` unless an object can be written, read and removed."""

    def close(self) -> None:
        """Close what this object opened. Using it again opens it again."""

    def describe(self) -> str:
        """One line for people: kind and place, no secret."""


def check_key(key: str) -> None:
    """Refuse a key that the module's text does not allow.

    Raises:
        NameRefusedError: says which part of the key is wrong.
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
    """Refuse a prefix that no key can start with: the same rules, but for the last, unfinished component."""
    head, separator, tail = prefix.rpartition("/")
    if separator:
        check_key(head)
    if "\\" in tail or "\0" in tail:
        raise NameRefusedError(f"object prefix {prefix!r} has a backslash or a NUL")
