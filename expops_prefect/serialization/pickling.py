"""Pickle streams: by value where a class cannot be imported, and with large buffers kept apart."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from expops_prefect.errors import IntegrityError, ResultNotStorableError

PROTOCOL: Final = 5

Keep: TypeAlias = Callable[[pickle.PickleBuffer], bool]

_WRITE_ERRORS = (
    pickle.PicklingError,
    TypeError,
    AttributeError,
    ValueError,
    LookupError,
    RuntimeError,  # RecursionError and NotImplementedError are ones
    BufferError,
    ImportError,
)
_READ_ERRORS = (*_WRITE_ERRORS, pickle.UnpicklingError, EOFError, ArithmeticError, MemoryError, SyntaxError)
_DEPTH = 12


class LargeBuffers:
    """Given to :func:`dumps`, says whether there is a buffer from ``limit`` bytes on.

    The stream is of use only if there is none.
    """

    def __init__(self, limit: int) -> None:
        self.found = False
        self._limit = limit

    def __call__(self, buffer: pickle.PickleBuffer) -> bool:
        """Keep buffers in the stream until one is large: then nothing more needs to be copied."""
        self.found = self.found or memoryview(buffer).nbytes >= self._limit
        return not self.found


def dumps(value: object, *, keep: Keep | None = None, start: bytes = b"") -> bytes:
    """Pickle a value.

    Args:
        keep: told of each buffer; whether it shall be copied into the stream. Without it all are.
        start: bytes to put before the stream.

    Raises:
        ResultNotStorableError: names the part that cannot be pickled.
    """
    stream = io.BytesIO()
    stream.write(start)
    try:
        _dump(value, stream, keep)
    except _WRITE_ERRORS as error:
        path, part = _culprit(value)
        message = (
            f"result{path} of type {type(part).__module__}.{type(part).__qualname__} cannot be pickled ({error}); "
            "return plain data, or use cache_policy=NO_CACHE or persist_result=False for this task"
        )
        raise ResultNotStorableError(message) from error
    return stream.getvalue()


def loads(stream: bytes | memoryview, buffers: list[memoryview] | None = None) -> object:
    """The value of a stream whose bytes were verified, with the buffers that :func:`dumps` kept apart.

    Raises:
        IntegrityError: it cannot be unpickled in this process.
    """
    try:
        return pickle.loads(stream, buffers=buffers)
    except _READ_ERRORS as error:
        message = f"the stored result cannot be unpickled in this process ({type(error).__name__}: {error})"
        raise IntegrityError(message) from error


def _dump(value: object, stream: io.BytesIO, keep: Keep | None) -> None:
    import cloudpickle

    cloudpickle.Pickler(stream, protocol=PROTOCOL, buffer_callback=keep).dump(value)


def _culprit(value: object) -> tuple[str, object]:
    """Where the innermost part that fails is, as far as it can be told."""
    path = ""
    for _ in range(_DEPTH):
        for step, part in _parts(value):
            if not _can_be_pickled(part):
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


def _can_be_pickled(value: object) -> bool:
    try:
        _dump(value, io.BytesIO(), lambda _: False)
    except _WRITE_ERRORS:
        return False
    return True
