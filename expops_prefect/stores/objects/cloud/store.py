"""Objects in S3 or in Azure Blob Storage, by the library obstore.

A content-addressed object is uploaded once, under a precondition, and downloaded once to each machine, in parallel
ranges if it is large; the copy is then mapped like any local file. The cache verifies digests afterwards.
"""

from __future__ import annotations

import os
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from expops_prefect._internal.files import close_to_others, make_folder
from expops_prefect.errors import ObjectStoreError
from expops_prefect.stores.objects.base import TEMPORARY, Buffer, ObjectInfo, ObjectStore, check_key, check_prefix
from expops_prefect.stores.objects.cloud import removal, transfer
from expops_prefect.stores.objects.cloud.client import Connection, works_here
from expops_prefect.stores.objects.cloud.errors import translated
from expops_prefect.stores.objects.cloud.forked import Helper, anywhere
from expops_prefect.stores.objects.cloud.naming import described, encoded, key_of, stamp_of
from expops_prefect.stores.objects.cloud.removal import Marker
from expops_prefect.stores.objects.cloud.service import Service
from expops_prefect.stores.objects.multi_buffer_reader import PartsReader

_TRIES: Final = 5
"""How often an object is written again that another process removed meanwhile."""
_TICK: Final = 1.0
"""Seconds after which the time in a stamp of S3 differs."""
_MOST_COPIED: Final = 5 << 30
"""S3 copies no larger object in one request."""


class CloudObjects:
    """An :class:`~expops_prefect.stores.objects.base.ObjectStore` in a bucket or a container.

    Args:
        service: the bucket or container.
        prefix: the start of all object names, which ends with ``<project id>/``.
        copies: the folder of local copies; without one, objects cannot be mapped.
        timeout: seconds for one request, and for all its attempts together.
        life: seconds after which the announcement of a removal means nothing.
    """

    def __init__(
        self,
        service: Service,
        *,
        prefix: str,
        copies: Path | None = None,
        timeout: float = 30.0,
        life: float = removal.LIFE,
    ) -> None:
        settings = {"service": service, "prefix": prefix, "copies": copies, "timeout": timeout, "life": life}
        self._settings: dict[str, Any] = settings
        self._service = service
        self._prefix = prefix
        self._copies = copies
        self._timeout = timeout
        self._life = life
        self._opened = Connection(service, timeout)
        self._helper: Helper | None = None
        self.calls: Counter[str] = Counter()
        """Requests of this object by kind, and bytes: the basis of a bill."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (_remade, (self._settings,))

    def __deepcopy__(self, memo: dict[int, object]) -> CloudObjects:
        return _remade(self._settings)

    def __repr__(self) -> str:
        return f"CloudObjects({self.describe()!r})"

    # Writes ------------------------------------------------------------------------------------

    @anywhere
    def put(self, key: str, parts: Sequence[Buffer], *, read_only: bool = False) -> ObjectInfo:  # noqa: ARG002
        """See :class:`~expops_prefect.stores.objects.base.ObjectStore`."""
        reader = PartsReader(parts)
        name = self._name_of(key)
        with self._translated("write", key):
            for _ in range(_TRIES):
                self._upload(name, reader)
                self._drop_copy(key)
                self._marker(name).wait()
                found = self._look(name)
                if found is not None:
                    return self._info(key, found)
        raise ObjectStoreError(f"cannot write {self.uri(key)}: it is removed again and again")

    @anywhere
    def create(
        self,
        key: str,
        parts: Sequence[Buffer],
        *,
        read_only: bool = False,  # noqa: ARG002
        flush: bool = True,  # noqa: ARG002
    ) -> ObjectInfo | None:
        """See :meth:`ObjectStore.create`. Two that create the same large object at once may both have created it."""
        from obstore.exceptions import AlreadyExistsError

        reader = PartsReader(parts)
        name = self._name_of(key)
        with self._translated("write", key):
            for _ in range(_TRIES):
                if reader.size > transfer.MULTIPART:
                    # Do not send a large object that exists already.
                    if self._look(name) is None:
                        return self.put(key, parts)
                else:
                    try:
                        tag = self._upload(name, reader, mode="create")
                    except AlreadyExistsError:
                        pass
                    else:
                        return ObjectInfo(key, reader.size, stamp_of(tag) if self._service.tags_are_unique else "")
                self._marker(name).wait()
                there = self._look(name)
                if there is not None:
                    return None if there["size"] == reader.size else self.put(key, parts)
        raise ObjectStoreError(f"cannot write {self.uri(key)}: it is removed again and again")

    def _upload(self, name: str, reader: PartsReader, mode: Any = "overwrite") -> str:
        """Write an object; its entity tag."""
        self._count(writes=transfer.requests_of(reader.size), bytes_written=reader.size)
        return transfer.upload(self._client("content"), name, reader, mode)

    @anywhere
    def refresh(self, key: str) -> ObjectInfo | None:
        """See :meth:`ObjectStore.refresh`. The service copies the object: no bytes move.

        S3 refuses a copy onto itself, and gets two; an object that is removed in between is there again. One that is
        larger than S3 copies must be written.
        """
        name = self._name_of(key)
        with self._translated("refresh", key):
            while True:
                before = self._look(name)
                if before is None or not self._renew(name, before["size"]):
                    return None
                self._marker(name).wait()
                after = self._look(name)
                if after is None:
                    return None
                info = self._info(key, after)
                if info.stamp != self._info(key, before).stamp:
                    return info
                time.sleep(_TICK)

    def _renew(self, name: str, size: int) -> bool:
        """Copy an object onto itself; whether that was possible."""
        import obstore

        client = self._client("content")
        try:
            if self._service.copies_onto_itself:
                self._count(writes=1)
                obstore.copy(client, name, name)
                return True
            if size > _MOST_COPIED:
                return False
            aside = f"{self._prefix}{TEMPORARY}refresh/{secrets.token_hex(8)}"
            self._count(writes=3)
            obstore.copy(client, name, aside)
            try:
                obstore.copy(client, aside, name)
            finally:
                self._remove(aside)
            return True
        except FileNotFoundError:
            self._require_bucket()
            return False

    @anywhere
    def delete(self, key: str, *, stamp: str | None = None) -> bool:
        """See :meth:`ObjectStore.delete`. How the check and the removal are atomic is in :mod:`.removal`."""
        name = self._name_of(key)
        with self._translated("delete", key):
            if stamp is None:
                there = self._look(name) is not None
                if there:
                    self._remove(name)
                self._drop_copy(key)
                return there
            with self._marker(name).announced() as in_time:
                found = None if in_time is None else self._look(name)
                if found is None or in_time is None or self._info(key, found).stamp != stamp or not in_time():
                    return False
                self._remove(name, "once")
            self._drop_copy(key)
            return True

    def _remove(self, name: str, kind: str = "short") -> None:
        import obstore

        self._count(writes=1)
        try:
            obstore.delete(self._client(kind), name)
        except FileNotFoundError:
            self._require_bucket()

    def _marker(self, name: str) -> Marker:
        marker = f"{self._prefix}{TEMPORARY}removal/{name[len(self._prefix) :]}"
        return Marker(marker, self._write_marker, self._look, self._remove, self._life)

    def _write_marker(self, name: str, text: bytes, tag: str | None) -> bool:
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        try:
            self._upload(name, PartsReader([text]), "create" if tag is None else {"e_tag": tag})
        except (AlreadyExistsError, PreconditionError):
            return False
        return True

    # Reads -------------------------------------------------------------------------------------

    @anywhere
    def get(self, key: str) -> bytes | None:
        """See :class:`~expops_prefect.stores.objects.base.ObjectStore`."""
        import obstore

        name = self._name_of(key)
        with self._translated("read", key):
            self._count(reads=1)
            try:
                data = bytes(obstore.get(self._client("content"), name).bytes())
            except FileNotFoundError:
                self._require_bucket()
                return None
            self._count(bytes_read=len(data))
            return data

    @anywhere
    def fetch(self, key: str) -> Path | None:
        """See :class:`~expops_prefect.stores.objects.base.ObjectStore`. Downloads once; later calls give the copy."""
        from obstore.exceptions import PreconditionError

        name, copy = self._name_of(key), self._copy_of(key)
        if copy is None:
            return None
        if copy.is_file():
            return copy
        with self._translated("read", key):
            for _ in range(_TRIES):
                found = self._look(name)
                if found is None:
                    return None
                temporary = copy.with_name(f"{TEMPORARY}{secrets.token_hex(8)}")
                try:
                    make_folder(copy.parent)
                    size = found["size"]
                    self._count(reads=transfer.ranges_of(size), bytes_read=size)
                    transfer.download(self._client("content"), name, found, temporary)
                    close_to_others(temporary)
                    temporary.replace(copy)
                    return copy
                except PreconditionError:  # written while it was read
                    continue
                finally:
                    temporary.unlink(missing_ok=True)
        raise ObjectStoreError(f"cannot read {self.uri(key)}: it is written again and again")

    @anywhere
    def stat(self, key: str) -> ObjectInfo | None:
        """See :class:`~expops_prefect.stores.objects.base.ObjectStore`."""
        name = self._name_of(key)
        with self._translated("read", key):
            found = self._look(name)
            return None if found is None else self._info(key, found)

    def _look(self, name: str) -> Any | None:
        """What the service says of an object, as obstore describes it."""
        import obstore

        self._count(stats=1)
        try:
            return obstore.head(self._client("short"), name)
        except FileNotFoundError:
            self._require_bucket()
            return None

    def _require_bucket(self) -> None:
        """Raise obstore's error if the bucket is what was not found: a missing object is not a failure."""
        import obstore

        connection = self._connection()
        if not connection.bucket_seen:
            self._count(lists=1)
            list(obstore.list(self._client("short"), f"{self._prefix}{TEMPORARY}none"))
            connection.bucket_seen = True

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See :class:`~expops_prefect.stores.objects.base.ObjectStore`."""
        check_prefix(prefix)
        return self._listed(prefix) if works_here() else iter(self._list_at_once(prefix))

    @anywhere
    def _list_at_once(self, prefix: str) -> Sequence[ObjectInfo]:
        return tuple(self._listed(prefix))

    def _listed(self, prefix: str) -> Iterator[ObjectInfo]:
        import obstore

        with self._translated("list", prefix):
            # obstore lists folders, not every text with which a name may start.
            folder, start = (self._prefix + encoded(prefix)).rpartition("/")[::2]
            for page in obstore.list(self._client("short"), folder, chunk_size=1000):
                self._count(lists=1)
                for found in page:
                    key = key_of(found["path"][len(self._prefix) :])
                    if key is not None and found["path"].startswith(f"{folder}/{start}"):
                        yield self._info(key, found)

    def path(self, key: str) -> Path | None:
        """See :class:`~expops_prefect.stores.objects.base.ObjectStore`: the copy, if there is one on this machine."""
        copy = self._copy_of(key)
        return copy if copy is not None and copy.is_file() else None

    def uri(self, key: str) -> str:
        """See :class:`~expops_prefect.stores.objects.base.ObjectStore`."""
        return f"{self._service.scheme}://{self._service}/{self._name_of(key)}"

    # Life --------------------------------------------------------------------------------------

    @anywhere
    def ping(self) -> None:
        """See :class:`~expops_prefect.stores.objects.base.ObjectStore`."""
        key = f"expops-prefect-ping-{secrets.token_hex(8)}"
        first, again = self.create(key, [b"ping"]), self.create(key, [b"pong"])
        found = self.get(key)
        if not self.delete(key) or found != b"ping":
            why = "overwrites what was to be created" if found == b"pong" else "does not keep what is written to it"
            raise ObjectStoreError(f"{self.describe()} {why}")
        if first is None or again is not None:
            raise ObjectStoreError(f"{self.describe()} does not say whether an object exists")

    def close(self) -> None:
        """See :class:`~expops_prefect.stores.objects.base.ObjectStore`."""
        self._connection().close()

    def describe(self) -> str:
        """See :class:`~expops_prefect.stores.objects.base.ObjectStore`."""
        place = f"{self._service.scheme}://{self._service}/{self._prefix}"
        return place if self._service.endpoint is None else f"{place} at {self._service.endpoint}"

    def _name_of(self, key: str) -> str:
        check_key(key)
        return self._prefix + encoded(key)

    def _info(self, key: str, found: Any) -> ObjectInfo:
        return described(key, found, by_tag_alone=self._service.tags_are_unique)

    def _copy_of(self, key: str) -> Path | None:
        check_key(key)
        return None if self._copies is None else self._copies / key

    def _drop_copy(self, key: str) -> None:
        copy = self._copy_of(key)
        if copy is not None:
            copy.unlink(missing_ok=True)

    def _count(self, **amounts: int) -> None:
        with self._connection().counting:
            self.calls.update(amounts)

    def _connection(self) -> Connection:
        """The connection of this process; a forked child makes its own."""
        opened = self._opened
        if opened.process != os.getpid():
            opened = self._opened = Connection(self._service, self._timeout)
        return opened

    def helper(self) -> Helper:
        """The process that does the work of this one, which was forked."""
        if self._helper is None or self._helper.process != os.getpid():
            self._helper = Helper(self)
        return self._helper

    def _client(self, kind: str) -> Any:
        return self._connection().client(kind)

    def _translated(self, verb: str, key: str) -> AbstractContextManager[None]:
        return translated(self._service, verb, f"{self._service.scheme}://{self._service}/{self._prefix}{key}")


def _remade(settings: dict[str, Any]) -> CloudObjects:
    return CloudObjects(**settings)


if TYPE_CHECKING:
    _conforms: type[ObjectStore] = CloudObjects
