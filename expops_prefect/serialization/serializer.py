"""The serializer that Prefect calls."""

from __future__ import annotations

import base64
import binascii
import sys
from pathlib import Path
from typing import Any, Final

from prefect.serializers import Serializer
from pydantic import Field

from expops_prefect import names
from expops_prefect.errors import FormatError, IntegrityError, ResultNotStorableError
from expops_prefect.objects.base import Buffer
from expops_prefect.serialization.manifest import SPILL_BYTES, Packed, pack, unpack
from expops_prefect.serialization.payloads import Mapping, PayloadReader, PayloadRef

_HEAD: Final = b"expops-prefect envelope; the result is in ExpOps storage\n"
_FEW: Final = 1000  # paths in a longer collection are not looked for
_TEXT: Final = b"expops-prefect text 1\n"


def files_named(result: Any) -> list[Path]:
    """The paths that a result is, or that stand in it if it is a small collection."""
    items = result.values() if isinstance(result, dict) else result
    if not isinstance(result, dict | list | tuple | set | frozenset):
        items = (result,)
    elif len(result) > _FEW:
        return []
    return [item for item in items if isinstance(item, Path)]


def _is_there(file: Path) -> bool:
    try:
        return file.exists()
    except OSError:  # a name that is too long, a folder that may not be entered
        return False


class Envelope(bytes):
    """What Prefect carries, unchanged, between :class:`ExpOpsSerializer` and our storage.

    Its bytes are only a label. Prefect never looks inside, so nothing is copied on the way.

    Attributes:
        packed: the result in bytes; on the way back only its manifest.
        reader: where its payloads come from, on the way back.
        loaded: the result itself in a tuple, if it was unpacked before; taken once.
        files: whether the result names files, and all of them are there.
        failure: why there is nothing to store. Raised from ``dumps`` it would be Prefect's to report, in a
            long traceback and without a word on what to do; the storage reports it.
    """

    packed: Packed | None = None
    reader: PayloadReader | None = None
    loaded: tuple[Any] | None = None
    files: bool = False
    failure: ResultNotStorableError | None = None

    @classmethod
    def for_writing(cls, packed: Packed, result: Any) -> Envelope:
        """What ``dumps`` returns: everything that storage must write."""
        envelope = cls(_HEAD)
        envelope.packed = packed
        files = files_named(result)
        envelope.files = bool(files) and all(map(_is_there, files))
        return envelope

    @classmethod
    def for_reading(cls, manifest: bytes, reader: PayloadReader) -> Envelope:
        """What ``loads`` takes: a manifest whose digest was verified."""
        envelope = cls(_HEAD)
        envelope.packed, envelope.reader = Packed(manifest, ()), reader
        return envelope

    def load(self, *, files: bool = False) -> None:
        """Unpack the result now, for ``loads`` to take: whoever looks for a result learns here if it cannot be had.

        Args:
            files: whether the files that it names must be there.

        Raises:
            IntegrityError: one of them is not.
            Exception: whatever loading it raises, be it a class that is not there any more.
        """
        if self.packed is not None and self.reader is not None:
            result = unpack(self.packed.manifest, self.reader)
            for file in files_named(result) if files else ():
                if not _is_there(file):
                    raise IntegrityError(f"the result names {file}, which is not there any more")
            self.loaded = (result,)

    @classmethod
    def of_failure(cls, failure: ResultNotStorableError) -> Envelope:
        """What ``dumps`` returns for a result that cannot be pickled."""
        envelope = cls(_HEAD)
        envelope.failure = failure
        return envelope


class ExpOpsSerializer(Serializer):  # type: ignore[type-arg, unused-ignore]  # Prefect dispatches on the bare class
    """Serializes results as a manifest with payloads.

    On its own it writes self-contained text, so it may be used with any storage::

        @task(persist_result=True, result_serializer=ExpOpsSerializer())
        def load() -> pd.DataFrame: ...
    """

    type: str = Field(default="expops", frozen=True)
    detached: bool = Field(
        default=False,
        description="Leave large parts beside the text, for ExpOpsResultStorage. Set by the cache policy together "
        "with that storage; any other storage would lose them.",
    )
    spill_bytes: int = Field(default=SPILL_BYTES, ge=1, description="From this size on a part is kept beside the text.")
    uri_prefix: str = Field(
        default="",
        description="What references to payloads start with: empty for paths relative to the cache folder, "
        "or gs://bucket/project/cache/.",
    )

    def dumps(self, obj: Any) -> bytes:
        """Serialize a result; detached, into an :class:`Envelope`.

        Raises:
            ResultNotStorableError: it cannot be pickled; detached, the envelope says so instead.
        """
        if self.detached:
            try:
                return Envelope.for_writing(pack(obj, spill_bytes=self.spill_bytes, uri=self._uri), obj)
            except ResultNotStorableError as error:
                return Envelope.of_failure(error)
        # Text, because without key storage Prefect puts it into JSON.
        return _TEXT + base64.b64encode(pack(obj, spill_bytes=sys.maxsize).manifest)

    def loads(self, blob: bytes) -> Any:
        """Load what :meth:`dumps` made.

        Raises:
            FormatError: ``blob`` is something else.
            IntegrityError: it is damaged, or a payload is missing.
        """
        if isinstance(blob, Envelope) and blob.loaded is not None:
            (value,), blob.loaded = blob.loaded, None
            return value
        if isinstance(blob, Envelope) and blob.packed is not None and blob.reader is not None:
            return unpack(blob.packed.manifest, blob.reader)
        if not blob.startswith(_TEXT):
            raise FormatError(
                "this result's data are in ExpOps storage; read it through ExpOpsResultStorage"
                if blob.startswith(_HEAD)
                else "not a result of ExpOpsSerializer, or one of another release of expops-prefect"
            )
        try:
            manifest = base64.b64decode(blob[len(_TEXT) :], validate=True)
        except binascii.Error as error:
            raise IntegrityError(f"the stored result is damaged: {error}") from error
        return unpack(manifest, _NoPayloads())

    def _uri(self, key: str) -> str:
        return self.uri_prefix + key.removeprefix(names.CACHE_PREFIX)


class _NoPayloads:
    """Text holds everything itself."""

    mmap: Mapping = "off"

    def data(self, ref: PayloadRef) -> Buffer:
        raise IntegrityError(f"the text refers to payload {ref.key}, which it does not hold")

    def file(self, ref: PayloadRef) -> Path | None:
        self.data(ref)
        return None
