"""Finds attributes that pickling leaves out, and attributes that are only caches.

``Decimal`` and ``Path`` pickle all of their own state, but not the attributes that a subclass adds.
A task can still read those.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from types import MemberDescriptorType
from typing import Any, Final

from expops_prefect.fingerprint.ownership import Owner, owner_of_module

_SAYS: Final = ("__reduce_ex__", "__reduce__", "__getstate__")
_MISSING: Final = object()
_CACHES: Final[dict[str, frozenset[str]]] = {
    # An address by which a vectorizer knows that its stop words have been checked.
    "sklearn.feature_extraction.text:_VectorizerMixin": frozenset({"_stop_words_id"}),
    "sklearn.utils._bunch:Bunch": frozenset({"_deprecated_key_to_warnings"}),
    "networkx.classes.graph:Graph": frozenset({"__networkx_cache__"}),
    "statsmodels": frozenset({"_cache"}),
    "pandas": frozenset({"_cache"}),
    # The sort key of columns, which counts all columns that the process has created.
    "sqlalchemy": frozenset(
        {
            *("_creation_order", "_memoized_keys", "comparator", "description", "_cloned_set", "_type_affinity"),
            *("_tq_label", "_from_objects", "_render_label_in_columns_clause", "_non_anon_label", "_proxy_key"),
        }
    ),
}
"""By class, or by package for all of its classes: the attributes that are only caches."""
_HIDDEN: Final = ("__cause__", "__context__", "__suppress_context__")


@functools.lru_cache(maxsize=4096)
def caches_of(cls: Any) -> frozenset[str]:
    """The attributes of a class's objects that cache what can be computed from the others."""
    found: set[str] = set()
    for base in cls.__mro__:
        module = str(base.__module__)
        for name in (f"{module}:{base.__qualname__}", module.partition(".")[0]):
            found |= _CACHES.get(name, frozenset())
        # By name, because other implementations (such as Django's) work like that of functools.
        found.update(name for name, part in list(vars(base).items()) if type(part).__name__ == "cached_property")
    return frozenset(found)


def what_is_left(value: Any, cls: Any, reduced: tuple[Any, ...]) -> dict[str, Any]:
    """The attributes of an object that its reduction leaves out; empty for nearly all objects."""
    if issubclass(cls, BaseException):
        return _of_exception(value)
    reducing = _reducing_class(cls)
    if reducing is object:
        return {}
    state = reduced[2] if len(reduced) > 2 else None
    own, library, first = _place_of(cls, reducing)
    if own and (library or state is not None):
        return {}  # intended
    if state is not None and type(state) is not dict:
        return {}
    known = {} if state is None else {**state, **(state.get("__dict__") or {})}
    caches = caches_of(cls)
    parts = _attributes(value, cls.__mro__[:first])
    return {name: part for name, part in parts if name not in known and name not in caches}


@functools.lru_cache(maxsize=4096)
def _reducing_class(cls: Any) -> Any:
    """The class that defines how objects are reduced."""
    for base in cls.__mro__:
        if any(name in vars(base) for name in _SAYS):
            return base
    return object


@functools.lru_cache(maxsize=4096)
def _place_of(cls: Any, reducing: Any) -> tuple[bool, bool, int]:
    """Whether both classes are of one package, whether ``cls`` is a library's, and the end of the checked MRO."""
    own = reducing.__module__.partition(".")[0] == cls.__module__.partition(".")[0]
    place = cls.__mro__.index(reducing)
    return own, owner_of_module(cls.__module__) is not Owner.PROJECT, place + own


def attributes_of(value: Any, cls: type) -> dict[str, Any]:
    """The attributes of an object, including those in slots, without caches."""
    caches = caches_of(cls)
    return {name: part for name, part in _attributes(value, cls.__mro__) if name not in caches}


def _attributes(value: Any, classes: tuple[type, ...]) -> Iterator[tuple[str, Any]]:
    held = _dictionary(value)
    if held:
        yield from held.items()
    for base in classes:
        for name, slot in vars(base).items():
            if type(slot) is MemberDescriptorType:
                part = _slot(slot, value)
                if part is not _MISSING:
                    yield name, part


def _dictionary(value: Any) -> dict[str, Any] | None:
    try:
        held = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return None
    return dict(held) if type(held) is dict else None


def _slot(slot: Any, value: Any) -> Any:
    try:
        return slot.__get__(value, type(value))
    except AttributeError:  # not set
        return _MISSING


def _of_exception(value: BaseException) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in _HIDDEN:
        part = getattr(value, name)
        if part is not None and part is not False:
            found[name] = part
    return found
