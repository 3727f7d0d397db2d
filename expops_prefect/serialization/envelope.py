"""The envelope that Prefect passes from the serializer to our storage, and the text form for any other storage."""

from __future__ import annotations

import base64
import binascii
import sys
from pathlib import Path
from typing import Any, Final

from expops_prefect.errors import FormatError, IntegrityError, ResultNotStorableError
from expops_prefect.models import names
from expops_prefect.serialization.manifest import Packed, pack, unpack
from expops_prefect.serialization.payloads import Mapping, PayloadReader, PayloadRef
from expops_prefect.stores.objects.base import Buffer

_HEAD: Final = b"expops-prefect envelope; the result is in ExpOps storage\n"
_FEW: Final = 1000  # longer collections are not searched for paths
_TEXT: Final = b"expops-prefect text 1\n"


def files_named(result: Any) -> list[Path]:
    """The paths in a result, if it is a path or a small collection."""
    items = result.values() if isinstance(result, dict) else result
    if not isinstance(result, dict | list | tuple | set | frozenset):
        items = (result,)
    elif len(result) > _FEW:
        return []
    return [item for item in items if isinstance(item, Path)]


def _is_there(file: Path) -> bool:
    try:
        return file.exists()
    except OSError:  # a name that is too long, or a folder without permission
        return False


class Envelope(bytes):
    """What Prefect passes, unchanged, between :class:`~expops_prefect.ExpOpsSerializer` and our storage.

    Its bytes are only a label. Prefect never looks inside, so nothing is copied.

    Attributes:
        packed: the result in bytes; only its manifest when reading.
        reader: returns its payloads when reading.
        loaded: the result itself in a tuple, if it was already unpacked; taken once.
        files: whether the result contains paths of files, all of which exist.
        result: the result itself in a tuple, when writing.
        failure: why there is nothing to store. If ``dumps`` raised it, Prefect would report it in a long
            traceback without advice; so the storage reports it.
    """

    packed: Packed | None = None
    reader: PayloadReader | None = None
    loaded: tuple[Any] | None = None
    files: bool = False
    result: tuple[Any] | None = None
    failure: ResultNotStorableError | None = None

    @classmethod
    def for_writing(cls, packed: Packed, result: Any) -> Envelope:
        """What ``dumps`` returns: everything that the storage must write."""
        envelope = cls(_HEAD)
        envelope.packed, envelope.result = packed, (result,)
        files = files_named(result)
        envelope.files = bool(files) and all(map(_is_there, files))
        return envelope

    @classmethod
    def for_reading(cls, manifest: bytes, reader: PayloadReader) -> Envelope:
        """What ``loads`` accepts: a manifest whose digest was verified."""
        envelope = cls(_HEAD)
        envelope.packed, envelope.reader = Packed(manifest, ()), reader
        return envelope

    def load(self, *, files: bool = False) -> None:
        """Unpack the result now, for ``loads`` to return, so that a lookup fails if it cannot be loaded.

        Args:
            files: whether the files whose paths it contains must exist.

        Raises:
            IntegrityError: one of them does not.
            Exception: whatever loading raises, for example because a class no longer exists.
        """
        if self.packed is not None and self.reader is not None:
            result = unpack(self.packed.manifest, self.reader)
            for file in files_named(result) if files else ():
                if not _is_there(file):
                    raise IntegrityError(f"the result contains the path {file}, which no longer exists")
            self.loaded = (result,)

    @classmethod
    def of_failure(cls, failure: ResultNotStorableError) -> Envelope:
        """What ``dumps`` returns for a result that cannot be pickled."""
        envelope = cls(_HEAD)
        envelope.failure = failure
        return envelope


def enclose(result: Any, *, spill_bytes: int, uri_prefix: str, root: Path | None = None) -> Envelope:
    """Pack a result for our storage; if it cannot be pickled, the envelope contains the failure.

    Args:
        result: what a task returned.
        spill_bytes: the size from which a part becomes a payload.
        uri_prefix: the prefix of references to payloads.
        root: the project's root; see :func:`~expops_prefect.serialization.manifest.pack`.
    """

    def uri(key: str) -> str:
        return uri_prefix + key.removeprefix(names.CACHE_PREFIX)

    try:
        return Envelope.for_writing(pack(result, spill_bytes=spill_bytes, uri=uri, root=root), result)
    except ResultNotStorableError as error:
        return Envelope.of_failure(error)


def as_text(result: Any) -> bytes:
    """Serialize a result for any storage, as text, because without key storage Prefect puts it into JSON.

    Raises:
        ResultNotStorableError: it cannot be pickled.
    """
    return _TEXT + base64.b64encode(pack(result, spill_bytes=sys.maxsize).manifest)


def opened(blob: bytes) -> Any:
    """The result in the output of :func:`enclose` or :func:`as_text`.

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
            else "not a result of ExpOpsSerializer, or written by another release of expops-prefect"
        )
    try:
        manifest = base64.b64decode(blob[len(_TEXT) :], validate=True)
    except binascii.Error as error:
        raise IntegrityError(f"the stored result is damaged: {error}") from error
    return unpack(manifest, _NoPayloads())


class _NoPayloads:
    """The reader for the text form, which has no payloads."""

    mmap: Mapping = "off"
    project_root: Path | None = None

    def data(self, ref: PayloadRef) -> Buffer:
        raise IntegrityError(f"the text refers to payload {ref.key}, which it does not contain")

    def file(self, ref: PayloadRef) -> Path | None:
        self.data(ref)
        return None
