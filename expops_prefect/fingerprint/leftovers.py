"""Finds attributes that pickling leaves out, and attributes that are only caches.

``Decimal`` and ``Path`` pickle all of their own state, but not the attributes that a subclass adds.
A task can still read those.
"""

from __future__ import annotations

import copyreg
import functools
from collections.abc import Iterator
from types import CodeType, FunctionType, MemberDescriptorType
from typing import Any, Final

from expops_prefect.fingerprint.encoding_primitives import named
from expops_prefect.fingerprint.ownership import Owner, owner_of_module

_SAYS: Final = ("__reduce_ex__", "__reduce__", "__getstate__")
_MISSING: Final = object()
_CACHES: Final[dict[str, frozenset[str]]] = {
    # An address by which a vectorizer knows that its stop words have been checked.
    "sklearn.feature_extraction.text:_VectorizerMixin": frozenset({"_stop_words_id"}),
    "sklearn.utils._bunch:Bunch": frozenset({"_deprecated_key_to_warnings"}),
    "networkx.classes.graph:Graph": frozenset({"__networkx_cache__"}),
    # The last of them is memory that was never written.
    "statsmodels": frozenset(
        {"_cache", "_summary_cache", "_summary_statistics_cache", "diagn", "_nobs_int", "_tmp_like_exog"}
    ),
    "pandas": frozenset({"_cache"}),
    "scipy.spatial._qhull:Delaunay": frozenset({"_transform", "_vertex_to_simplex", "_vertex_neighbor_vertices"}),
    "dateutil.rrule:rrulebase": frozenset({"_len"}),
    "http.cookiejar:CookieJar": frozenset({"_now"}),
    "http.cookiejar:DefaultCookiePolicy": frozenset({"_now"}),
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
_ALSO_HIDDEN: Final = ((AttributeError, ("name", "obj")), (NameError, ("name",)))
"""What pickling leaves out of some exceptions, besides."""
_GENERATORS: Final = ("dataclasses.py", "attr/_make.py")
"""Files whose classes get a ``__getstate__`` that knows their fields alone."""


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
    state = reduced[2] if len(reduced) > 2 else None
    if reducing is object:
        registered = cls in copyreg.dispatch_table and owner_of_module(cls.__module__) is Owner.PROJECT
        if not registered or state is not None:
            return {}
        own, library, first = False, False, len(cls.__mro__)
    else:
        own, library, first = _place_of(cls, reducing)
    generated = _is_generated(reducing)
    if generated:
        first = cls.__mro__.index(reducing)  # the class's own slots are its fields and caches
    caches = caches_of(cls)
    known = {**state, **(state.get("__dict__") or {})} if type(state) is dict else {}
    parts = {
        name: part for name, part in _attributes(value, cls.__mro__[:first]) if name not in known and name not in caches
    }
    if not parts or generated:
        return parts
    if own and (library or state is not None):
        # What the class leaves out itself is intended, what others have set on the object is not.
        return {name: part for name, part in parts.items() if name[:1] != "_" and name not in _named_by(cls)}
    if state is not None and type(state) is not dict:
        return {name: part for name, part in parts.items() if name not in _named_by(reducing)}
    return parts


@functools.lru_cache(maxsize=4096)
def _is_generated(reducing: Any) -> bool:
    """Whether dataclasses or attrs made the method by which objects of a class are reduced."""
    code = getattr(vars(reducing).get("__getstate__"), "__code__", None)
    return type(code) is CodeType and code.co_filename.endswith(_GENERATORS)


@functools.lru_cache(maxsize=4096)
def _named_by(cls: Any) -> frozenset[str]:
    """All names and texts in the code of a class and its bases, so also those of the attributes that it sets."""
    found: set[str] = set()
    codes: list[Any] = []
    for base in cls.__mro__:
        found.update(vars(base))
        for part in list(vars(base).values()):
            held = [part, getattr(part, "__func__", None), *(getattr(part, name, None) for name in ("fget", "fset"))]
            codes += [function.__code__ for function in held if type(function) is FunctionType]
    while codes:
        code = codes.pop()
        found.update(code.co_names)
        found.update(part for part in code.co_consts if type(part) is str)
        codes += [part for part in code.co_consts if type(part) is CodeType]
    return frozenset(found)


def with_numbered_hooks(state: dict[str, Any]) -> dict[str, Any]:
    """The state of a Torch module, its hooks numbered from 0: Torch's own numbers count all hooks of the process."""
    hooks = {name: part for name, part in state.items() if "_hooks" in name and isinstance(part, dict) and part}
    numbers = sorted({key for part in hooks.values() for key in part if type(key) is int})
    places = {number: place for place, number in enumerate(numbers)}
    return {
        **state,
        **{name: {places.get(key, key): hook for key, hook in part.items()} for name, part in hooks.items()},
    }


def with_attributes(walk: Any, value: Any, form: bytes, known: frozenset[str] | None = None) -> bytes:
    """The form of a value together with the attributes that somebody has set on it; usually there are none.

    Args:
        walk: the walk over the value.
        form: the form of everything else in it.
        known: public attributes in which the class keeps state of its own, beside private ones; ``None`` if it
            keeps nothing in the dictionary.
    """
    own = _dictionary(value) or {}
    if known is not None:
        own = {name: part for name, part in own.items() if name[:1] != "_" and name not in known}
    return named("and more", form, walk.at(".__dict__", dict(sorted(own.items())))) if own else form


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
    more = [name for kind, names in _ALSO_HIDDEN if isinstance(value, kind) for name in names]
    for name in (*_HIDDEN, *more):
        part = getattr(value, name)
        if part is not None and part is not False:
            found[name] = part
    return found
