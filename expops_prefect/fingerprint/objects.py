"""Encodes objects of any class by what pickle would store of them; never by ``repr`` or address."""

from __future__ import annotations

import copyreg
import functools
import gc
import sys
import warnings
from collections.abc import Callable
from inspect import getattr_static
from types import FunctionType, ModuleType
from typing import Any, Final

from expops_prefect.fingerprint.builtin_types import ITERATOR_REASON
from expops_prefect.fingerprint.canonical import SOLE, Refusal, Walk
from expops_prefect.fingerprint.compiled import compiled_form
from expops_prefect.fingerprint.encoding_primitives import named, size, text
from expops_prefect.fingerprint.foreign import is_for_the_flow, said
from expops_prefect.fingerprint.identity import STANDS_FOR, callable_name, class_name, module_name
from expops_prefect.fingerprint.leftovers import caches_of, what_is_left, with_numbered_hooks
from expops_prefect.fingerprint.ownership import Owner, owner_of_module
from expops_prefect.fingerprint.sharing import is_mutable
from expops_prefect.fingerprint.third_party import version_of, wrapped_function

_PROTOCOL: Final = 5
_TELLING: Final = frozenset({"builtins", "itertools"})
"""Modules whose iterators can be pickled without being consumed."""
_SENTINEL_REASON: Final = "a plain object() has nothing but its identity; bind it to a name at the top of a module"
_newobj_ex: Final[Callable[..., Any]] = copyreg.__newobj_ex__  # type: ignore[attr-defined]
_newobj: Final[Callable[..., Any]] = copyreg.__newobj__  # type: ignore[attr-defined]


def encode_object(walk: Walk, value: Any) -> bytes:
    """The form of an object: its class, its constructor with arguments, its state and its items."""
    cls: Any = type(value)
    mark = walk.mark
    try:
        if hasattr(cls, "__next__") and hasattr(cls, "__iter__") and not (walk.lenient and cls.__module__ in _TELLING):
            return walk.refuse(value, ITERATOR_REASON)
        if cls is object and not walk.lenient:
            name = _global_name(value)
            return walk.refuse(value, _SENTINEL_REASON) if name is None else named("sentinel", text(name))
        if walk.seen is not None and sys.getrefcount(value) > SOLE and is_mutable(cls):
            walk.meet(value)
        known = walk.enter(value)
        if known is not None:
            return known
        function = wrapped_function(value)
        if function is not None:
            cls = vars(cls).get(STANDS_FOR, cls)
            return walk.leave(value, named("wrapped", text(class_name(cls)), walk.at(".__wrapped__", function)))
        if walk.classes is not None:
            walk.classes.add(cls)
        try:
            reduced = _reduced(value, cls)
        except RecursionError:
            raise
        except BaseException as error:
            if is_for_the_flow(error):
                raise
            return walk.leave(value, _without_state(walk, value, error))
        if isinstance(reduced, str):
            return walk.leave(value, _by_name(walk, value, reduced))
        form = _reduced_form(walk, cls, *reduced)
        left = what_is_left(value, cls, reduced)
        if left:
            form = named("and more", form, leniently(walk, left))
        return walk.leave(value, form)
    except (Refusal, RecursionError):
        raise
    except BaseException as error:
        if is_for_the_flow(error):
            raise
        return walk.failed(value, mark, error)


def _global_name(value: object) -> str | None:
    """The name of a plain ``object()`` at the top of one of the project's modules; ``None`` if it has none."""
    for module in list(sys.modules):
        if owner_of_module(module) is not Owner.PROJECT:
            continue
        for name, bound in list(vars(sys.modules.get(module, sys)).items()):
            if bound is value:
                return f"{module_name(module)}:{name}"
    return None


def _reduced(value: Any, cls: type) -> Any:
    # Libraries (tblib, with Dask) register reducers for exceptions at run time, which add the traceback.
    reducer = None if isinstance(value, BaseException) else copyreg.dispatch_table.get(cls)
    if cls.__module__ == "itertools":
        return _reduced_silently(value)
    return reducer(value) if reducer else value.__reduce_ex__(_PROTOCOL)


def _reduced_silently(value: Any) -> Any:
    """Reduce a value without the deprecation warning of some Python versions.

    Warning filters apply to all threads, so nothing else is done inside.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return value.__reduce_ex__(_PROTOCOL)


def leniently(walk: Walk, state: dict[str, Any]) -> bytes:
    """The form of attributes that a class does not pickle; a lock or a client in it is encoded by its type."""
    lenient, walk.lenient = walk.lenient, True
    try:
        return _attributes(walk, state)
    finally:
        walk.lenient = lenient


def _without_state(walk: Walk, value: Any, error: BaseException) -> bytes:
    """The form of an object that cannot be pickled."""
    reason = f"its state cannot be read ({said(error)})"
    state = getattr(value, "__dict__", None)
    if walk.lenient and type(state) is dict and owner_of_module(type(value).__module__) is Owner.PROJECT:
        # A module's constant, such as a client: code that refers to it can read its attributes.
        return named("attributes", text(class_name(type(value))), _attributes(walk, dict(state)))
    return walk.refuse(value, reason, error)


def _by_name(walk: Walk, value: Any, name: str) -> bytes:
    """The form of an object that is pickled as a name of its module."""
    module = getattr(value, "__module__", None)
    if not isinstance(module, str):
        module = type(value).__module__
    version = version_of(module) if callable(value) else ""
    parts = [text(f"{module_name(module)}:{name}"), text(version)]
    if callable(value) and (compiled := compiled_form(module)):
        parts.append(compiled)
    if owner_of_module(module) is Owner.PROJECT and type(state := getattr(value, "__dict__", None)) is dict:
        held = dict(state)
        if held.get("__module__") == module:  # of a type variable, for instance
            held["__module__"] = module_name(module)
        parts.append(_attributes(walk, held))
    elif callable(value):
        # A NumPy ufunc made from a function has its name; only the garbage collector gives access to the function.
        inner = [part for part in gc.get_referents(value) if isinstance(part, FunctionType)]
        parts += [walk.at("", part) for part in inner]
    return named("global", *parts)


def _argument(walk: Walk, value: Any, index: int, cls: type) -> bytes:
    if index == 0 and isinstance(value, type) and value in cls.__mro__:
        # The class of an object is encoded by its name; its code is hashed with the code graph.
        return named("class", text(class_name(value)))
    form = walk.at(f"<argument {index}>", value)
    code = _named_code(value) if type(value) is str else None
    if code is None:
        return form
    # Partials and similar objects contain functions.
    is_plain = isinstance(code, (type, FunctionType))
    inner = walk.at(f"<argument {index}>", code) if is_plain else _attributes(walk, dict(vars(code)))
    return named("name of code", form, inner)


def _named_code(name: str) -> Any | None:
    """The project's function or class that a reducer names by a string, as ``toolz.curry`` does."""
    module, colon, path = name.partition(":")
    value: Any = sys.modules.get(module) if colon and path else None
    if value is None or owner_of_module(module) is not Owner.PROJECT:
        return None
    for part in path.split("."):
        if not issubclass(type(value), (type, ModuleType)):
            return None  # it may have a value for any name
        value = vars(value).get(part)
    return value if issubclass(type(value), (type, FunctionType)) or _has_attributes(value) else None


def _has_attributes(value: Any) -> bool:
    return (
        type(getattr_static(value, "__dict__", None)) is not type(None)
        and owner_of_module(type(value).__module__) is Owner.PROJECT
    )


def _reduced_form(
    walk: Walk,
    cls: type,
    make: Callable[..., Any],
    args: tuple[Any, ...],
    state: Any = None,
    items: Any = None,
    pairs: Any = None,
    *_setter: Any,
) -> bytes:
    keywords: dict[str, Any] = {}
    if make is _newobj_ex:
        _, args, keywords = args
        maker = "new"
    elif make is _newobj:
        args = args[1:]
        maker = "new"
    elif isinstance(make, functools.partial):
        maker = callable_name(make.func)
        args = (*make.args, *args)
        keywords = dict(make.keywords)
    else:
        maker = callable_name(make)
    parts = [
        text(class_name(cls)),
        text(maker),
        # Frozen dataclasses with slots and namedtuples reduce to values without field names.
        text(",".join((*getattr(cls, "__dataclass_fields__", ()), *_field_names(cls)))),
        size(len(args)) + b"".join(_argument(walk, value, index, cls) for index, value in enumerate(args)),
        _attributes(walk, keywords),
        _state(walk, state, caches_of(cls)),
    ]
    if items is not None:
        parts.append(b"l" + walk.sequence(list(items)))
    if pairs is not None:
        entries = list(pairs)
        parts.append(b"d" + walk.pairs([key for key, _ in entries], [entry for _, entry in entries]))
    return named("object", *parts)


def _field_names(cls: type) -> tuple[str, ...]:
    fields = getattr(cls, "_fields", ())
    return fields if isinstance(fields, tuple) and all(isinstance(field, str) for field in fields) else ()


def _state(walk: Walk, state: Any, caches: frozenset[str]) -> bytes:
    if type(state) is tuple and len(state) == 2 and type(state[1]) is dict and type(state[0]) in (dict, type(None)):
        # ``__dict__`` and slots. An object whose dictionary is empty may reduce to either form.
        state = {**(state[0] or {}), **state[1]}
    if type(state) is dict:
        if caches and not caches.isdisjoint(state):
            state = _without(state, caches)
        inner = state.get("__dict__")  # models of pydantic have it in their state
        if caches and type(inner) is dict and not caches.isdisjoint(inner):
            state = {**state, "__dict__": _without(inner, caches)}
        if "_forward_hooks" in state:
            state = with_numbered_hooks(state)
        return _attributes(walk, state)
    if state is None:
        return _attributes(walk, {})
    return b"=" + walk.at("<state>", state)


def _without(state: dict[Any, Any], caches: frozenset[str]) -> dict[Any, Any]:
    return {name: part for name, part in state.items() if name not in caches}


def _attributes(walk: Walk, state: dict[Any, Any]) -> bytes:
    """Attributes by name; the order in which they were set is ignored."""
    names = list(state)
    if not all(type(name) is str for name in names):
        return b"d" + walk.pairs(names, list(state.values()))
    names.sort()
    values = [state[name] for name in names]
    kinds = set(map(type, values))
    shown = lambda index: f".{names[index]}"  # noqa: E731
    return b"a" + walk.unnoted(names) + walk.sequence(values, kinds=kinds, step=shown)
