"""The graph of the project's code that a function refers to, directly or indirectly.

Nodes are functions, classes, values and names of lazily imported modules; edges are labelled with the
name by which one refers to another. Nodes are numbered in the order in which they are found when
references are followed by name, so equal code gets equal numbers wherever its files are.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from types import FunctionType, ModuleType
from typing import Any, Final

from blake3 import blake3

from expops_prefect.fingerprint import lazy_imports, plugins
from expops_prefect.fingerprint.bindings import Bindings, Reference
from expops_prefect.fingerprint.bytecode import ANNOTATIONS
from expops_prefect.fingerprint.canonical import ATOMS, Walk
from expops_prefect.fingerprint.compiled import compiled_form
from expops_prefect.fingerprint.constants import constant_form
from expops_prefect.fingerprint.encoding_primitives import FORMAT, named, roots_of, size, text
from expops_prefect.fingerprint.identity import class_name, original
from expops_prefect.fingerprint.ownership import Owner, owner_of_module
from expops_prefect.fingerprint.registry import resolve
from expops_prefect.fingerprint.requirements import required_by
from expops_prefect.fingerprint.sources import function_source
from expops_prefect.fingerprint.third_party import (
    external_name,
    hidden_functions,
    module_of,
    owner_of_callable,
    owner_of_function,
    version_of,
    wrapped_function,
)

WRAPPER: Final = "__expops_wrapper__"
"""Marks this package's wrappers around users' functions, which are skipped."""

_SHOWN: Final = frozenset({bool, int, float, complex, type(None)})
"""Types of constants whose values are kept for people; a string may be a secret."""
_HEAD: Final = b"expops-prefect code %d python %d.%d\n" % (FORMAT, *sys.version_info[:2])


@dataclass(slots=True)
class Node:
    """One part of the code: its name for people, its form, and its edges to what it refers to."""

    name: str
    form: bytes = b""
    source: str | None = None
    edges: list[tuple[str, int]] = field(default_factory=list)


class _Guarded:
    """The form of a value while the functions in it are the same objects, because their closures matter too."""

    __slots__ = ("_functions", "_roots")

    def __init__(self, functions: list[Any], roots: tuple[str, ...]) -> None:
        self._functions = functions
        self._roots = roots

    def __call__(self, value: Any) -> bytes:
        found: list[tuple[bytes, Any]] = []
        form = constant_form(value, found, set(), self._roots)
        same = len(found) == len(self._functions) and all(map(_is_in, found, self._functions))
        return form if same else b"other functions"


class _Around:
    """A guard that checks whether a wrapper still calls the same functions."""

    __slots__ = ("_inner", "_others")

    def __init__(self, others: list[FunctionType], inner: Any) -> None:
        self._others = {id(other): other for other in others}
        self._inner = inner

    def __call__(self, value: Any) -> bytes:
        found = {id(other) for other in hidden_functions(value) if other is not self._inner}
        return b"the same" if found == self._others.keys() else b"others"


def _only_checks(function: FunctionType) -> bool:
    """Whether it is beartype's wrapper, whose code contains addresses and which does not change results."""
    return function.__code__.co_filename.startswith("<@beartype(") and "__wrapped__" in function.__dict__


def _is_in(entry: tuple[bytes, Any], function: Any) -> bool:
    return entry[1] is function


class CodeGraph:
    """The graph of one function. Built for every fingerprint, because globals may have been rebound.

    Args:
        root: the project's folder, if known; constants that are paths in it are relative to it.
    """

    def __init__(self, root: Path | None) -> None:
        self.nodes: list[Node] = []
        self._roots = roots_of(root)
        self._bindings = Bindings()
        self.guards = self._bindings.guards
        self.calls: set[str] = set()
        self.functions: list[FunctionType] = []
        self.holds: list[Any] = []
        self.classes: list[type] = []
        self.held: set[type] = set()
        self.unresolved: list[str] = []
        self._texts: set[str] = set()
        self._importers: list[tuple[int, FunctionType]] = []
        self._finders: list[int] = []
        self._reads: set[str] = set()
        self._described: list[tuple[int, FunctionType | type, str]] = []
        self._index: dict[object, int] = {}
        self._pending: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()

    def digest(self) -> str:
        """The digest of all nodes and edges; names of modules are included only if they are in the code."""
        hasher = blake3(_HEAD)
        for node in self.nodes:
            record = [size(len(node.form)), node.form, size(len(node.edges))]
            for label, target in node.edges:
                record += (text(label), size(target))
            hasher.update(b"".join(record))
        return hasher.hexdigest()

    def add_root(self, value: Any, classes: Iterable[type], texts: Iterable[str] = ()) -> None:
        """Add a callable, further classes, and everything that they refer to.

        Args:
            value: the callable.
            classes: the classes.
            texts: strings that the callable receives, which may name modules to import.
        """
        self._texts.update(texts)
        start = self._new("root", Node("root", b"root"))
        classes = tuple(classes)
        self.held.update(classes)
        own = sorted({cls for cls in classes if owner_of_callable(cls) is Owner.PROJECT}, key=class_name)
        self._connect(start, [("", value, "function"), *((f"class {class_name(cls)}", cls, "") for cls in own)])
        self._expand_pending()
        while self._reads and self._described:
            # Code reads annotations, documentation or source; of which functions is unknown, so add those of all.
            described, self._described = self._described, []
            for number, described_value, name in described:
                self._connect(number, self._bindings.reflected(described_value, self._reads, name))
            self._expand_pending()
        for number, function in self._importers:
            self._add_named(number, function)
        for number in self._finders:
            self._add_plugins(number)
        self._add_distributions(start, classes)
        self._add_required(start)

    def _add_distributions(self, number: int, classes: Iterable[type]) -> None:
        """Add the installed packages of the arguments' classes, because their code runs in the methods.

        This comes last, and leaves out packages that the code refers to itself, which are already nodes.
        """
        known = {node.name for node in self.nodes}
        for version in sorted({version_of(cls.__module__) for cls in classes}):
            name = f"dist:{version}"
            if version and name not in known:
                target = self._new(name, Node(name, named("distribution", text(version))))
                self.nodes[number].edges.append(("class of an argument", target))

    def _add_required(self, number: int) -> None:
        """Add the distributions that the used ones require, except those that are already nodes."""
        used = {node.name.removeprefix("dist:") for node in self.nodes if node.name.startswith("dist:")}
        for version in sorted({other for name in used for other in required_by(name)} - used):
            target = self._new(f"required {version}", Node(f"dist:{version}", named("required", text(version))))
            self.nodes[number].edges.append(("required", target))

    @property
    def imports_by_name(self) -> bool:
        """Whether this code imports modules, or looks for entry points, by names given as strings."""
        return bool(self._importers or self._finders)

    def _expand_pending(self) -> None:
        while self._pending:
            expand, arguments = self._pending.popleft()
            expand(*arguments)

    def _add_named(self, number: int, function: FunctionType) -> None:
        """Add the project's modules whose names are anywhere in this code, if it imports by name."""
        parts = self._bindings.imports_named(function, sorted(self._texts))
        own = self._bindings.names_in(function)
        self._add_parts(number, parts)
        if not parts and not lazy_imports.any_located(own):
            self.unresolved.append(self.nodes[number].name)

    def _add_plugins(self, number: int) -> None:
        """Add the entry points of the groups whose names are anywhere in this code."""
        parts = plugins.parts_of(self._texts, self.guards)
        if parts is None:
            self.unresolved.append(self.nodes[number].name)
        self._add_parts(number, parts or ())

    def _add_parts(self, number: int, parts: Iterable[lazy_imports.Part]) -> None:
        edges = self.nodes[number].edges
        for part in parts:
            target = self._index.get(part.name)
            if target is None:
                target = self._new(part.name, Node(part.name, part.form, part.source))
            edge = f"import {part.label}", target
            if edge not in edges:
                edges.append(edge)

    # Finding the node of a value ------------------------------------------------------------------

    def _new(self, key: object, node: Node) -> int:
        number = self._index[key] = len(self.nodes)
        self.nodes.append(node)
        return number

    def _connect(self, number: int, references: Iterable[Reference]) -> None:
        """Add edges; each reference is a label, a value, and the name of the node if the value is a plain one."""
        edges = self.nodes[number].edges
        for label, value, name in references:
            target = self._target(value, name)
            if target is not None:
                edges.append((label, target))

    def _target(self, value: Any, name: str) -> int | None:
        if type(value) in ATOMS:
            return self._value(value, name)
        value = original(value)
        if isinstance(value, FunctionType):
            if issubclass(type(value), FunctionType):
                return self._function(value)
            return self._wrapper(
                value, getattr(value, "__wrapped__", None), name
            )  # wrapt's wrappers claim to be functions
        if isinstance(value, (type, ModuleType)):
            return self._class_or_module(value)
        inner = wrapped_function(value)
        if inner is not None:
            for attribute in ("fn", "__wrapped__", "process", "name", "should_validate_parameters"):
                self.guards.name(vars(value), attribute)
            called = vars(value).get("process") or vars(value).get("name")
            if isinstance(called, str):
                self.calls.add(called)
            if vars(value).get("should_validate_parameters") is True:
                return self._validated(value, inner, name)
            return self._wrapper(value, inner, name)
        return self._value(value, name)

    def _wrapper(self, value: Any, inner: Any, name: str) -> int | None:
        """The node of a wrapper around a function, with the project's other functions that it calls."""
        others = [other for other in hidden_functions(value) if other is not inner]
        if not others or owner_of_module(type(value).__module__) is Owner.US:
            return self._target(inner, name)
        number = self._index.get(id(value))
        if number is None:
            number = self._new(id(value), Node(f"wrapper:{name}", named("wrapper", text(class_name(type(value))))))
            self.guards.form(_Around(others, inner), value, b"the same")
            others.sort(key=self._bindings.function_name)
            references = [("__wrapped__", inner, name)]
            references += [(f"function {place}", other, name) for place, other in enumerate(others)]
            self._pending.append((self._connect, (number, references)))
        return number

    def _validated(self, flow: Any, inner: Any, name: str) -> int:
        """The node of a flow, whose annotations decide how its arguments are converted."""
        number = self._index.get(id(flow))
        if number is None:
            number = self._new(id(flow), Node(f"flow:{flow.name}", named("flow")))
            self._pending.append((self._expand_flow, (number, flow, inner, name)))
        return number

    def _expand_flow(self, number: int, flow: Any, inner: Any, name: str) -> None:
        self._connect(number, [("fn", inner, name), *self._bindings.reflected(inner, ANNOTATIONS, f"flow:{flow.name}")])

    def _function(self, function: FunctionType) -> int | None:
        while WRAPPER in function.__dict__ or _only_checks(function):
            inner: Any = function.__dict__["__wrapped__"]
            self.guards.function(function)
            if not isinstance(inner, FunctionType):
                return self._target(inner, "function")
            function = inner
        number = self._index.get(id(function))
        if number is not None:
            return number
        owner = owner_of_function(function)
        if owner is not Owner.PROJECT:
            return self._foreign_function(function)
        self.guards.function(function)
        number = self._new(id(function), Node(self._bindings.function_name(function)))
        self._pending.append((self._expand_function, (number, function)))
        return number

    def _class_or_module(self, value: Any) -> int | None:
        if owner_of_callable(value) is not Owner.PROJECT:
            return self._external(value)
        number = self._index.get(id(value))
        if number is None:
            module = isinstance(value, ModuleType)
            name = f"module:{value.__name__}" if module else class_name(value)
            number = self._new(id(value), Node(name))
            self.guards.table(vars(value))
            self._pending.append((self._expand_module if module else self._expand_class, (number, value)))
        return number

    def _external(self, value: Any) -> int:
        """The node of third-party code, by name and version."""
        form = named("external", text(external_name(value)), text(version_of(module_of(value))))
        number = self._index.get(form)
        if number is None:
            version = version_of(module_of(value))
            name = f"dist:{version}" if version else f"external:{external_name(value)}"
            number = self._new(form, Node(name, form))
        return number

    def _foreign_function(self, function: FunctionType) -> int:
        """The node of a third-party function; of its closure only what cannot change, not caches and locks."""
        if not function.__closure__ and "__wrapped__" not in function.__dict__:
            return self._external(function)
        number = self._index.get(id(function))
        if number is None:
            version = version_of(module_of(function))
            code = function.__code__
            form = named("external", text(getattr(code, "co_qualname", code.co_name)), text(version))
            number = self._new(id(function), Node(f"dist:{version}" if version else f"external:{code.co_name}", form))
            self.guards.function(function)
            self._pending.append((self._expand_foreign, (number, function)))
        return number

    def _value(self, value: Any, name: str) -> int:
        """The node of a plain value, with the code of the functions and the classes of the objects in it."""
        self._texts.update(lazy_imports.texts_in(value))
        if type(value) in ATOMS or isinstance(value, PurePath):
            place = self._shared(name, Walk(resolve, roots=self._roots).encode(value))
            if type(value) in _SHOWN:
                self.nodes[place].source = repr(value)
            return place
        key = (name, id(value))
        number = self._index.get(key)
        if number is not None:
            return number
        found: list[tuple[bytes, Any]] = []
        classes: set[type] = set()
        form = constant_form(value, found, classes, self._roots)
        # The guard also keeps the value and the functions in it alive, so that their ids are not reused.
        self.guards.form(_Guarded([inner for _, inner in found], self._roots), value, form)
        self.held |= classes
        self.holds += [inner for _, inner in found if inner is not value and not isinstance(inner, (type, ModuleType))]
        known = sorted((cls for cls in classes if cls.__module__ != "builtins"), key=class_name)
        if not found and not known:
            number = self._index[key] = self._shared(name, form)
            return number
        number = self._new(key, Node(name, form))
        # Sorted by form, because a set has no order.
        found.sort(key=lambda entry: entry[0])
        references = [(f"function {place}", inner, name) for place, (_, inner) in enumerate(found)]
        references += [(f"class {class_name(cls)}", cls, name) for cls in known]
        self._pending.append((self._connect, (number, references)))
        return number

    def _shared(self, name: str, form: bytes) -> int:
        """The node of a value that refers to no code; equal values share one, whether or not they are one object."""
        number = self._index.get((name, form))
        return self._new((name, form), Node(name, form)) if number is None else number

    # What a node refers to --------------------------------------------------------------------------

    def _expand_function(self, number: int, function: FunctionType) -> None:
        self.functions.append(function)
        known = function_source(function.__code__, function.__globals__)
        node = self.nodes[number]
        node.form, node.source = named("function", known.digest), known.source
        self._connect(number, self._bindings.of_function(function))
        self._add_parts(number, self._bindings.imports(function))
        self._texts.update(known.references.strings)
        self._reads |= known.references.reads
        self._described.append((number, function, node.name))
        if self._bindings.imports_by_name(function):
            self._importers.append((number, function))
        if plugins.finds(known.references, function.__globals__):
            self._finders.append(number)

    def _expand_foreign(self, number: int, function: FunctionType) -> None:
        self._connect(number, self._bindings.of_foreign(function))

    def _expand_class(self, number: int, cls: type) -> None:
        self.classes.append(cls)
        known = self._bindings.class_source(cls)
        node = self.nodes[number]
        node.form = named("class", known.digest if known else text(cls.__qualname__) + compiled_form(cls.__module__))
        node.source = known.source if known else None
        self._connect(number, self._bindings.of_class(cls, known))
        self._described.append((number, cls, node.name))

    def _expand_module(self, number: int, module: ModuleType) -> None:
        # Not by its full name, which depends on where the file is.
        self.nodes[number].form = named(
            "module", text(module.__name__.rpartition(".")[2]) + compiled_form(module.__name__)
        )
        self._connect(number, self._bindings.of_module(module))
        self._add_parts(number, self._bindings.parts_of(module))
