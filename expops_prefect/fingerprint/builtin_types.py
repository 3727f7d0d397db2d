"""Encoders for the types of Python's standard library."""

from __future__ import annotations

import asyncio
import contextvars
import datetime
import enum
import gc
import io
import itertools
import logging
import pathlib
import re
import struct
import sys
import threading
import types
import weakref
from array import array
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from functools import cmp_to_key, partial
from pathlib import Path
from pickle import PickleBuffer
from typing import Any, Final
from uuid import UUID, SafeUUID

from expops_prefect.fingerprint.canonical import SOLE, Encoder, Walk
from expops_prefect.fingerprint.encoding_primitives import buffer, integer, named, string, text
from expops_prefect.fingerprint.identity import class_name, original
from expops_prefect.fingerprint.leftovers import attributes_of, with_attributes

_VIEW_REASON: Final = "it is a view of a dictionary; pass a list"
_FILE_REASON: Final = "it is an open file; pass its path, or DataFile(path) to hash its content"
ITERATOR_REASON: Final = (
    "it is an iterator, and reading it would consume it; pass a list, or leave the parameter out with ignore="
)


def _constant(name: str) -> Encoder:
    return lambda _walk, _value: named(name)


def _integers(name: str, *fields: str) -> Encoder:
    def encode(_walk: Walk, value: Any) -> bytes:
        return named(name, *(integer(getattr(value, field)) for field in fields))

    return encode


def _uuid(_walk: Walk, value: UUID) -> bytes:
    safe = () if value.is_safe is SafeUUID.unknown else (integer(int(value.is_safe.value)),)
    return named("uuid.UUID", integer(value.int), *safe)


_TIME: Final = ("hour", "minute", "second", "microsecond", "fold")
_DATE: Final = ("year", "month", "day")


def _moment(name: str, *fields: str) -> Encoder:
    def encode(walk: Walk, value: Any) -> bytes:
        parts = [integer(getattr(value, field)) for field in fields]
        return named(name, *parts, walk.at(".tzinfo", value.tzinfo))

    return encode


def _parts(name: str, *fields: str) -> Encoder:
    """Encode by attributes of any type."""

    def encode(walk: Walk, value: Any) -> bytes:
        return named(name, *(walk.at("." + field, getattr(value, field)) for field in fields))

    return encode


def _path(name: str) -> Encoder:
    # By a fixed name, because Python 3.13 defines the classes in another module.
    return lambda walk, value: (walk.path(name, str(value)) if walk.roots else None) or named(name, string(str(value)))


def _decimal(_walk: Walk, value: Decimal) -> bytes:
    sign, digits, exponent = value.as_tuple()
    return named("decimal.Decimal", integer(sign), buffer(b"b", bytes(digits)), string(str(exponent)))


def _timezone(_walk: Walk, value: datetime.timezone) -> bytes:
    offset = value.utcoffset(None)
    return named("datetime.timezone", string(repr(offset)), string(value.tzname(None)))


def _bytearray(walk: Walk, value: bytearray) -> bytes:
    if sys.getrefcount(value) > SOLE:
        walk.meet(value)
    return named("bytearray", buffer(b"b", value))


def _memoryview(walk: Walk, value: memoryview) -> bytes:
    data = value.cast("B") if value.c_contiguous and value.nbytes else value.tobytes()
    shape = walk.encode(value.shape)
    head = string(value.format) + walk.encode(value.readonly) + shape
    return named("memoryview", head, buffer(b"b", data))


def _namespace(walk: Walk, value: types.SimpleNamespace) -> bytes:
    # Like a dictionary, in insertion order: it is shown and iterated in that order.
    walk.meet(value)
    known = walk.enter(value)
    if known is not None:
        return known
    held = vars(value)
    form = walk.pairs(list(held), list(held.values()))
    return walk.leave(value, named("types.SimpleNamespace", form))


def _pickle_buffer(_walk: Walk, value: PickleBuffer) -> bytes:
    return named("buffer", buffer(b"b", value.raw()))


def _array(walk: Walk, value: array[Any]) -> bytes:
    if sys.getrefcount(value) > SOLE:
        walk.meet(value)
    data = memoryview(value).cast("B") if len(value) else b""
    return named("array.array", string(value.typecode), buffer(b"b", data))


def _slice(walk: Walk, value: slice) -> bytes:
    return named("slice", walk.sequence((value.start, value.stop, value.step)))


def _pattern(walk: Walk, value: re.Pattern[Any]) -> bytes:
    return named("re.Pattern", walk.encode(value.pattern), integer(value.flags))


def _alias(walk: Walk, value: types.GenericAlias) -> bytes:
    known = walk.enter(value)
    if known is not None:
        return known
    return walk.leave(value, named("list[]", walk.encode(value.__origin__), walk.encode(value.__args__)))


def _mapping(name: str, *fields: str) -> Encoder:
    def encode(walk: Walk, value: Any) -> bytes:
        walk.meet(value)
        known = walk.enter(value)
        if known is not None:
            return known
        extra = [walk.at("." + field, getattr(value, field)) for field in fields]
        items = dict(value)
        form = named(name, *extra, b"d" + walk.pairs(list(items), list(items.values())))
        return walk.leave(value, with_attributes(walk, value, form))

    return encode


def _deque(walk: Walk, value: deque[Any]) -> bytes:
    walk.meet(value)
    known = walk.enter(value)
    if known is not None:
        return known
    return walk.leave(value, named("collections.deque", walk.encode(value.maxlen), walk.sequence(list(value))))


def _partial(walk: Walk, value: partial[Any]) -> bytes:
    known = walk.enter(value)
    if known is not None:
        return known
    parts = [walk.at(f".{name}", getattr(value, name)) for name in ("func", "args", "keywords")]
    return walk.leave(value, named("functools.partial", *parts, walk.at(".__dict__", vars(value))))


def _enum(walk: Walk, value: enum.Enum) -> bytes:
    if walk.classes is not None:
        walk.classes.add(type(value))
    known = walk.enter(value)
    if known is not None:
        return known
    member = string(value.name) if isinstance(value.name, str) else b"n"
    form = named("enum", text(class_name(type(value))), member, walk.at(".value", value._value_))
    own = {name: part for name, part in vars(value).items() if name[:1] != "_"}
    if own:
        from expops_prefect.fingerprint.objects import leniently

        form = named("and more", form, leniently(walk, own))
    return walk.leave(value, form)


def _set_subclass(walk: Walk, value: set[Any] | frozenset[Any]) -> bytes:
    # Not by its reduced form, which lists the elements in an order that depends on the hash seed.
    if walk.classes is not None:
        walk.classes.add(type(value))
    if isinstance(value, set):
        walk.meet(value)
    known = walk.enter(value)
    if known is not None:
        return known
    state = walk.at(".__dict__", dict(sorted(attributes_of(value, type(value)).items())))
    return walk.leave(value, named("set", text(class_name(type(value))), walk.unordered(value), state))


def _callable(walk: Walk, value: Any) -> bytes:
    """A function, class or module: the project's own by its code, others by name and version."""
    meant = original(value)
    if meant is not value:
        return walk.encode(meant)
    if walk.on_callable is not None:
        return walk.on_callable(value)
    from expops_prefect.fingerprint.third_party import external_form

    form = external_form(value)
    if form is not None:
        return form
    from expops_prefect.fingerprint.code import code_fingerprint

    # Not entered into the walk: the code graph handles cycles through functions.
    code = code_fingerprint(value, root=Path(walk.roots[0]) if walk.roots else None)
    if code.unresolved:
        return walk.refuse(value, f"{code.unresolved[0]} imports modules by names that are not in the code")
    return named("code", string(code.digest))


def _method(walk: Walk, value: types.MethodType) -> bytes:
    known = walk.enter(value)
    if known is not None:
        return known
    owner = value.__self__
    parts = [walk.at(".__func__", value.__func__)]
    if not isinstance(owner, type):
        parts.append(walk.at(".__class__", type(owner)))
    parts.append(walk.at(".__self__", owner))
    return walk.leave(value, named("method", *parts))


def _builtin(walk: Walk, value: types.BuiltinFunctionType) -> bytes:
    owner = value.__self__
    if owner is None or isinstance(owner, types.ModuleType):
        return _callable(walk, value)
    if walk.on_callable is not None and isinstance(owner, type):
        walk.on_callable(value)
    return named("builtin method", string(value.__name__), walk.at(".__self__", owner))


def _wrapper(name: str, *fields: str) -> Encoder:
    def encode(walk: Walk, value: Any) -> bytes:
        known = walk.enter(value)
        if known is not None:
            return known
        return walk.leave(value, named(name, *(walk.at("." + field, getattr(value, field)) for field in fields)))

    return encode


def _logger(walk: Walk, value: logging.Logger) -> bytes:
    if walk.lenient:
        # Among a module's constants it only serves output, and its name depends on how the file was started.
        return walk.refuse(value, "")
    return named("logging.Logger", string(value.name))


def _struct(_walk: Walk, value: struct.Struct) -> bytes:
    return named("struct.Struct", string(value.format))


def _count(walk: Walk, value: itertools.count[Any]) -> bytes:
    # A counter that code refers to is encoded without consuming it; an argument is refused like other iterators.
    return named("itertools.count", string(repr(value))) if walk.lenient else walk.refuse(value, ITERATOR_REASON)


def _context_variable(walk: Walk, value: contextvars.ContextVar[Any]) -> bytes:
    """Encode the current value, as for other variables that code refers to."""
    if not walk.lenient:
        return walk.refuse(value, "pass its value")
    known = walk.enter(value)
    if known is not None:
        return known
    try:
        held = [walk.at(".get()", value.get())]
    except LookupError:
        held = []
    return walk.leave(value, named("contextvars.ContextVar", *held))


def _comparison(walk: Walk, value: Any) -> bytes:
    """The result of ``functools.cmp_to_key``; only the garbage collector gives access to the function in it."""
    known = walk.enter(value)
    if known is not None:
        return known
    inner = [part for part in gc.get_referents(value) if part is not type(value)]
    return walk.leave(value, named("functools.cmp_to_key", *(walk.at("", part) for part in inner)))


def _held(reason: str, hold: Callable[[Any], Any]) -> Encoder:
    """Encode by the current content if code refers to it; refuse it as an argument."""

    def encode(walk: Walk, value: Any) -> bytes:
        if not walk.lenient:
            return walk.refuse(value, reason)
        known = walk.enter(value)
        if known is not None:
            return known
        return walk.leave(value, named("holder", text(class_name(type(value))), walk.at("", hold(value))))

    return encode


def _memory_file(walk: Walk, value: Any) -> bytes:
    """A file in memory by its content and the position in it."""
    if value.closed:
        return walk.refuse(value, "it is closed")
    walk.meet(value)
    known = walk.enter(value)
    if known is not None:
        return known
    # Its content, for text the newline mode, the position, and its attributes: none, or {} once it was pickled.
    parts = [walk.encode(part or None) if type(part) is dict else walk.encode(part) for part in value.__getstate__()]
    return walk.leave(value, named("file in memory", text(class_name(type(value))), *parts))


def _match(value: re.Match[Any]) -> Any:
    return value.re.pattern, value.re.flags, value.string, value.span()


def _refused(reason: str) -> Encoder:
    return lambda walk, value: walk.refuse(value, reason)


EXACT: Final[dict[type, Encoder]] = {
    type(Ellipsis): _constant("..."),
    type(NotImplemented): _constant("NotImplemented"),
    bytearray: _bytearray,
    memoryview: _memoryview,
    PickleBuffer: _pickle_buffer,
    array: _array,
    range: _integers("range", "start", "stop", "step"),
    slice: _slice,
    types.SimpleNamespace: _namespace,
    Decimal: _decimal,
    Fraction: _integers("fractions.Fraction", "numerator", "denominator"),
    UUID: _uuid,
    datetime.date: _integers("datetime.date", *_DATE),
    datetime.timedelta: _integers("datetime.timedelta", "days", "seconds", "microseconds"),
    datetime.datetime: _moment("datetime.datetime", *_DATE, *_TIME),
    datetime.time: _moment("datetime.time", *_TIME),
    datetime.timezone: _timezone,
    pathlib.PurePosixPath: _path("pathlib.PurePosixPath"),
    pathlib.PureWindowsPath: _path("pathlib.PureWindowsPath"),
    pathlib.PosixPath: _path("pathlib.PosixPath"),
    pathlib.WindowsPath: _path("pathlib.WindowsPath"),
    re.Pattern: _pattern,
    types.GenericAlias: _alias,
    types.MappingProxyType: _mapping("types.MappingProxyType"),
    OrderedDict: _mapping("collections.OrderedDict"),
    Counter: _mapping("collections.Counter"),
    defaultdict: _mapping("collections.defaultdict", "default_factory"),
    deque: _deque,
    partial: _partial,
    type(cmp_to_key(max)): _comparison,
    struct.Struct: _struct,
    itertools.count: _count,
    contextvars.ContextVar: _context_variable,
    # They only pace tasks: which task holds or awaits one is timing, and would make the keys of each run differ.
    asyncio.Lock: _constant("asyncio.Lock"),
    asyncio.Semaphore: _constant("asyncio.Semaphore"),
    asyncio.BoundedSemaphore: _constant("asyncio.BoundedSemaphore"),
    type({}.keys()): _held(_VIEW_REASON, list),
    type({}.values()): _held(_VIEW_REASON, list),
    type({}.items()): _held(_VIEW_REASON, list),
    weakref.ReferenceType: _held("pass what it refers to", lambda value: value()),
    weakref.WeakValueDictionary: _held("pass a dictionary", dict),
    weakref.WeakSet: _held("pass a set", set),
    threading.local: _held("pass its attributes", lambda value: dict(vars(value))),
    re.Match: _held("pass its groups", _match),
    io.StringIO: _memory_file,
    io.BytesIO: _memory_file,
    types.FunctionType: _callable,
    types.BuiltinFunctionType: _builtin,
    types.ModuleType: _callable,
    types.MethodType: _method,
    classmethod: _wrapper("classmethod", "__func__"),
    staticmethod: _wrapper("staticmethod", "__func__"),
    property: _wrapper("property", "fget", "fset", "fdel"),
}
"""Encoders by exact type; a subclass is encoded by its pickled state."""

FAMILIES: Final[dict[type, Encoder]] = {
    enum.Enum: _enum,
    set: _set_subclass,
    frozenset: _set_subclass,
    type: _callable,
    types.ModuleType: _callable,
    types.GeneratorType: _refused(ITERATOR_REASON),
    logging.Logger: _logger,
    # The files that open() returns do not derive from io.IOBase, only from its base class.
    io.IOBase.__mro__[1]: _refused(_FILE_REASON),
}
"""Encoders by base class."""
