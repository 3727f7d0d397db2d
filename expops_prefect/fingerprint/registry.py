"""Finds the encoder of a type: registered, defined by the class, a library's, or the general one for objects."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final, Protocol, TypeVar, cast

from expops_prefect._internal.process import of_process
from expops_prefect.fingerprint.canonical import ENCODERS, Encoder, Refusal, Walk
from expops_prefect.fingerprint.encoding_primitives import named, text
from expops_prefect.fingerprint.foreign import is_for_the_flow, said
from expops_prefect.fingerprint.identity import class_name

T = TypeVar("T")

METHOD: Final = "__expops_fingerprint__"
"""The method by which a class defines the fingerprint of its objects."""

_PACKAGE: Final = "expops_prefect.fingerprint."
# Encoders for a library's types are imported when its first object is encoded.
_LIBRARIES: Final = {
    "numpy": "arrays",
    "scipy": "arrays",
    "torch": "arrays",
    "pandas": "frames",
    "pyarrow": "arrow",
    "polars": "arrow",
}
_PLANS: Final = frozenset({"polars", "pyarrow", "dask", "django", "duckdb", "_duckdb", "ibis", "pyspark", "xarray"})
"""Packages with lazy objects, which read files or databases when they are used."""
_MOST_RESOLVED: Final = 4096


class _Encoders:
    """The encoders that this process has found or registered, by type."""

    def __init__(self) -> None:
        self.resolved: dict[type, Encoder] = {}
        self.registered: dict[type, Encoder] = {}


_encoders: Final = of_process(_Encoders)
"""Kept in a module variable, because it is read for each object of a walk."""


class _Families(Protocol):
    def families(self) -> dict[type, Encoder]: ...


def register_fingerprint(cls: type[T], canonical: Callable[[T], object]) -> None:
    """Define how objects of a class, and of its subclasses, are fingerprinted.

    Args:
        cls: the class. An earlier registration is replaced.
        canonical: returns a value to fingerprint in place of an object. In every process, it must be equal
            for objects that a task cannot tell apart, and different for others. The class is added to it.

    Example:
        >>> register_fingerprint(Connection, lambda connection: connection.url)
    """
    if not isinstance(cls, type) or cls in ENCODERS or cls is object:
        raise TypeError(f"register_fingerprint takes a class other than Python's basic types, not {cls!r}")
    _encoders.registered[cls] = _through(canonical)
    _encoders.resolved.clear()


def _through(canonical: Callable[[Any], object]) -> Encoder:
    def encode(walk: Walk, value: object) -> bytes:
        cls = type(value)
        if walk.classes is not None:
            walk.classes.add(cls)
        known = walk.enter(value)
        if known is not None:
            return known
        try:
            stand_in = canonical(value)
        except BaseException as error:
            if is_for_the_flow(error) or isinstance(error, RecursionError):
                raise
            return walk.leave(value, walk.refuse(value, f"its own fingerprint method failed ({said(error)})", error))
        return walk.leave(value, named("registered", text(class_name(cls)), walk.encode(stand_in)))

    return encode


def resolve(kind: type) -> Encoder:
    """The encoder of a type that is not in ``ENCODERS``."""
    encoder = _encoders.resolved.get(kind)
    if encoder is None:
        if len(_encoders.resolved) >= _MOST_RESOLVED:
            _encoders.resolved.clear()
        encoder = _encoders.resolved[kind] = _find(kind)
    return encoder


def _find(kind: type) -> Encoder:
    from expops_prefect.fingerprint import builtin_types, kinds, objects

    for base in kind.__mro__:
        encoder = _encoders.registered.get(base)
        if encoder is None and METHOD in vars(base):
            encoder = _through(getattr(kind, METHOD))
        if encoder is None and base is kind:
            encoder = builtin_types.EXACT.get(kind)
        if encoder is None and base is not object:
            encoder = builtin_types.FAMILIES.get(base)
        if encoder is None:
            encoder = kinds.encoder_of(base) or _of_plans(base)
        if encoder is None and (library := _LIBRARIES.get(base.__module__.partition(".")[0])):
            encoder = cast("_Families", import_module(_PACKAGE + library)).families().get(base)
            encoder = encoder and _guarded(encoder)
        if encoder is not None:
            return encoder
    return objects.encode_object


def _of_plans(base: type) -> Encoder | None:
    if base.__module__.partition(".")[0] not in _PLANS:
        return None
    from expops_prefect.fingerprint import lazy_data

    encoder = lazy_data.encoder_of(base)
    return encoder and _guarded(encoder)


def _guarded(encoder: Encoder) -> Encoder:
    """An encoder that refuses the value if the library raises any exception."""

    def encode(walk: Walk, value: object) -> bytes:
        mark = walk.mark
        try:
            return encoder(walk, value)
        except (Refusal, RecursionError):
            raise
        except BaseException as error:
            if is_for_the_flow(error):
                raise
            return walk.failed(value, mark, error)

    return encode
