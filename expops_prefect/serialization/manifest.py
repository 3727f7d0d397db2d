"""The manifest of a result: a plain pickle of it, in which the large parts are reference dictionaries.

``pickle.load`` and ``joblib.load`` read a manifest without this package. It begins with two
instructions that push a string and drop it again; the string tells the format's version and whether
there is anything to resolve. Dictionaries, lists and tuples (not subclasses) are searched; other
large parts are replaced as a whole:

* arrays: ExpOps' payload reference to an ``.npz`` file;
* scikit-learn estimators: ExpOps' model reference to a ``.joblib`` file (a plain pickle);
* frames and tables, if Arrow represents them exactly: our reference to an ``.arrow`` file;
* ``bytes`` and ``bytearray``: our reference to a ``.buf`` file;
* a :class:`Deferred` part, which is loaded only when it is read: our reference to a ``.pkl`` file;
* objects with large buffers: our reference with their pickle and a ``.buf`` file per buffer.

A user's dictionary that has one of the reference markers as a key is escaped.

A part that occurs several times in the searched containers is one object after loading too, and so
are these containers. This does not extend to objects: an array that is both in the result's
dictionary and inside an object is loaded as two equal arrays.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from expops_prefect.errors import FormatError, ResultNotLoadableError
from expops_prefect.fingerprint.files import portable_paths
from expops_prefect.models import names
from expops_prefect.serialization import SPILL_BYTES, pickling
from expops_prefect.serialization.packing import Packer
from expops_prefect.serialization.payloads import Payload, PayloadReader
from expops_prefect.serialization.resolving import Resolver

FORMAT: Final = 1

_TITLE: Final = "expops-prefect manifest"
_REFERENCE_ERRORS: Final = (
    LookupError,
    TypeError,
    ValueError,
    ImportError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    SyntaxError,  # for an invalid dtype name
    RecursionError,
)


@dataclass(frozen=True)
class Packed:
    """A result in bytes: its manifest, and the payloads that must be stored before it."""

    manifest: bytes
    payloads: tuple[Payload, ...]


def relative_uri(key: str) -> str:
    """An object key relative to the cache root, against which ExpOps resolves relative references."""
    return key.removeprefix(names.CACHE_PREFIX)


def pack(
    value: object,
    *,
    spill_bytes: int = SPILL_BYTES,
    uri: Callable[[str], str] = relative_uri,
    root: Path | None = None,
) -> Packed:
    """Convert a result to bytes. Payloads are views of its memory: write them before it changes.

    Args:
        spill_bytes: the size from which a part becomes a payload.
        uri: returns the text of a reference to an object key.
        root: the project's root, to which paths of data files are relative; ``None`` to keep them as they are.

    Raises:
        ResultNotStorableError: it cannot be pickled.
    """
    with portable_paths(root):
        return _pack(value, spill_bytes, uri)


def _pack(value: object, spill_bytes: int, uri: Callable[[str], str]) -> Packed:
    packer = Packer(spill_bytes, uri)
    skeleton = packer.skeleton(value)
    large = pickling.LargeBuffers(spill_bytes)
    stream = pickling.dumps(skeleton, keep=large, start=_header(linked=packer.linked))
    if large.found:
        # An object has large buffers. Find out which one by pickling each object separately.
        skeleton = packer.split(value)
        stream = pickling.dumps(skeleton, start=_header(linked=packer.linked))
    return Packed(stream, tuple(packer.payloads.values()))


def unpack(manifest: bytes, reader: PayloadReader) -> object:
    """The result of a manifest whose digest was verified.

    Raises:
        FormatError: it is not a manifest, or written by another release.
        IntegrityError: it or a payload is damaged; a ResultNotLoadableError if this process lacks something that it
            needs.
    """
    with portable_paths(reader.project_root):
        return _unpack(manifest, reader)


def _unpack(manifest: bytes, reader: PayloadReader) -> object:
    linked = _read_header(manifest)
    value = pickling.loads(manifest)
    if not linked:
        return value
    try:
        return Resolver(reader).resolve(value)
    except _REFERENCE_ERRORS as error:
        message = f"a reference of the manifest cannot be resolved in this process: {error!r}"
        raise ResultNotLoadableError(message) from error


def _header(linked: bool) -> bytes:
    text = f"{_TITLE} {FORMAT} {'linked' if linked else 'plain'}".encode()
    return pickle.PROTO + bytes([pickling.PROTOCOL]) + pickle.SHORT_BINUNICODE + bytes([len(text)]) + text + pickle.POP


_PLAIN: Final = _header(linked=False)
_LINKED: Final = _header(linked=True)


def _read_header(manifest: bytes) -> bool:
    if manifest.startswith(_PLAIN):
        return False
    if manifest.startswith(_LINKED):
        return True
    found = manifest[4 : 4 + 60].partition(pickle.POP)[0]
    raise FormatError(
        f"not a manifest of format {FORMAT} but {found!r}; it was written by another release of expops-prefect"
        if found.startswith(_TITLE.encode())
        else "not a manifest of expops-prefect"
    )
