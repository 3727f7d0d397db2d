"""What a class leaves out when its objects are reduced, and what objects remember of themselves.

``Decimal`` and ``Path`` say all of their own objects, and nothing of the attributes that a class
derived from them adds. A task can ask for those all the same.
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
    # How a vectorizer knows that its stop words have been checked: an address.
    "sklearn.feature_extraction.text:_VectorizerMixin": frozenset({"_stop_words_id"}),
    "sklearn.utils._bunch:Bunch": frozenset({"_deprecated_key_to_warnings"}),
    "networkx.classes.graph:Graph": frozenset({"__networkx_cache__"}),
    "statsmodels": frozenset({"_cache"}),
    "pandas": frozenset({"_cache"}),
    # By which columns are sorted, a count of all that the process has made.
    "sqlalchemy": frozenset(
        {
            *("_creation_order", "_memoized_keys", "comparator", "description", "_cloned_set", "_type_affinity"),
            *("_tq_label", "_from_objects", "_render_label_in_columns_clause", "_non_anon_label", "_proxy_key"),
        }
    ),
}
"""By class, or by package for all of its classes: the attributes in which objects remember what they were asked."""
_HIDDEN: Final = ("__cause__", "__context__", "__suppress_context__")


@functools.lru_cache(maxsize=4096)
def caches_of(cls: Any) -> frozenset[str]:
    """The attributes in which objects of a class remember what can be computed of the others."""
    found: set[str] = set()
    for base in cls.__mro__:
        module = str(base.__module__)
        for name in (f"{module}:{base.__qualname__}", module.partition(".")[0]):
            found |= _CACHES.get(name, frozenset())
        # Others than functools' own (Django's, for one) work alike.
        found.update(name for name, part in list(vars(base).items()) if type(part).__name__ == "cached_property")
    return frozenset(found)


def what_is_left(value: Any, cls: Any, reduced: tuple[Any, ...]) -> dict[str, Any]:
    """The attributes of an object that its reduction leaves out; empty for nearly all objects."""
    if issubclass(cls, BaseException):
        return _of_exception(value)
    said_by = _said_by(cls)
    if said_by is object:
        return {}
    state = reduced[2] if len(reduced) > 2 else None
    own, library, first = _place_of(cls, said_by)
    if own and (library or state is not None):
        return {}  # by intention
    if state is not None and type(state) is not dict:
        return {}
    known = {} if state is None else {**state, **(state.get("__dict__") or {})}
    caches = caches_of(cls)
    parts = _attributes(value, cls.__mro__[:first])
    return {name: part for name, part in parts if name not in known and name not in caches}


@functools.lru_cache(maxsize=4096)
def _said_by(cls: Any) -> Any:
    """The class that says how objects are reduced."""
    for base in cls.__mro__:
        if any(name in vars(base) for name in _SAYS):
            return base
    return object


@functools.lru_cache(maxsize=4096)
def _place_of(cls: Any, said_by: Any) -> tuple[bool, bool, int]:
    """Whether the class that says it is of the same package, whether that is a library, and where its slots count."""
    own = said_by.__module__.partition(".")[0] == cls.__module__.partition(".")[0]
    place = cls.__mro__.index(said_by)
    return own, owner_of_module(cls.__module__) is not Owner.PROJECT, place + own


def attributes_of(value: Any, cls: type) -> dict[str, Any]:
    """The attributes of an object, those in slots too, but for what it remembers of itself."""
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
