"""What is known of a value while code is read: where it comes from, and what it may be."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from expops_prefect.models.effects import Effect

if TYPE_CHECKING:
    from expops_prefect.effects.code.names import Names

MISSING: Final = object()
GLOBAL: Final = "<global>"
"""The origin of what neither the body made nor a caller passed."""

FunctionNode: TypeAlias = "ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda"


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """A function of the project's own.

    Attributes:
        key: the same for the same function.
        node: its definition; ``None`` if there is no source that is certainly its.
        names: where its global and free names are looked up.
        code: its compiled code, if it is loaded.
        bound: what its first parameter is bound to, for a method.
        nested: the body in which it is defined, whose variables it sees.
    """

    key: object
    node: FunctionNode | None
    names: Names
    code: Any = None
    bound: Value | None = None
    nested: Any = None


@dataclass(frozen=True, slots=True, eq=False)
class Class:
    """A class of the project's own, loaded or only read.

    Attributes:
        key: the same for the same class.
        methods: its functions and those of its own bases: a property's is ``name.fget``.
        bases: its bases that are somebody else's.
        live: the class itself, if it is loaded.
        parents: the project's own bases of one that is only read.
        meta: the project's own class of one that is only read.
        factories: what one that is only read calls for its fields, with a field's name if only where it is not given.
        held: the lists and the like that objects of one that is only read share.
    """

    key: object
    name: str
    methods: Mapping[str, Function]
    bases: tuple[Value, ...] = ()
    live: Any = None
    parents: tuple[Class, ...] = ()
    meta: Class | None = None
    factories: tuple[tuple[str, Value], ...] = ()
    held: Mapping[str, Value] = field(default_factory=dict)

    @property
    def value(self) -> Value:
        """The class as a value: everybody's, unless the body itself has made it."""
        if isinstance(self.key, ast.AST):
            return Value(callees=(self,), fresh=True)
        live = MISSING if self.live is None else self.live
        return Value(callees=(self,), live=live, origins=frozenset({GLOBAL}))


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A value as far as code tells.

    Attributes:
        paths: qualified names of the thing itself, if it is somebody else's function, class or module.
        type: the qualified name of its class.
        live: the object itself, if it exists already.
        callees: the project's own functions and classes that it may be.
        instance: the project's own class that it is an object of.
        origins: the parameters that it is or is a part of, and :data:`GLOBAL`.
        inner: the origins of what it holds: a list made anew of somebody's objects.
        deep: the origins of what these hold in their turn.
        element: what it holds, if that is known better than by ``inner``.
        taints: the times and plans that are in it, by their numbers in the body.
        private: a file in memory, or a path below a private temporary folder.
        fresh: the body has certainly made it.
        constant: its value, if the code says it.
        receiver: what it was taken of, if it is an attribute, and ``attribute`` its name.
        parameter: the parameter that it is, unchanged.
        plain: a number, text or the like, which cannot change.
    """

    paths: tuple[str, ...] = ()
    type: str = ""
    live: Any = MISSING
    callees: tuple[Function | Class, ...] = ()
    instance: Class | None = None
    origins: frozenset[str] = frozenset()
    inner: frozenset[str] = frozenset()
    deep: frozenset[str] = frozenset()
    element: Value | None = None
    taints: frozenset[int] = frozenset()
    private: bool = False
    fresh: bool = False
    constant: Any = MISSING
    receiver: Value | None = None
    attribute: str = ""
    parameter: str = ""
    plain: bool = False

    def made(self, **changes: Any) -> Value:
        """The same with some of it changed."""
        return replace(self, **changes)

    @property
    def all_origins(self) -> frozenset[str]:
        """Of the value and of what it holds."""
        return self.origins | self.inner | self.deep


UNKNOWN: Final = Value()
FRESH: Final = Value(fresh=True)
PLAIN: Final = Value(fresh=True, plain=True, type="builtins.int")


def constant(value: Any) -> Value:
    """A value that stands in the code."""
    return Value(fresh=True, plain=True, constant=value, type=f"builtins.{type(value).__name__}")


def fresh(values: Iterable[Value] = (), *, type: str = "") -> Value:  # noqa: A002 - as of values
    """A value made of others, which it holds."""
    given = tuple(values)
    none: frozenset[str] = frozenset()
    return Value(
        type=type,
        fresh=True,
        inner=none.union(*(value.origins for value in given)),
        deep=none.union(*(value.inner | value.deep for value in given)),
        taints=taints(given),
        private=any(value.private for value in given),
    )


def taints(values: Iterable[Value]) -> frozenset[int]:
    """The times and plans in values."""
    return frozenset[int]().union(*(value.taints for value in values))


def part(value: Value) -> Value:
    """Something in a value: an element, an item."""
    if value.element is not None:
        return value.element
    return Value(
        callees=value.callees if value.live is MISSING else (),
        origins=value.origins | value.inner,
        inner=value.deep,
        deep=value.deep,
        taints=value.taints,
        private=value.private,
        fresh=value.fresh,
    )


def pairs(values: Iterable[Value]) -> Value:
    """What gives tuples of the elements of values: ``zip``, ``enumerate``, ``items``."""
    given = tuple(values)
    element = joined(map(part, given))
    item = fresh((element,), type="builtins.tuple").made(element=element)
    return fresh((item,), type="builtins.list").made(element=item)


def joined(values: Iterable[Value]) -> Value:
    """What may be any of several values."""
    found = list(values)
    if not found:
        return UNKNOWN
    known = [value for value in found if value.constant is not None]  # None is what it is before it is made
    first, *others = known or found
    for other in others:
        first = first if first is other else _either(first, other)
    return first.made(fresh=all(value.fresh for value in found))


def _either(one: Value, other: Value) -> Value:
    same_type = one.type if one.type == other.type else ""
    return Value(
        paths=(*one.paths, *(path for path in other.paths if path not in one.paths)),
        type=same_type or (one.type or other.type if not (one.type and other.type) and _unsure(one, other) else ""),
        live=one.live if one.live is other.live else MISSING,
        callees=(*one.callees, *(c for c in other.callees if all(c.key != known.key for known in one.callees))),
        instance=_same_class(one, other),
        origins=one.origins | other.origins,
        inner=one.inner | other.inner,
        deep=one.deep | other.deep,
        element=one.element if one.element is other.element else None,
        taints=one.taints | other.taints,
        private=one.private and other.private,
        constant=one.constant if one.constant is other.constant else MISSING,
        receiver=one.receiver or other.receiver,
        attribute=one.attribute or other.attribute,
        parameter=one.parameter if one.parameter == other.parameter else "",
        plain=one.plain and other.plain,
    )


def _same_class(one: Value, other: Value) -> Class | None:
    """The class of both; of objects of two classes the names of their methods tell which may run."""
    if one.instance is None or other.instance is None:
        return one.instance or other.instance
    return one.instance if one.instance.key == other.instance.key else None


def _unsure(one: Value, other: Value) -> bool:
    """Whether one of them is of a type that tells more: a client that is made if none was given."""
    return "builtins." not in (one.type + other.type)


@dataclass(slots=True)
class Summary:
    """What a function does, in terms of its parameters.

    Attributes:
        parameters: their origins, in order; ``keyword_only`` those that are given by name alone.
        variable: the origins of ``*args`` and ``**kwargs``.
        defaults: what the parameters are that are not given.
        effects: what it does however it is called.
        draws: effects of drawing from a global generator, each with its name.
        seeds: the global generators that it seeds.
        changes: the parameters that it changes in place, each with the effect.
        depends: effects that it has depending on a parameter: what about it counts, and its origin. ``none``: it is
            ``None``; ``private``: it is no private file; ``environment`` and ``variables``: the name of what is read.
        environment, variables: the names of those that it reads.
        returns: what it returns.
        attributes: what it assigns to attributes of its first parameter.
        used: names of attributes of objects whose type is not known.
        unresolved: the calls that are not known.
        run: the classes of the project that it makes objects of.
        reads: the calls that read files.
        libraries: the packages of which it calls something.
        files: ``made`` if it calls ``DataFile``; ``hidden`` if it may write files unobserved;
            ``elsewhere`` if it runs functions in other processes.
        texts: the calls that run a text as code, which may call anything that the module has.
    """

    parameters: tuple[str, ...] = ()
    keyword_only: tuple[str, ...] = ()
    variable: tuple[str, str] = ("", "")
    defaults: dict[str, Value] = field(default_factory=dict)
    effects: dict[Effect, None] = field(default_factory=dict)
    draws: dict[Effect, str] = field(default_factory=dict)
    seeds: set[str] = field(default_factory=set)
    changes: dict[str, Effect] = field(default_factory=dict)
    depends: dict[Effect, tuple[str, str]] = field(default_factory=dict)
    environment: set[str] = field(default_factory=set)
    variables: set[str] = field(default_factory=set)
    returns: Value = UNKNOWN
    attributes: dict[str, Value] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    unresolved: dict[str, None] = field(default_factory=dict)
    run: dict[object, Class] = field(default_factory=dict)
    reads: dict[str, None] = field(default_factory=dict)
    libraries: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)
    texts: dict[Effect, None] = field(default_factory=dict)
