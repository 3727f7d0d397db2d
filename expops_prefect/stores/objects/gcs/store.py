"""Objects in a Google Cloud Storage bucket.

A content-addressed object is uploaded once, under a precondition, and downloaded once to each
machine. A large object is fetched in parallel ranges into a local copy, which is then mapped like
any local file. Google's client verifies checksums in transit; the cache verifies digests afterwards.
"""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from expops_prefect._internal.files import close_to_others, make_folder
from expops_prefect.errors import NameRefusedError, ObjectStoreError
from expops_prefect.stores.objects.base import TEMPORARY, Buffer, ObjectInfo, ObjectStore, check_key, check_prefix
from expops_prefect.stores.objects.gcs.client import Connection, translated
from expops_prefect.stores.objects.gcs.transfer import MULTIPART, PARALLEL_FROM, RANGE, download, retry, upload, whole
from expops_prefect.stores.objects.multi_buffer_reader import PartsReader

_ENCODED: Final = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})


class GCSObjects:
    """An :class:`~expops_prefect.stores.objects.base.ObjectStore` in a bucket.

    Args:
        bucket: the bucket's name.
        prefix: the start of all object names, ``<project id>/``.
        gcp_project: the Google Cloud project; ``None`` to take it from the credentials.
        credentials: a service account's file; ``None`` for application default credentials.
        endpoint: the URL of an emulator, which is used without credentials.
        copies: the folder of local copies; without one, objects cannot be mapped.
        timeout: seconds for one request, and for all its attempts together.
    """

    def __init__(
        self,
        *,
        bucket: str,
        prefix: str,
        gcp_project: str | None = None,
        credentials: str | None = None,
        endpoint: str | None = None,
        copies: Path | None = None,
        timeout: float = 30.0,
    ) -> None:
        self._settings: dict[str, Any] = {
            "bucket": bucket,
            "prefix": prefix,
            "gcp_project": gcp_project,
            "credentials": credentials,
            "endpoint": endpoint,
            "copies": copies,
            "timeout": timeout,
        }
        self._bucket_name = bucket
        self._prefix = prefix
        self._endpoint = endpoint
        self._copies = copies
        self._timeout = timeout
        self._google = (gcp_project, credentials, endpoint)
        self._opened = Connection(*self._google)
        self.calls: Counter[str] = Counter()
        """Requests of this object by kind, and bytes: the basis of a bill."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (_remade, (self._settings,))

    def __deepcopy__(self, memo: dict[int, object]) -> GCSObjects:
        return _remade(self._settings)

    def __repr__(self) -> str:
        return f"GCSObjects({self.describe()!r})"

    # Writes ------------------------------------------------------------------------------------

    def put(self, key: str, parts: Sequence[Buffer], *, read_only: bool = False) -> ObjectInfo:  # noqa: ARG002
        """See :class:`~expops_prefect.stores.objects.base.ObjectStore`."""
        with self._translated("write", key):
            info = self._upload(key, PartsReader(parts), None)
            self._drop_copy(key)
            return info

    def create(
        self,
        key: str,
        parts: Sequence[Buffer],
        *,
        read_only: bool = False,  # noqa: ARG002
        flush: bool = True,  # noqa: ARG002
    ) -> ObjectInfo | None:
        """See :class:`~expops_prefect.stores.objects.base.ObjectStore`."""
        from google.api_core.exceptions import PreconditionFailed

        reader = PartsReader(parts)
        with self._translated("write", key):
            # Do not send a large object that exists already.
            there = self._reload(key) if reader.size > MULTIPART else None
            if there is None:
                try:
                    return self._upload(key, reader, 0)
                except PreconditionFailed:
                    there = self._reload(key)
            if there is not None and there.size == reader.size:
                return None
            info = self._upload(key, reader, None)
            self._drop_copy(key)
            return info

    def _upload(self, key: str, reader: PartsReader, generation: int | None) -> ObjectInfo:
        blob = self._blob(key)
        upload(blob, reader, generation=generation, timeout=self._timeout)
        self._count(writes=1, bytes_written=reader.size)
        return _info(key, blob)

    def refresh(self, key: str) -> ObjectInfo | None:
        """See :meth:`ObjectStore.refresh`. The bucket copies the object onto itself: no bytes move."""
        from google.api_core.exceptions import NotFound

        with self._translated("refresh", key):
            source, target, token = self._blob(key), self._blob(key), None
            try:
                while True:
                    self._count(writes=1)
                    token, _, _ = target.rewrite(source, token=token, **self._limits())
                    if token is None:
                        return _info(key, target)
            except NotFound:
                self._require_bucket()
                return None

    def delete(self, key: str, *, stamp: str | None = None) -> bool:
        """See :meth:`ObjectStore.delete`. A stamp is the generation, which the bucket checks."""
        from google.api_core.exceptions import NotFound, PreconditionFailed

        generation: int | None = None
        with self._translated("delete", key):
            if stamp is not None:
                found = self._reload(key)
                if found is None or _info(key, found).stamp != stamp:
                    return False
                generation = found.generation
            self._count(writes=1)
            try:
                self._blob(key).delete(if_generation_match=generation, **self._limits())
            except PreconditionFailed:
                return False
            except NotFound:
                self._require_bucket()
                self._drop_copy(key)
                return False
            self._drop_copy(key)
            return True

    # Reads -------------------------------------------------------------------------------------

    def get(self, key: str) -> bytes | None:
        """See :class:`~expops_prefect.stores.objects.base.ObjectStore`."""
        from google.api_core.exceptions import NotFound

        with self._translated("read", key):
            self._count(reads=1)
            try:
                data: bytes = self._blob(key).download_as_bytes(**self._limits(), checksum="crc32c", **whole())
            except NotFound:
                self._require_bucket()
                return None
            self._count(bytes_read=len(data))
            return data

    def fetch(self, key: str) -> Path | None:
        """See :class:`~expops_prefect.stores.objects.base.ObjectStore`. Downloads once; later calls give the copy."""
        from google.api_core.exceptions import NotFound

        copy = self._copy_of(key)
        if copy is None:
            return None
        if copy.is_file():
            return copy
        with self._translated("read", key):
            blob = self._reload(key)
            if blob is None:
                return None
            temporary = copy.with_name(f"{TEMPORARY}{secrets.token_hex(8)}")
            try:
                make_folder(copy.parent)
                size = int(blob.size)
                self._count(reads=1 if size < PARALLEL_FROM else -(-size // RANGE), bytes_read=size)
                download(blob, temporary, timeout=self._timeout)
                close_to_others(temporary)
                temporary.replace(copy)
            except NotFound:  # removed between the two requests
                return None
            finally:
                temporary.unlink(missing_ok=True)
        return copy

    def stat(self, key: str) -> ObjectInfo | None:
        """See :class:`~expops_prefect.stores.objects.base.ObjectStore`. The stamp is the object's generation."""
        with self._translated("read", key):
            blob = self._reload(key)
            return None if blob is None else _info(key, blob)

    def _reload(self, key: str) -> Any | None:
        """The object with its metadata, as Google's client holds it."""
        from google.api_core.exceptions import NotFound

        blob = self._blob(key)
        self._count(stats=1)
        try:
            blob.reload(**self._limits())
        except NotFound:
            self._require_bucket()
            return None
        return blob

    def _require_bucket(self) -> None:
        """Raise Google's error if the bucket is what was not found: a missing object is not a failure."""
        connection = self._connection()
        if not connection.bucket_seen:
            # Looking the bucket up needs a permission that the role on objects does not include.
            list(self._blobs("", most=1))
            connection.bucket_seen = True

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See :class:`~expops_prefect.stores.objects.base.ObjectStore`."""
        check_prefix(prefix)
        return self._listed(prefix)

    def _listed(self, prefix: str) -> Iterator[ObjectInfo]:
        with self._translated("list", prefix):
            for blob in self._blobs(prefix):
                name = blob.name[len(self._prefix) :]
                key = name.replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%")
                try:
                    check_key(key)
                except NameRefusedError:  # a foreign object, such as the "folder/" that Google's console makes
                    continue
                yield _info(key, blob)

    def _blobs(self, prefix: str, most: int | None = None) -> Any:
        self._count(lists=1)
        return self._client().list_blobs(
            self._bucket_name,
            prefix=self._name(prefix),
            max_results=most,
            fields="items(name,size,generation,updated),nextPageToken",
            **self._limits(),
        )

    def path(self, key: str) -> Path | None:
        """See :class:`~expops_prefect.stores.objects.base.ObjectStore`: the copy, if there is one on this machine."""
        copy = self._copy_of(key)
        return copy if copy is not None and copy.is_file() else None

    def uri(self, key: str) -> str:
        """See :class:`~expops_prefect.stores.objects.base.ObjectStore`."""
        check_key(key)
        return f"gs://{self._bucket_name}/{self._name(key)}"

    # Life --------------------------------------------------------------------------------------

    def ping(self) -> None:
        """See :class:`~expops_prefect.stores.objects.base.ObjectStore`."""
        key = f"expops-prefect-ping-{secrets.token_hex(8)}"
        self.put(key, [b"ping"])
        found = self.get(key)
        if not self.delete(key) or found != b"ping":
            raise ObjectStoreError(f"{self.describe()} does not keep what is written to it")

    def close(self) -> None:
        """See :class:`~expops_prefect.stores.objects.base.ObjectStore`."""
        self._connection().close()

    def describe(self) -> str:
        """See :class:`~expops_prefect.stores.objects.base.ObjectStore`."""
        place = f"gs://{self._bucket_name}/{self._prefix}"
        return place if self._endpoint is None else f"{place} at {self._endpoint}"

    def _name(self, key: str) -> str:
        return self._prefix + key.translate(_ENCODED)

    def _blob(self, key: str) -> Any:
        check_key(key)
        return self._client().bucket(self._bucket_name).blob(self._name(key))

    def _copy_of(self, key: str) -> Path | None:
        check_key(key)
        return None if self._copies is None else self._copies / key

    def _drop_copy(self, key: str) -> None:
        copy = self._copy_of(key)
        if copy is not None:
            copy.unlink(missing_ok=True)

    def _limits(self) -> dict[str, Any]:
        """Timeouts for one request, and for all its attempts together."""
        return {"timeout": self._timeout, "retry": retry(self._timeout)}

    def _count(self, **amounts: int) -> None:
        with self._connection().counting:
            self.calls.update(amounts)

    def _connection(self) -> Connection:
        """The connection of this process; a forked child makes its own."""
        opened = self._opened
        if opened.process != os.getpid():
            opened = self._opened = Connection(*self._google)
        return opened

    def _client(self) -> Any:
        return self._connection().client()

    def _translated(self, verb: str, key: str) -> AbstractContextManager[None]:
        return translated(verb, f"gs://{self._bucket_name}/{self._prefix}{key}")


def _remade(settings: dict[str, Any]) -> GCSObjects:
    return GCSObjects(**settings)


def _info(key: str, blob: Any) -> ObjectInfo:
    return ObjectInfo(key, int(blob.size), f"generation {blob.generation}", blob.updated.timestamp())


if TYPE_CHECKING:
    _conforms: type[ObjectStore] = GCSObjects
