"""Pickles values: by value if a class cannot be imported, and with large buffers kept separate."""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Protocol

from expops_prefect._internal.figures import undisturbed
from expops_prefect._internal.process import of_process
from expops_prefect.errors import ResultNotLoadableError, ResultNotStorableError

if TYPE_CHECKING:
    from expops_prefect.serialization.streams import Pickler

PROTOCOL: Final = 5

_WRITE_ERRORS = (
    pickle.PicklingError,
    TypeError,
    AttributeError,
    ValueError,
    LookupError,
    RuntimeError,  # includes RecursionError and NotImplementedError
    BufferError,
    ImportError,
)
_READ_ERRORS = (*_WRITE_ERRORS, pickle.UnpicklingError, EOFError, ArithmeticError, MemoryError, SyntaxError)
_DEPTH = 12
_CHECKED_UP_TO: Final = 64 << 20
_TRUSTED: Final = frozenset(
    {"builtins", "numpy", "pandas", "polars", "pyarrow", "scipy", "sklearn", "torch", "xgboost", "lightgbm"}
    | {"datetime", "decimal", "fractions", "uuid", "pathlib", "collections", "zoneinfo"}
)
"""Packages whose objects are known to load, so that they need no trial."""


class _LoadedTypes(set[str]):
    """The names of further types of which this process has loaded an object; one trial of each is enough."""


class Keep(Protocol):
    """Decides which buffers are kept out of a stream."""

    def __call__(self, buffer: pickle.PickleBuffer, /) -> bool:
        """Called for each buffer; return whether to copy it into the stream."""

    def restart(self) -> None:
        """Forget all buffers: the value is pickled again from the start."""

    @property
    def apart(self) -> list[memoryview] | None:
        """The buffers that were kept separate; ``None`` if they were not kept and the stream is useless."""


class KeptBuffers:
    """For :func:`dumps`: keeps buffers of at least ``limit`` bytes separate."""

    def __init__(self, limit: int) -> None:
        self.buffers: list[pickle.PickleBuffer] = []
        self._limit = limit

    def __call__(self, buffer: pickle.PickleBuffer, /) -> bool:
        """See :class:`Keep`."""
        if memoryview(buffer).nbytes < self._limit:
            return True
        self.buffers.append(buffer)
        return False

    def restart(self) -> None:
        """See :class:`Keep`."""
        self.buffers.clear()

    @property
    def apart(self) -> list[memoryview]:
        """See :class:`Keep`."""
        return [buffer.raw() for buffer in self.buffers]


class LargeBuffers:
    """For :func:`dumps`: detects whether there is a buffer of at least ``limit`` bytes.

    If there is one, the stream is useless.
    """

    def __init__(self, limit: int) -> None:
        self.found = False
        self._limit = limit

    def __call__(self, buffer: pickle.PickleBuffer, /) -> bool:
        """Copy buffers into the stream until one is large; after that, copying is no longer needed."""
        self.found = self.found or memoryview(buffer).nbytes >= self._limit
        return not self.found

    def restart(self) -> None:
        """See :class:`Keep`."""
        self.found = False

    @property
    def apart(self) -> list[memoryview] | None:
        """See :class:`Keep`."""
        return None if self.found else []


def dumps(value: object, *, keep: Keep | None = None, start: bytes = b"") -> bytes:
    """Pickle a value.

    Args:
        keep: decides which buffers are copied into the stream; by default, all are.
        start: bytes to put before the stream.

    Raises:
        ResultNotStorableError: names the part that cannot be pickled.
    """
    try:
        stream, kinds = _dump(value, keep, start)
    except _WRITE_ERRORS as error:
        path, part = _culprit(value)
        raise ResultNotStorableError(_refused(path, part, f"cannot be pickled ({error})")) from error
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in kinds if not _is_trusted(kind)} - of_process(
        _LoadedTypes
    )
    buffers: list[memoryview] | None = [] if keep is None else keep.apart
    if names and buffers is not None and len(stream) <= _CHECKED_UP_TO:
        try:
            with undisturbed() as loaded:
                loaded.append(_load(stream, buffers))
        except Exception as error:
            path, part = _culprit(value, loaded=True)
            said = f"can be pickled but not loaded again ({type(error).__name__}: {error})"
            raise ResultNotStorableError(_refused(path, part, said)) from error
        of_process(_LoadedTypes).update(names)
    return stream


def _refused(path: str, part: object, why: str) -> str:
    return (
        f"result{path} of type {type(part).__module__}.{type(part).__qualname__} {why}; "
        "return plain data, or switch caching off for it: cache_policy=NO_CACHE or "
        "persist_result=False in its decorator, or prefect.cache.processes.<its name>.enabled: false"
    )


def loads(stream: bytes | memoryview, buffers: list[memoryview] | None = None) -> object:
    """The value of a stream whose bytes were verified, with the buffers that :func:`dumps` kept separate.

    Raises:
        ResultNotLoadableError: it cannot be unpickled in this process.
    """
    try:
        return _load(stream, buffers)
    except _READ_ERRORS as error:
        message = f"the stored result cannot be unpickled in this process ({type(error).__name__}: {error})"
        raise ResultNotLoadableError(message) from error


def _load(stream: bytes | memoryview, buffers: list[memoryview] | None) -> object:
    if _may_name_the_script(stream):
        from expops_prefect.serialization.streams import Unpickler

        return Unpickler(io.BytesIO(stream), buffers=buffers).load()
    return pickle.loads(stream, buffers=buffers)


def _may_name_the_script(stream: bytes | memoryview) -> bool:
    """Whether a stream may contain objects of the running script; most streams do not and load faster."""
    from expops_prefect.fingerprint.identity import module_name

    script = re.escape(module_name("__main__").encode())
    return re.search(b"cloudpickle|" + script, stream) is not None


def _dump(value: object, keep: Keep | None, start: bytes = b"") -> tuple[bytes, set[type]]:
    """The stream, and the types of the objects in it."""
    from expops_prefect.serialization.streams import Pickler

    def dump(*, names_only: bool) -> Pickler:
        stream.seek(0)
        stream.truncate()
        stream.write(start)
        pickler = Pickler(stream, keep=keep, names_only=names_only)
        picklers.append(pickler)
        pickler.dump(value)
        return pickler

    stream, picklers = io.BytesIO(), list[Pickler]()
    try:
        pickler = dump(names_only=False)
    except _WRITE_ERRORS:
        if not picklers or not picklers[0].named:
            raise
        # A class of the script may refer to a lock or to anything else; its name alone is enough in this process.
        if keep is not None:
            keep.restart()
        pickler = dump(names_only=True)
    return stream.getvalue(), pickler.kinds


def _is_trusted(kind: type) -> bool:
    return str(kind.__module__).partition(".")[0] in _TRUSTED


def _culprit(value: object, *, loaded: bool = False) -> tuple[str, object]:
    """The path of the innermost part that cannot be pickled, or loaded, as far as it can be found, and the part."""
    path = ""
    for _ in range(_DEPTH):
        for step, part in _parts(value):
            if not _is_whole(part, loaded=loaded):
                path, value = path + step, part
                break
        else:
            break
    return path, value


def _parts(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        yield from ((f"[{key!r:.60}]", part) for key, part in value.items())
    elif isinstance(value, (list, tuple)):
        yield from ((f"[{index}]", part) for index, part in enumerate(value))
    elif isinstance(getattr(value, "__dict__", None), dict) and not isinstance(value, type):
        yield from ((f".{name}", part) for name, part in vars(value).items())


def _is_whole(value: object, *, loaded: bool) -> bool:
    kept = KeptBuffers(0)
    try:
        stream, _ = _dump(value, kept)
    except _WRITE_ERRORS:
        return False
    try:
        if loaded:
            with undisturbed() as again:
                again.append(_load(stream, kept.apart))
    except Exception:  # noqa: BLE001 - a user's own class may raise anything
        return False
    return True
