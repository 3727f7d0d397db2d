"""Objects in a Google Cloud Storage bucket.

What is named by its content is uploaded once, under a precondition, and downloaded once to each
machine: a large object is fetched in parallel ranges into a local copy, which is then mapped like
any local file. Checksums are checked on the way by Google's client, digests afterwards by the cache.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from expops_prefect.errors import ExpOpsPrefectError, ObjectStoreError
from expops_prefect.objects.base import TEMPORARY, Buffer, ObjectInfo, ObjectStore, check_key, check_prefix
from expops_prefect.objects.parts import PartsReader

_UPLOAD_CHUNK: Final = 32 << 20
_MULTIPART: Final = 8 << 20
"""Up to here Google's client uploads in one request, above in a session of chunks."""
_PARALLEL_FROM: Final = 32 << 20
_RANGE: Final = 16 << 20
_WORKERS: Final = 8
_CONNECTIONS: Final = 32
_ENCODED: Final = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_ROLE: Final = "give the service account the role Storage Object Admin on the bucket"


class GCSObjects:
    """An :class:`~expops_prefect.objects.base.ObjectStore` in a bucket.

    Args:
        bucket: the bucket's name.
        prefix: what the names of all objects start with, ``<project id>/``.
        gcp_project: the Google Cloud project; ``None`` as the credentials say.
        credentials: a service account's file; ``None`` for application default credentials.
        endpoint: the URL of an emulator, which is used without credentials.
        copies: the folder of local copies; without one nothing can be mapped.
        timeout: seconds for one request, and for all tries of it together.
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
        self._settings = {
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
        self._gcp_project = gcp_project
        self._credentials = credentials
        self._endpoint = endpoint
        self._copies = copies
        self._timeout = timeout
        self._lock = threading.Lock()
        self._connected: tuple[int, Any] | None = None
        self.calls: Counter[str] = Counter()
        """Requests of this object by kind, and bytes: what a bill is made of."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (_remade, (self._settings,))

    def __deepcopy__(self, memo: dict[int, object]) -> GCSObjects:
        return _remade(self._settings)

    def __repr__(self) -> str:
        return f"GCSObjects({self.describe()!r})"

    # Writes ------------------------------------------------------------------------------------

    def put(self, key: str, parts: Sequence[Buffer], *, read_only: bool = False) -> ObjectInfo:  # noqa: ARG002
        """See :class:`~expops_prefect.objects.base.ObjectStore`."""
        with self._translated("write", key):
            return self._upload(key, PartsReader(parts), None)

    def create(
        self,
        key: str,
        parts: Sequence[Buffer],
        *,
        read_only: bool = False,  # noqa: ARG002
    ) -> ObjectInfo | None:
        """See :class:`~expops_prefect.objects.base.ObjectStore`."""
        from google.api_core.exceptions import PreconditionFailed

        reader = PartsReader(parts)
        with self._translated("write", key):
            # A large object is not sent for nothing.
            there = self.stat(key) if reader.size > _MULTIPART else None
            if there is None:
                try:
                    return self._upload(key, reader, 0)
                except PreconditionFailed:
                    there = self.stat(key)
            if there is not None and there.size == reader.size:
                return None
            return self._upload(key, reader, None)

    def _upload(self, key: str, reader: PartsReader, generation: int | None) -> ObjectInfo:
        reader.seek(0)
        blob = self._blob(key)
        blob.chunk_size = _UPLOAD_CHUNK
        blob.upload_from_file(
            reader,
            size=reader.size,
            content_type="application/octet-stream",
            if_generation_match=generation,
            checksum="crc32c",
            timeout=self._timeout,
            retry=self._retry(),
        )
        self.calls["writes"] += 1
        self.calls["bytes_written"] += reader.size
        return _info(key, blob)

    def delete(self, key: str) -> bool:
        """See :class:`~expops_prefect.objects.base.ObjectStore`."""
        from google.api_core.exceptions import NotFound

        with self._translated("delete", key):
            self._drop_copy(key)
            self.calls["writes"] += 1
            try:
                self._blob(key).delete(timeout=self._timeout, retry=self._retry())
            except NotFound as error:
                _raise_if_no_bucket(error)
                return False
            return True

    # Reads -------------------------------------------------------------------------------------

    def get(self, key: str) -> bytes | None:
        """See :class:`~expops_prefect.objects.base.ObjectStore`."""
        from google.api_core.exceptions import NotFound

        with self._translated("read", key):
            self.calls["reads"] += 1
            try:
                data: bytes = self._blob(key).download_as_bytes(
                    timeout=self._timeout, retry=self._retry(), checksum="crc32c", raw_download=True
                )
            except NotFound as error:
                _raise_if_no_bucket(error)
                return None
            self.calls["bytes_read"] += len(data)
            return data

    def fetch(self, key: str) -> Path | None:
        """See :class:`~expops_prefect.objects.base.ObjectStore`. Downloads once; later calls give the copy."""
        from google.api_core.exceptions import NotFound

        copy = self._copy_of(key)
        if copy is None:
            return None
        if copy.is_file():
            return copy
        with self._translated("read", key):
            temporary = copy.with_name(f"{TEMPORARY}{secrets.token_hex(8)}")
            try:
                copy.parent.mkdir(parents=True, exist_ok=True)
                info = self.stat(key)
                if info is None:
                    return None
                self._download(key, info.size, temporary)
                temporary.chmod(0o444)
                temporary.replace(copy)
            except NotFound as error:
                _raise_if_no_bucket(error)
                return None
            finally:
                temporary.unlink(missing_ok=True)
        return copy

    def _download(self, key: str, size: int, target: Path) -> None:
        from google.cloud.storage import transfer_manager

        self.calls["reads"] += 1
        self.calls["bytes_read"] += size
        blob = self._blob(key)
        if size < _PARALLEL_FROM:
            with target.open("wb") as file:
                blob.download_to_file(
                    file, timeout=self._timeout, retry=self._retry(), checksum="crc32c", raw_download=True
                )
            return
        transfer_manager.download_chunks_concurrently(
            blob,
            str(target),
            chunk_size=_RANGE,
            max_workers=_WORKERS,
            worker_type=transfer_manager.THREAD,
            download_kwargs={"timeout": self._timeout, "retry": self._retry()},
        )

    def stat(self, key: str) -> ObjectInfo | None:
        """See :class:`~expops_prefect.objects.base.ObjectStore`. The stamp is the object's generation."""
        from google.api_core.exceptions import NotFound

        with self._translated("read", key):
            blob = self._blob(key)
            self.calls["stats"] += 1
            try:
                blob.reload(timeout=self._timeout, retry=self._retry())
            except NotFound as error:
                _raise_if_no_bucket(error)
                return None
            return _info(key, blob)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See :class:`~expops_prefect.objects.base.ObjectStore`."""
        check_prefix(prefix)
        return self._listed(prefix)

    def _listed(self, prefix: str) -> Iterator[ObjectInfo]:
        with self._translated("list", prefix):
            self.calls["lists"] += 1
            blobs = self._client().list_blobs(
                self._bucket_name,
                prefix=self._name(prefix),
                fields="items(name,size,generation),nextPageToken",
                timeout=self._timeout,
                retry=self._retry(),
            )
            for blob in blobs:
                name = blob.name[len(self._prefix) :]
                yield _info(name.replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%"), blob)

    def path(self, key: str) -> Path | None:
        """See :class:`~expops_prefect.objects.base.ObjectStore`: the copy, if there is one on this machine."""
        copy = self._copy_of(key)
        return copy if copy is not None and copy.is_file() else None

    def uri(self, key: str) -> str:
        """See :class:`~expops_prefect.objects.base.ObjectStore`."""
        check_key(key)
        return f"gs://{self._bucket_name}/{self._name(key)}"

    # Life --------------------------------------------------------------------------------------

    def ping(self) -> None:
        """See :class:`~expops_prefect.objects.base.ObjectStore`."""
        key = f"expops-prefect-ping-{secrets.token_hex(8)}"
        self.put(key, [b"ping"])
        found = self.get(key)
        if not self.delete(key) or found != b"ping":
            raise ObjectStoreError(f"{self.describe()} does not keep what is written to it")

    def close(self) -> None:
        """See :class:`~expops_prefect.objects.base.ObjectStore`."""
        with self._lock:
            connected, self._connected = self._connected, None
        if connected is not None and connected[0] == os.getpid():
            connected[1].close()

    def describe(self) -> str:
        """See :class:`~expops_prefect.objects.base.ObjectStore`."""
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

    def _retry(self) -> Any:
        from google.cloud.storage.retry import DEFAULT_RETRY

        # Every write here can be repeated: the same name gets the same bytes.
        return DEFAULT_RETRY.with_timeout(self._timeout)

    def _client(self) -> Any:
        connected = self._connected
        if connected is not None and connected[0] == os.getpid():
            return connected[1]
        with self._lock:
            if self._connected is None or self._connected[0] != os.getpid():
                self._connected = os.getpid(), self._connect()
            return self._connected[1]

    def _connect(self) -> Any:
        from google.auth.credentials import AnonymousCredentials
        from google.cloud.storage import Client
        from requests.adapters import HTTPAdapter

        if self._endpoint is not None:
            client = Client(
                project=self._gcp_project or "emulator",
                credentials=AnonymousCredentials(),
                client_options={"api_endpoint": self._endpoint},
            )
        elif self._credentials is not None:
            client = Client.from_service_account_json(self._credentials, project=self._gcp_project)
        else:
            client = Client(project=self._gcp_project)
        for scheme in ("https://", "http://"):
            # Google's default keeps ten connections, too few for parallel ranges from several tasks.
            client._http.mount(scheme, HTTPAdapter(pool_maxsize=_CONNECTIONS))
        return client

    @contextmanager
    def _translated(self, verb: str, key: str) -> Iterator[None]:
        import google.auth.exceptions
        import requests
        from google.api_core.exceptions import GoogleAPIError, PreconditionFailed
        from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

        foreign = (
            GoogleAPIError,
            google.auth.exceptions.GoogleAuthError,
            requests.RequestException,
            DataCorruption,
            InvalidResponse,
            OSError,
            ValueError,
        )
        try:
            yield
        except (PreconditionFailed, ExpOpsPrefectError):
            raise
        except foreign as error:
            raise ObjectStoreError(f"cannot {verb} {self.uri_of(key)}: {_said(error)}") from error

    def uri_of(self, key: str) -> str:
        """The place of a key or prefix, for messages."""
        return f"gs://{self._bucket_name}/{self._prefix}{key}"


def _remade(settings: dict[str, Any]) -> GCSObjects:
    return GCSObjects(**settings)


def _info(key: str, blob: Any) -> ObjectInfo:
    return ObjectInfo(key, int(blob.size), f"generation {blob.generation}")


def _raise_if_no_bucket(error: Exception) -> None:
    # An object that is not there is no failure; the service's own words tell the two apart.
    if "specified bucket does not exist" in str(error):
        raise error


def _said(error: Exception) -> str:
    """What a foreign error means and what to do; none of its text that could hold a credential."""
    import google.auth.exceptions
    from google.api_core import exceptions

    if isinstance(error, google.auth.exceptions.DefaultCredentialsError):
        return (
            "no Google credentials were found; set credentials_json in the configuration, or "
            "GOOGLE_APPLICATION_CREDENTIALS, or run: gcloud auth application-default login"
        )
    if isinstance(error, google.auth.exceptions.RefreshError | exceptions.Unauthorized):
        return "the credentials are expired or revoked; make a new key and set credentials_json to it"
    if isinstance(error, google.auth.exceptions.GoogleAuthError):
        return f"the credentials cannot be used ({type(error).__name__}); check credentials_json"
    if isinstance(error, exceptions.Forbidden):
        return f"permission denied; {_ROLE}"
    if isinstance(error, exceptions.NotFound):
        return "the bucket does not exist; create it, or correct experiment.cache.object_store.bucket"
    if isinstance(error, exceptions.RetryError) or type(error).__module__.startswith("requests"):
        return f"Google Cloud Storage cannot be reached ({type(error).__name__}); check the network"
    if isinstance(error, OSError):
        return f"{error.strerror or error}; check the local folder of copies and the network"
    return f"{type(error).__name__}: {str(error)[:300]}"


if TYPE_CHECKING:
    _conforms: type[ObjectStore] = GCSObjects
