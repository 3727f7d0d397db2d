"""Objects of any class, through what pickle would store of them; never by ``repr`` or address."""

from __future__ import annotations

import copyreg
import functools
from collections.abc import Callable
from typing import Any, Final

from expops_prefect.fingerprint.builtin_types import ITERATOR_REASON
from expops_prefect.fingerprint.canonical import REDUCE_ERRORS, Walk
from expops_prefect.fingerprint.external import version_of, wrapped_function
from expops_prefect.fingerprint.forms import named, size, text
from expops_prefect.fingerprint.identity import callable_name, class_name, module_name

_PROTOCOL: Final = 5
_newobj_ex: Final[Callable[..., Any]] = copyreg.__newobj_ex__  # type: ignore[attr-defined]
_newobj: Final[Callable[..., Any]] = copyreg.__newobj__  # type: ignore[attr-defined]


def encode_object(walk: Walk, value: Any) -> bytes:
    """The form of an object: its class, what makes it, its state and its items, each walked in turn."""
    cls = type(value)
    if hasattr(cls, "__next__") and hasattr(cls, "__iter__"):
        return walk.refuse(value, ITERATOR_REASON)
    known = walk.enter(value)
    if known is not None:
        return known
    function = wrapped_function(value)
    if function is not None:
        return walk.leave(value, named("wrapped", text(class_name(cls)), walk.at(".__wrapped__", function)))
    if walk.classes is not None:
        walk.classes.add(cls)
    try:
        # Libraries (tblib, with Dask) register reducers for exceptions while a program runs, and add the traceback.
        reducer = None if isinstance(value, BaseException) else copyreg.dispatch_table.get(cls)
        reduced = reducer(value) if reducer else value.__reduce_ex__(_PROTOCOL)
    except REDUCE_ERRORS as error:
        return walk.leave(value, walk.refuse(value, f"it has no state that could be read ({error})", error))
    if isinstance(reduced, str):
        return walk.leave(value, _by_name(value, reduced))
    return walk.leave(value, _reduced_form(walk, cls, *reduced))


def _by_name(value: Any, name: str) -> bytes:
    module = getattr(value, "__module__", None)
    if not isinstance(module, str):
        module = type(value).__module__
    version = version_of(module) if callable(value) else ""
    return named("global", text(f"{module_name(module)}:{name}"), text(version))


def _argument(walk: Walk, value: Any, index: int) -> bytes:
    if isinstance(value, type):
        # A class that makes an object counts by its name, not by its code.
        return named("class", text(class_name(value)))
    return walk.at(f"<argument {index}>", value)


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
        # Slots of a frozen dataclass and the fields of a namedtuple reduce to values without names.
        text(",".join((*getattr(cls, "__dataclass_fields__", ()), *_field_names(cls)))),
        size(len(args)) + b"".join(_argument(walk, value, index) for index, value in enumerate(args)),
        _attributes(walk, keywords),
        _state(walk, state),
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


def _state(walk: Walk, state: Any) -> bytes:
    if type(state) is dict:
        return _attributes(walk, state)
    if type(state) is tuple and len(state) == 2 and type(state[1]) is dict and type(state[0]) in (dict, type(None)):
        # ``__dict__`` and slots. An object whose dictionary is empty may reduce to either form.
        return _attributes(walk, {**(state[0] or {}), **state[1]})
    if state is None:
        return _attributes(walk, {})
    return b"=" + walk.at("<state>", state)


def _attributes(walk: Walk, state: dict[Any, Any]) -> bytes:
    """Attributes by name; the order in which they were set means nothing."""
    names = list(state)
    if not all(type(name) is str for name in names):
        return b"d" + walk.pairs(names, list(state.values()))
    names.sort()
    values = [state[name] for name in names]
    kinds = set(map(type, values))
    shown = lambda index: f".{names[index]}"  # noqa: E731
    return b"a" + walk.unnoted(names) + walk.sequence(values, kinds=kinds, step=shown)
