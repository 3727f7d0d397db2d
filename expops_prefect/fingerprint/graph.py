"""Everything of the project's own code that a function refers to, directly or through others.

Nodes are functions, classes, values and names of lazily imported modules; edges say by which name
one refers to another. Nodes are numbered as they are found when all references are followed in
the order of their names, so equal code gives equal numbers wherever its modules lie.
"""

from __future__ import annotations

import builtins
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from types import FunctionType, ModuleType
from typing import Any, Final

from blake3 import blake3

from expops_prefect.fingerprint import lazy_imports
from expops_prefect.fingerprint.canonical import ATOMS, Walk
from expops_prefect.fingerprint.external import (
    external_form,
    external_name,
    module_of,
    owner_of_callable,
    owner_of_function,
    version_of,
    wrapped_function,
)
from expops_prefect.fingerprint.forms import FORMAT, named, size, string, text
from expops_prefect.fingerprint.guards import Guards
from expops_prefect.fingerprint.identity import class_file, class_name, module_name, started_by_file
from expops_prefect.fingerprint.ownership import Owner, owner_of_module
from expops_prefect.fingerprint.registry import resolve
from expops_prefect.fingerprint.sources import class_source, function_source, plain_functions
from expops_prefect.fingerprint.syntax import Chain

WRAPPER: Final = "__expops_wrapper__"
"""Marks the functions of this package around users' functions: they are passed over."""

_HEAD: Final = b"expops-prefect code %d python %d.%d\n" % (FORMAT, *sys.version_info[:2])
_MISSING: Final = object()


@dataclass(slots=True)
class Node:
    """One part of the code: its name for people, the form of what it is, and what it refers to."""

    name: str
    form: bytes = b""
    source: str | None = None
    edges: list[tuple[str, int]] = field(default_factory=list)


class CodeGraph:
    """The graph of one function. Made anew for every fingerprint: globals may have been bound anew.

    Args:
        root: the project's folder, if it is known: constants that are paths in it count from there.
    """

    def __init__(self, root: Path | None) -> None:
        self.nodes: list[Node] = []
        self.guards = Guards()
        self._root = str(Path(root).resolve()) if root is not None else None
        self._index: dict[object, int] = {}
        self._pending: list[tuple[Callable[..., None], tuple[Any, ...]]] = []

    def digest(self) -> str:
        """The digest of all nodes and edges; names of modules are in it only where code says them."""
        hasher = blake3(_HEAD)
        for node in self.nodes:
            record = [size(len(node.form)), node.form, size(len(node.edges))]
            for label, target in node.edges:
                record += (text(label), size(target))
            hasher.update(b"".join(record))
        return hasher.hexdigest()

    def add_root(self, value: Any, classes: Iterable[type]) -> None:
        """Add a callable, classes beside it, and all that they refer to."""
        start = self._new("root", Node("root", b"root"))
        own = sorted({cls for cls in classes if owner_of_callable(cls) is Owner.PROJECT}, key=class_name)
        self._connect(start, [("", value, "function"), *((f"class {class_name(cls)}", cls, "") for cls in own)])
        position = 0
        while position < len(self._pending):
            expand, arguments = self._pending[position]
            position += 1
            expand(*arguments)

    # Finding the node of a value ------------------------------------------------------------------

    def _new(self, key: object, node: Node) -> int:
        number = self._index[key] = len(self.nodes)
        self.nodes.append(node)
        return number

    def _connect(self, number: int, references: Iterable[tuple[str, Any, str]]) -> None:
        """Add edges: each a label, a value, and the name of the node if the value is a plain one."""
        edges = self.nodes[number].edges
        for label, value, name in references:
            target = self._target(value, name)
            if target is not None:
                edges.append((label, target))

    def _target(self, value: Any, name: str) -> int | None:
        if type(value) in ATOMS:
            return self._value(value, name)
        if isinstance(value, FunctionType):
            return self._function(value)
        if isinstance(value, (type, ModuleType)):
            return self._class_or_module(value)
        inner = wrapped_function(value)
        if inner is not None:
            for attribute in ("fn", "__wrapped__"):
                self.guards.name(vars(value), attribute)
            return self._target(inner, name)
        return self._value(value, name)

    def _function(self, function: FunctionType) -> int | None:
        while WRAPPER in function.__dict__:
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
        number = self._new(id(function), Node(self.function_name(function)))
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
        """Code of others: by name and version."""
        form = named("external", text(external_name(value)), text(version_of(module_of(value))))
        number = self._index.get(form)
        if number is None:
            version = version_of(module_of(value))
            name = f"dist:{version}" if version else f"external:{external_name(value)}"
            number = self._new(form, Node(name, form))
        return number

    def _foreign_function(self, function: FunctionType) -> int:
        """Somebody else's function; of its closure only what cannot change: it may hold caches and locks."""
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
        """A plain value, with the code of the functions and the classes of the objects in it."""
        if type(value) in ATOMS or isinstance(value, PurePath):
            return self._shared(name, self._atom(value))
        key = (name, id(value))
        number = self._index.get(key)
        if number is not None:
            return number
        found: list[tuple[bytes, Any]] = []
        classes: set[type] = set()
        form = _value_form(value, found, classes)
        # The guard also keeps the value, so that its id stays taken.
        self.guards.form(_value_form, value, form)
        known = sorted((cls for cls in classes if cls.__module__ != "builtins"), key=class_name)
        if not found and not known:
            number = self._index[key] = self._shared(name, form)
            return number
        number = self._new(key, Node(name, form))
        # Sorted by what they are: in a set they come in any order.
        found.sort(key=lambda entry: entry[0])
        references = [(f"function {place}", inner, name) for place, (_, inner) in enumerate(found)]
        references += [(f"class {class_name(cls)}", cls, name) for cls in known]
        self._pending.append((self._connect, (number, references)))
        return number

    def _shared(self, name: str, form: bytes) -> int:
        """The node of a value that refers to no code. Whether equal values are one object means nothing."""
        number = self._index.get((name, form))
        return self._new((name, form), Node(name, form)) if number is None else number

    def _atom(self, value: Any) -> bytes:
        if self._root is not None and isinstance(value, (str, PurePath)):
            full = str(value)
            if full == self._root or full.startswith(self._root + os.sep):
                # A path made from __file__: another checkout has it elsewhere.
                return named("below root", text(type(value).__name__), string(os.path.relpath(full, self._root)))
        return Walk(resolve).encode(value)

    # What a node refers to --------------------------------------------------------------------------

    def _expand_function(self, number: int, function: FunctionType) -> None:
        namespace = function.__globals__
        known = function_source(function.__code__, namespace)
        node = self.nodes[number]
        node.form, node.source = named("function", known.digest), known.source
        module = self._module_name(namespace.get("__name__"), function.__code__.co_filename)
        references: list[tuple[str, Any, str]] = []
        if function.__defaults__ or function.__kwdefaults__:
            defaults = (function.__defaults__, function.__kwdefaults__)
            references.append(("defaults", defaults, f"default:{node.name}"))
        if known.references.free:
            references += self._closure(function, known.references.free, node.name)
        for chain in known.references.names:
            reference = self._global(chain, namespace, module)
            if reference is not None:
                references.append(reference)
        inner = function.__dict__.get("__wrapped__")
        if inner is not None:
            references.append(("__wrapped__", inner, f"{node.name}.__wrapped__"))
        self._connect(number, references)
        if known.references.imports or known.references.strings:
            self._connect_imports(number, function)

    def _closure(self, function: FunctionType, free: tuple[Chain, ...], name: str) -> Iterable[tuple[str, Any, str]]:
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))
        for chain in free:
            cell = cells[chain[0]]
            self.guards.cell(cell)
            try:
                value = cell.cell_contents
            except ValueError:  # not bound yet
                continue
            value, used, _ = self._follow(value, chain[1:])
            yield "closure " + ".".join((chain[0], *used)), value, f"closure:{name}:{chain[0]}"

    def _global(self, chain: Chain, namespace: dict[str, Any], module: str) -> tuple[str, Any, str] | None:
        """What a global name means now: label, value, and the name of its node."""
        first = chain[0]
        if first.startswith("__") and first.endswith("__"):
            return None  # __file__ and __name__ say where the code lies, not what it does
        self.guards.name(namespace, first)
        value = namespace.get(first, _MISSING)
        if value is _MISSING:
            # Python's own functions are the same wherever they have their own name.
            return None if hasattr(builtins, first) else (f"unbound {first}", None, f"unbound:{module}:{first}")
        value, used, rest = self._follow(value, chain[1:])
        label = ".".join((first, *used))
        if rest and isinstance(value, FunctionType) and rest[0] != "__wrapped__":
            self.guards.name(value.__dict__, rest[0])
        if rest and isinstance(value, FunctionType) and rest[0] in value.__dict__ and rest[0] != "__wrapped__":
            return f"{label}.{rest[0]}", value.__dict__[rest[0]], f"const:{module}:{label}.{rest[0]}"
        return label, value, f"const:{module}:{label}"

    def _connect_imports(self, number: int, function: FunctionType) -> None:
        known = function_source(function.__code__, function.__globals__).references
        namespace = function.__globals__
        package = namespace.get("__package__") or str(namespace.get("__name__", "")).rpartition(".")[0]
        wanted = [(lazy_imports.absolute(entry.module, entry.level, package), entry.names) for entry in known.imports]
        if _imports_by_name(known.names, namespace) or any(entry.module == "importlib" for entry in known.imports):
            wanted += [
                (lazy_imports.absolute(name.lstrip("."), len(name) - len(name.lstrip(".")), package), None)
                for name in known.strings
            ]
        for found in lazy_imports.parts(wanted, self.guards):
            target = self._index.get(found.name)
            if target is None:
                target = self._new(found.name, Node(found.name, found.form, found.source))
            self.nodes[number].edges.append((f"import {found.label}", target))

    def _expand_foreign(self, number: int, function: FunctionType) -> None:
        references: list[tuple[str, Any, str]] = []
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=False)
        for name, cell in sorted(cells, key=lambda entry: entry[0]):
            self.guards.cell(cell)
            try:
                value = cell.cell_contents
            except ValueError:
                continue
            if callable(value) or type(value) in ATOMS:
                references.append((f"closure {name}", value, f"closure:{self.nodes[number].name}:{name}"))
        inner = function.__dict__.get("__wrapped__")
        if inner is not None:
            references.append(("__wrapped__", inner, "wrapped"))
        self._connect(number, references)

    def _expand_class(self, number: int, cls: type) -> None:
        node = self.nodes[number]
        module = sys.modules.get(cls.__module__)
        file = class_file(cls) or getattr(module, "__file__", None)
        functions = plain_functions(cls)
        namespace = next(
            (f.__globals__ for f in functions.values() if f.__globals__.get("__name__") == cls.__module__), None
        )
        if namespace is None:
            namespace = vars(module) if module is not None else {}
        file = file or next((f.__code__.co_filename for f in functions.values()), None)
        known = class_source(cls, file, namespace)
        node.form = named("class", known.digest if known else text(cls.__qualname__))
        node.source = known.source if known else None
        references: list[tuple[str, Any, str]] = [
            (f"base {place}", base, "") for place, base in enumerate(cls.__bases__) if base is not object
        ]
        if type(cls) is not type:
            references.append(("metaclass", type(cls), ""))
        for name, function in sorted(functions.items()):
            # Generated by dataclasses and the like out of what the class statement says.
            if known is None or not function.__code__.co_filename.startswith("<"):
                references.append((f"method {name}", function, ""))
        references += self._attributes(cls, without_source=known is None)
        if known is not None:
            label = self._module_name(cls.__module__, file)
            entries = (self._global(chain, namespace, label) for chain in known.names)
            own_names = vars(cls)
            references += [
                (f"body {entry[0]}", *entry[1:])
                for entry in entries
                if entry is not None and not entry[0].startswith("unbound ") and entry[0] not in own_names
            ]
        self._connect(number, references)

    def _attributes(self, cls: type, *, without_source: bool) -> Iterable[tuple[str, Any, str]]:
        """Data on a class: it may have been changed after the class was made."""
        for name, value in sorted(vars(cls).items()):
            if name == "__annotations__" and without_source:
                yield "annotations", list(value.items()), f"const:{class_name(cls)}.__annotations__"
            if name.startswith(("__", "_abc_")) or isinstance(
                value, (FunctionType, classmethod, staticmethod, property)
            ):
                continue
            if type(value).__name__ in ("member_descriptor", "getset_descriptor"):
                continue
            if isinstance(value, type) and value.__qualname__.startswith(cls.__qualname__ + "."):
                yield f"class {name}", value, ""
                continue
            yield f"attribute {name}", value, f"const:{class_name(cls)}.{name}"

    def _expand_module(self, number: int, module: ModuleType) -> None:
        node = self.nodes[number]
        # Not by its name: it says where the file lies.
        node.form = named("module", text(module.__name__.rpartition(".")[2]))
        prefix = module.__name__ + "."
        references: list[tuple[str, Any, str]] = []
        for name, value in sorted(vars(module).items()):
            if name.startswith("__") and name != "__getattr__":
                continue
            # Which of its own parts a package holds depends on what has been imported so far.
            if isinstance(value, ModuleType) and value.__name__.startswith(prefix):
                continue
            references.append((name, value, f"const:{module.__name__}:{name}"))
        self._connect(number, references)

    def _follow(self, value: Any, attributes: Chain) -> tuple[Any, Chain, Chain]:
        """Follow attributes through modules. The value, the attributes used, and the ones left."""
        used = 0
        while isinstance(value, ModuleType) and used < len(attributes):
            namespace, name = vars(value), attributes[used]
            self.guards.name(namespace, name)
            following = namespace.get(name, _MISSING)
            if following is _MISSING:
                break
            if not isinstance(following, ModuleType) and owner_of_module(value.__name__) is not Owner.PROJECT:
                break  # the name is in the code, the version in the node of the module
            value = following
            used += 1
        return value, attributes[:used], attributes[used:]

    # Names ------------------------------------------------------------------------------------------

    def function_name(self, function: FunctionType) -> str:
        """``module:qualname``; of the code, because ``functools.wraps`` renames the function."""
        code = function.__code__
        module = self._module_name(function.__globals__.get("__name__"), code.co_filename)
        return f"{module}:{getattr(code, 'co_qualname', function.__qualname__)}"

    def _module_name(self, module: Any, file: str | None) -> str:
        name = module if isinstance(module, str) else "?"
        if self._root is not None and file and started_by_file(name):
            real = str(Path(file).resolve())
            if real.startswith(self._root + os.sep):
                return ".".join(Path(os.path.relpath(real, self._root)).with_suffix("").parts)
        return module_name(name, file)


def _value_form(value: Any, found: list[tuple[bytes, Any]] | None = None, classes: set[type] | None = None) -> bytes:
    """The form of a constant. Functions in it count by their own text; more follows through edges."""

    def on_callable(inner: Any) -> bytes:
        form = _local_form(inner)
        if found is not None:
            found.append((form, inner))
        return form

    try:
        return Walk(resolve, lenient=True, classes=classes, on_callable=on_callable).encode(value)
    except RecursionError:
        return named("deep", text(class_name(type(value))))


def _local_form(value: Any) -> bytes:
    if isinstance(value, FunctionType) and owner_of_function(value) is Owner.PROJECT:
        return named("function", function_source(value.__code__, value.__globals__).digest)
    if isinstance(value, (FunctionType, type, ModuleType)):
        form = external_form(value)
        return form if form is not None else named("own", text(value.__name__))
    return named("external", text(external_name(value)))


def _imports_by_name(names: tuple[Chain, ...], namespace: dict[str, Any]) -> bool:
    for chain in names:
        if chain[0] == "__import__":
            return True
        module = namespace.get(chain[0])
        if getattr(module, "__name__", None) == "importlib" and "import_module" in chain:
            return True
        if getattr(module, "__name__", None) == "import_module":
            return True
    return False
