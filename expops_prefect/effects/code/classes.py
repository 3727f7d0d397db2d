"""What runs by itself when objects of a class are made: its metaclass, its hooks, the factories of its fields."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any, Final, get_args

from expops_prefect.effects.code import names
from expops_prefect.effects.code.definitions import decorator_name
from expops_prefect.effects.code.values import MISSING, Class, Function, Value
from expops_prefect.fingerprint.ownership import Owner
from expops_prefect.fingerprint.third_party import owner_of_callable

_PLAIN_BASES: Final = ("builtins.", "abc.", "typing.", "collections.", "enum.", "_collections_abc.", "contextlib.")
_PLAIN_DECORATORS: Final = frozenset(
    """
    property setter getter deleter staticmethod classmethod abstractmethod abstractproperty cached_property
    lru_cache cache cached wraps singledispatchmethod contextmanager asynccontextmanager overload override final
    no_type_check njit jit vectorize retry task flow beartype typechecked validate_call deprecated
    """.split()
)
_DEEPEST: Final = 6


def parents(cls: Class) -> tuple[Class, ...]:
    """The project's own classes that it is made of, in the order in which methods are looked for."""
    if cls.live is not None:
        return tuple(names.of_class(base) for base in cls.live.__mro__[1:] if _is_own(base))
    found: dict[object, Class] = {}
    for parent in cls.parents:
        for own in (parent, *parents(parent)):
            found.setdefault(own.key, own)
    return tuple(found.values())


def metaclass(cls: Class) -> Class | None:
    """The project's own class that a class is an object of."""
    if cls.live is not None:
        return names.of_class(type(cls.live)) if _is_own(type(cls.live)) else None
    return cls.meta or next((meta for parent in cls.parents if (meta := metaclass(parent)) is not None), None)


def is_metaclass(cls: Class) -> bool:
    """Whether objects of a class are classes."""
    if cls.live is not None:
        return issubclass(cls.live, type)
    return any(path in ("builtins.type", "abc.ABCMeta", "enum.EnumMeta") for base in cls.bases for path in base.paths)


def has(cls: Class, function: Function) -> bool:
    """Whether a method is one of a class, be it inherited."""
    return any(method.key == function.key for method in cls.methods.values())


def hints(cls: type) -> Mapping[str, Any]:
    """What a class statement says of its attributes' types."""
    found = vars(cls).get("__annotations__")
    return found if isinstance(found, dict) else {}


def is_hook(cls: Class, method: Function) -> bool:
    """Whether the library that a class is built on calls a method that is marked for it: a validator, a serializer."""
    if method.node is None or isinstance(method.node, ast.Lambda):
        return False
    marks = [decorator_name(decorator) for decorator in method.node.decorator_list]
    return any(mark not in _PLAIN_DECORATORS for mark in marks) and _has_framework(cls)


def _has_framework(cls: Class) -> bool:
    live: Any = cls.live
    if live is not None and any(hasattr(live, name) for name in ("__attrs_attrs__", "__pydantic_decorators__")):
        return True
    return any(not path.startswith(_PLAIN_BASES) for base in cls.bases for path in base.paths)


def factories(cls: Class) -> Iterator[tuple[str, Value]]:
    """What is called when an object is made: with a field's name if only where that is not given."""
    yield from cls.factories
    live: Any = cls.live
    if live is None:
        return
    for name, entry in _fields(live).items():
        for always, found in _called_for(entry):
            if callable(found) and (_is_own(found) or not isinstance(found, type)):
                yield "" if always else name, names.of_live(found)


def field_classes(cls: Class) -> Iterator[Class]:
    """The project's own classes of which objects are made out of what an object is given: of nested models."""
    live: Any = cls.live
    if live is None or not hasattr(live, "__pydantic_fields__"):
        return
    for entry in _fields(live).values():
        for found in _in_annotation(getattr(entry, "annotation", None), 0):
            if isinstance(found, type) and _is_own(found):
                yield names.of_class(found)


def _fields(live: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ("__dataclass_fields__", "__pydantic_fields__", "__private_attributes__"):
        held = getattr(live, name, None)
        found |= held if isinstance(held, dict) else {}
    attributes = getattr(live, "__attrs_attrs__", ())
    return found | {attribute.name: attribute for attribute in attributes}


def _called_for(entry: Any) -> Iterator[tuple[bool, Any]]:
    """What a field calls, and whether it does even if it is given a value."""
    yield False, getattr(entry, "default_factory", None)
    yield False, getattr(getattr(entry, "default", None), "factory", None)
    yield True, getattr(entry, "converter", None)
    yield True, getattr(entry, "validator", None)
    for mark in (*getattr(entry, "metadata", ()), *_in_annotation(getattr(entry, "annotation", None), 0)):
        if not isinstance(mark, (type, str)):
            yield True, getattr(mark, "func", None)


def _in_annotation(annotation: Any, depth: int) -> Iterator[Any]:
    if depth > _DEEPEST:
        return
    yield annotation
    for inner in (*get_args(annotation), *getattr(annotation, "__metadata__", ())):
        yield from _in_annotation(inner, depth + 1)


def subclasses(cls: Class) -> Value:
    """What ``__subclasses__()`` gives: those that are loaded now."""
    found: dict[object, Class] = {}
    waiting = [cls.live] if cls.live is not None else []
    while waiting:
        for child in type.__subclasses__(waiting.pop()):
            if child not in found:
                waiting.append(child)
                if _is_own(child):
                    found[child] = names.of_class(child)
    return Value(callees=tuple(found.values()), origins=cls.value.origins)


def _is_own(value: Any) -> bool:
    return owner_of_callable(value) is Owner.PROJECT


def setters(value: Value, name: str, *, deleting: bool) -> Iterator[tuple[Function, bool]]:
    """What runs when an attribute of an object is set, and whether it is given the attribute's name."""
    own = value.instance
    if own is None and value.callees and isinstance(value.callees[0], Class):
        own = metaclass(value.callees[0])
    if own is None:
        return
    part, general, descriptor = (
        ("fdel", "__delattr__", "__delete__") if deleting else ("fset", "__setattr__", "__set__")
    )
    for method, named in ((f"{name}.{part}", False), (general, True)):
        if method in own.methods:
            yield bound(own.methods[method], value), named
    held = names.held_by(own, name)
    if held is not MISSING and _is_own(type(held)):
        setter = names.of_class(type(held)).methods.get(descriptor)
        if setter is not None:
            yield bound(setter, names.of_live(held)), False


def bound(method: Function, first: Value) -> Function:
    """A method of an object or a class."""
    return Function(method.key, method.node, method.names, method.code, first, method.nested)
