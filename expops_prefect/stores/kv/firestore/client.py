"""The connection to Firestore: reads, commits and queries, bounded in time, counted, with errors translated."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import grpc  # type: ignore[import-untyped, unused-ignore]
from google.api_core import exceptions, retry
from google.auth.exceptions import GoogleAuthError
from google.cloud.firestore_v1 import types
from google.cloud.firestore_v1.services.firestore import FirestoreClient

from expops_prefect._internal.diagnostics import suppress_repeats
from expops_prefect.errors import KVError, KVRefusedError
from expops_prefect.stores.kv.firestore.target import Target, explain, is_conflict, transport
from expops_prefect.stores.kv.firestore.values import Fields, decode
from expops_prefect.stores.kv.firestore.writes import version_of

_NOT_APPLIED: Final = (exceptions.Aborted, exceptions.ResourceExhausted)
_UNKNOWN: Final = (exceptions.ServiceUnavailable, exceptions.InternalServerError)
_PAGE: Final = 300

_Commit: Final = types.CommitRequest.pb()
_Filter: Final = types.StructuredQuery.FieldFilter.Operator


class Conflict(Exception):  # noqa: N818 - not a failure: another writer was faster
    """A commit's precondition did not hold; nothing was written."""


class Deadline:
    """The time by which a call must end."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._pause = 0.005
        # Another attempt takes time itself: without this margin the error would blame the network.
        self._last_attempt = self._end - 0.2 * seconds

    def left(self) -> float:
        """Seconds left; always above zero."""
        return max(self._end - time.monotonic(), 0.001)

    def wait_after_conflict(self, what: str) -> None:
        """Pause for the other writers, longer each time.

        Raises:
            KVError: the time is up.
        """
        time.sleep(min(random.SystemRandom().uniform(0, self._pause), self.left()))
        self._pause = min(self._pause * 1.7, 0.5)
        if time.monotonic() >= self._last_attempt:
            raise KVError(f"cannot write {what}: other writers kept changing it; try again, or write it less often")


class Found(NamedTuple):
    """A document as it was read: its fields and its version."""

    fields: Fields
    version: str


class Connection:
    """The Firestore client of one process. Document paths are relative to the target's root.

    Args:
        target: the database; connects on first use.
        calls: counts documents read, written and deleted, and remote calls.
    """

    def __init__(self, target: Target, calls: Counter[str]) -> None:
        self.target = target
        self._calls = calls
        self._lock = threading.Lock()
        self._client: Any = None
        self._metadata: list[tuple[str, str]] = [("google-cloud-resource-prefix", target.resource)]
        if target.emulator_host:
            self._metadata.append(("authorization", "Bearer owner"))

    def close(self) -> None:
        """Close the channel."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.transport.close()

    # Reads ---------------------------------------------------------------------------------------

    def get(self, document: str, deadline: Deadline) -> Found | None:
        """One document, or ``None``."""
        return self.get_many([document], deadline).get(document)

    def get_many(self, documents: Iterable[str], deadline: Deadline) -> dict[str, Found]:
        """The documents that exist, all read at the same moment.

        Args:
            documents: their paths.
            deadline: for the call.
        """
        wanted = list(dict.fromkeys(documents))
        if not wanted:
            return {}
        head = f"{self.target.documents}/"
        request: dict[str, Any] = {"database": self.target.resource, "documents": [head + path for path in wanted]}
        found: dict[str, Found] = {}
        with self._call("read", deadline, reads=len(wanted)) as options:
            for answer in self._api().batch_get_documents(request=request, **options):
                document = types.BatchGetDocumentsResponse.pb(answer).found
                if document.name:
                    found[document.name[len(head) :]] = _found(document)
        return found

    def query(
        self,
        collection: str,
        deadline: Deadline,
        *,
        order: str,
        lower: str = "",
        strict: bool = False,
        upper: str | None = None,
        limit: int,
    ) -> list[tuple[str, Found]]:
        """Documents of a collection in the order of a field, with their ids.

        Args:
            collection: its path.
            deadline: for the call.
            order: the field, or ``__name__`` for the id.
            lower: only ids or values from this text on.
            strict: leave ``lower`` itself out.
            upper: only ids or values below this text.
            limit: at most this many documents.
        """
        parent, _, name = f"{self.target.documents}/{collection}".rpartition("/")

        def bound(operator: Any, text: str) -> dict[str, Any]:
            by_name = order == "__name__"
            value = {"reference_value": f"{parent}/{name}/{text}"} if by_name else {"string_value": text}
            return {"field_filter": {"field": {"field_path": order}, "op": operator, "value": value}}

        filters = []
        if lower or order != "__name__":
            filters.append(bound(_Filter.GREATER_THAN if strict else _Filter.GREATER_THAN_OR_EQUAL, lower))
        if upper is not None:
            filters.append(bound(_Filter.LESS_THAN, upper))
        structured: dict[str, Any] = {
            "from_": [{"collection_id": name}],
            "order_by": [{"field": {"field_path": order}}],
            "limit": limit,
        }
        if filters:
            operator = types.StructuredQuery.CompositeFilter.Operator.AND
            structured["where"] = {"composite_filter": {"op": operator, "filters": filters}}
        found: list[tuple[str, Found]] = []
        with self._call("scan", deadline) as options:
            request = {"parent": parent, "structured_query": structured}
            for answer in self._api().run_query(request=request, **options):
                document = types.RunQueryResponse.pb(answer).document
                if document.name:
                    found.append((document.name.rpartition("/")[2], _found(document)))
        self._count(reads=max(len(found), 1))
        return found

    def ids(self, collection: str, deadline: Deadline) -> Iterator[str]:
        """The ids of a collection's documents, including those that only hold collections."""
        parent, _, name = f"{self.target.documents}/{collection}".rpartition("/")
        request: dict[str, Any] = {
            "parent": parent,
            "collection_id": name,
            "page_size": _PAGE,
            "show_missing": True,
            "mask": {"field_paths": ["__name__"]},
        }
        found: list[str] = []
        with self._call("scan", deadline) as options:
            for page in self._api().list_documents(request=request, **options).pages:
                found.extend(document.name.rpartition("/")[2] for document in page.documents)
        self._count(reads=max(len(found), 1))
        return iter(found)

    # Writes --------------------------------------------------------------------------------------

    def commit(self, writes: Sequence[Any], deadline: Deadline, *, again: bool) -> list[Any]:
        """Apply all writes or none; return the result of each, with its version and its transforms' values.

        Args:
            writes: made by :class:`~expops_prefect.stores.kv.firestore.writes.Writes`.
            deadline: for the call.
            again: whether applying the writes twice does no harm. If it does, a lost answer raises an
                error, and the caller decides.

        Raises:
            Conflict: a precondition did not hold.
            KVRefusedError: Firestore will never accept them, for instance because a document would be too large.
        """
        request = types.CommitRequest.wrap(_Commit(database=self.target.resource, writes=writes))
        deletes = sum(1 for write in writes if write.delete)
        errors = (*_NOT_APPLIED, *_UNKNOWN) if again else _NOT_APPLIED
        try:
            with self._call("write", deadline, errors, writes=len(writes) - deletes, deletes=deletes) as options:
                return list(types.CommitResponse.pb(self._api().commit(request=request, **options)).write_results)
        except KVError as error:
            if is_conflict(error.__cause__):
                raise Conflict from error
            raise

    def _api(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = FirestoreClient(transport=transport(self.target))
            return self._client

    @contextmanager
    def _call(
        self,
        verb: str,
        deadline: Deadline,
        errors: tuple[type[Exception], ...] = (*_NOT_APPLIED, *_UNKNOWN),
        **documents: int,
    ) -> Iterator[dict[str, Any]]:
        self._count(rpcs=1, **documents)
        left = deadline.left()
        policy = retry.Retry(retry.if_exception_type(*errors), initial=0.05, maximum=1.0, multiplier=2.0, timeout=left)
        try:
            yield {"timeout": left, "retry": policy, "metadata": self._metadata}
        except (exceptions.GoogleAPIError, GoogleAuthError, grpc.RpcError) as error:
            cause = error.cause if isinstance(error, exceptions.RetryError) and error.cause else error
            kind = KVRefusedError if isinstance(cause, exceptions.InvalidArgument) else KVError
            text = explain(cause, self.target)
            refused = isinstance(cause, exceptions.PermissionDenied | exceptions.Unauthenticated)
            if refused:
                suppress_repeats(text)
            raise kind(f"cannot {verb} in {self.target}: {text}").for_long(refused) from cause

    def _count(self, **numbers: int) -> None:
        with self._lock:
            self._calls.update({name: number for name, number in numbers.items() if number})


def _found(document: Any) -> Found:
    return Found({name: decode(value) for name, value in document.fields.items()}, version_of(document))
