"""What names mean: as they are bound at this moment, or as the source of a module that is not imported says."""

from __future__ import annotations

import ast
import builtins
import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import PurePath
from types import BuiltinFunctionType, BuiltinMethodType, FunctionType, MethodType, MethodWrapperType, ModuleType
from typing import Any, Final, Protocol

from expops_prefect.effects.code.definitions import factories_in, held_in, metaclass_in, methods_in
from expops_prefect.effects.code.naming import (
    is_method_of_text,
    is_of_object,
    is_without_source,
    named_paths,
    paths_of,
    type_path,
)
from expops_prefect.effects.code.values import (
    GLOBAL,
    MISSING,
    PLAIN,
    UNKNOWN,
    Class,
    Function,
    Value,
    constant,
    fresh,
    joined,
)
from expops_prefect.effects.table import environment
from expops_prefect.fingerprint import lazy_imports
from expops_prefect.fingerprint.graph import WRAPPER
from expops_prefect.fingerprint.guards import file_stamp
from expops_prefect.fingerprint.ownership import Owner, locate, owner_of_module
from expops_prefect.fingerprint.sources import function_source, plain_functions
from expops_prefect.fingerprint.third_party import module_of, owner_of_callable, owner_of_function, wrapped_function

_PLAIN: Final = (str, bytes, int, float, complex, bool, type(None))
_HOLDERS: Final = ("builtins", "itertools", "collections")
_MOST_HELD: Final = 200
_MOST_WRAPPED: Final = 20


class Names(Protocol):
    """Looks up the names of one function that are not its own."""

    file: str
    package: str

    def look_up(self, name: str, /) -> Value | None:
        """What a name means; ``None`` if it is not bound."""


class LiveNames:
    """The names of a function that is loaded.

    Args:
        function: the function.
    """

    def __init__(self, function: FunctionType) -> None:
        self._function = function
        self.file = function.__code__.co_filename
        space = function.__globals__
        self.package = space.get("__package__") or str(space.get("__name__", "")).rpartition(".")[0]

    def look_up(self, name: str) -> Value | None:
        """In the closure, the module, and Python's own."""
        code = self._function.__code__
        if name in code.co_freevars and self._function.__closure__:
            try:
                return of_live(self._function.__closure__[code.co_freevars.index(name)].cell_contents, name)
            except ValueError:  # not bound yet
                return None
        found = self._function.__globals__.get(name, MISSING)
        return of_builtin(name) if found is MISSING else of_live(found, name)

    @property
    def without_source(self) -> bool:
        """Whether there is no text that its code may have been made of."""
        return is_without_source(self._function)


def of_builtin(name: str) -> Value | None:
    """What one of Python's own names means."""
    found = getattr(builtins, name, MISSING)
    if found is MISSING:
        return PLAIN if name in ("__file__", "__name__", "__class__") else None
    return Value(paths=(f"builtins.{name}",), live=found)


def of_live(value: Any, name: str = "", written: str = "") -> Value:
    """What is known of an object that exists.

    Args:
        value: the object.
        name: the name by which it was found, if it is no attribute.
        written: the qualified name by which it was found, if it is an attribute of a module.
    """
    if isinstance(value, _PLAIN):
        return constant(value)
    if isinstance(value, PurePath):
        return Value(type="pathlib.Path", plain=True, origins=frozenset({GLOBAL}))
    if isinstance(value, ModuleType):
        return Value(paths=paths_of(value.__name__, written), live=value)
    if isinstance(value, functools.partial):
        return of_live(value.func, name, written).made(origins=frozenset(), parameter="")
    if isinstance(value, MethodType):
        bound = of_live(value.__self__)
        found = of_live(value.__func__, name)
        if found.callees:
            return found.made(callees=tuple(_bound(callee, bound) for callee in found.callees))
        if is_of_object(value):
            return attribute(bound, value.__name__)
        return Value(paths=named_paths(value, name, written), live=value)
    if isinstance(value, FunctionType):
        return _of_function(value, name, written)
    if isinstance(value, type):
        if owner_of_callable(value) is Owner.PROJECT:
            return of_class(value).value
        return Value(paths=paths_of(f"{value.__module__}.{value.__qualname__}", written), live=value)
    inner = wrapped_function(value)
    if inner is not None:
        return of_live(inner, name).made(live=value)
    if callable(value) and owner_of_module(type(value).__module__) is not Owner.PROJECT:
        if _is_of_container(value):
            return attribute(of_live(value.__self__), value.__name__)
        found_paths = named_paths(value, name, written)
        if isinstance(value, BuiltinFunctionType):
            return Value(paths=found_paths, live=value)
        return Value(paths=found_paths, live=value, type=type_path(value), origins=frozenset({GLOBAL}))
    return _of_object(value, written)


def _of_function(value: FunctionType, name: str, written: str) -> Value:
    for _ in range(_MOST_WRAPPED):
        if WRAPPER not in value.__dict__:
            break
        inner = value.__dict__["__wrapped__"]
        if not isinstance(inner, FunctionType):
            return of_live(inner, name)
        value = inner
    if is_own(value):
        return Value(callees=(of_function(value),), live=value, origins=frozenset({GLOBAL}))
    if "__wrapped__" in value.__dict__:
        inner = of_live(value.__dict__["__wrapped__"])
        if inner.callees:
            return inner
    return Value(
        paths=paths_of(f"{module_of(value)}.{value.__qualname__}", written, f"{value.__module__}.{name}"), live=value
    )


def _is_of_container(value: Any) -> bool:
    """Whether it is a method of a list, an iterator or the like: ``LOG.append``, ``itertools.count().__next__``."""
    if not isinstance(value, (BuiltinMethodType, MethodWrapperType)):
        return False
    if type(value.__self__).__module__ in _HOLDERS:
        return not isinstance(value.__self__, (ModuleType, type))
    return isinstance(value, BuiltinMethodType) and is_of_object(value)


def _of_object(value: Any, written: str) -> Value:
    kind = type(value)
    path = written
    if type_path(value) == "os._Environ":
        path = environment.WHOLE
    elif value is sys.argv:
        path = "sys.argv"
    own = of_class(kind) if owner_of_callable(kind) is Owner.PROJECT else None
    element = None
    if isinstance(value, (dict, list, tuple)) and len(value) <= _MOST_HELD:
        held = list(value.values()) if isinstance(value, dict) else list(value)
        held.append(getattr(value, "default_factory", None))
        known = [of_live(entry) for entry in held if callable(entry)]
        element = joined(known).made(origins=frozenset({GLOBAL})) if known else None
    return Value(
        paths=paths_of(path, written),
        type=type_path(value),
        live=value if own is not None or kind not in (list, dict, set) else MISSING,
        instance=own,
        element=element,
        origins=frozenset() if isinstance(value, (tuple, frozenset)) else frozenset({GLOBAL}),
    )


def is_own(function: FunctionType) -> bool:
    """Whether a function is the project's; somebody else's decorator may have made one out of a text."""
    if owner_of_function(function) is not Owner.PROJECT:
        return False
    return (
        not function.__code__.co_filename.startswith("<") or owner_of_module(str(function.__module__)) is Owner.PROJECT
    )


def of_function(function: FunctionType) -> Function:
    """A function of the project that is loaded."""
    node: Any = function_source(function.__code__, function.__globals__).node
    return Function(id(function), node, LiveNames(function), function.__code__)


def of_class(cls: type) -> Class:
    """A class of the project that is loaded."""
    methods: dict[str, Function] = {}
    for base in reversed(cls.__mro__):
        if owner_of_callable(base) is Owner.PROJECT:
            methods |= {n: of_function(f) for n, f in plain_functions(base).items() if not is_generated(n, f)}
    bases = tuple(of_live(base) for base in cls.__mro__[1:] if owner_of_callable(base) is not Owner.PROJECT)
    return Class(cls, cls.__name__, methods, bases, live=cls)


def read_class(
    key: object, statement: ast.ClassDef, methods: Mapping[str, Function], value: Callable[[ast.expr], Value]
) -> Class:
    """A class that is only read.

    Args:
        statement: the class statement.
        methods: the functions in it.
        value: tells what an expression in it is.
    """
    bases = [value(base) for base in statement.bases]
    parents = tuple(own for base in bases for own in base.callees if isinstance(own, Class))
    for parent in parents:
        methods = {**parent.methods, **methods}
    named = metaclass_in(statement)
    meta = next((own for own in value(named).callees if isinstance(own, Class)), None) if named is not None else None
    factories = tuple((field, value(node)) for field, node in factories_in(statement))
    foreign = (*(base for base in bases if base.paths), *(base for parent in parents for base in parent.bases))
    return Class(key, statement.name, methods, foreign, parents=parents, meta=meta, factories=factories)


def is_generated(name: str, function: FunctionType) -> bool:
    """Whether a method was made by ``dataclasses`` and the like out of what the class statement says."""
    if owner_of_function(function) is not Owner.PROJECT:
        return True
    if is_method_of_text(function):
        return False
    return (
        name.startswith("__") and function.__code__.co_filename.startswith("<") and of_function(function).node is None
    )


def _bound(callee: Function | Class, bound: Value) -> Function | Class:
    if isinstance(callee, Class):
        return callee
    return Function(callee.key, callee.node, callee.names, callee.code, bound, callee.nested)


# Modules that are not imported --------------------------------------------------------------------


class SourceModule:
    """A module of the project that is only read: what its statements say that its names mean.

    Args:
        name: its name.
    """

    def __init__(self, name: str, file: str) -> None:
        self.name = name
        self.file = file
        self._module = lazy_imports.statements_of(name, file)
        self.package = self._module.package
        self._found: dict[str, Value | None] = {}

    def look_up(self, name: str) -> Value | None:
        """What the last statement that binds a name says of it."""
        if name not in self._found:
            self._found[name] = None  # one that refers to itself is not known
            statements = self._module.statements.get(name)
            self._found[name] = self._value(statements[-1], name) if statements else of_builtin(name)
        return self._found[name]

    def functions(self) -> Iterator[tuple[str, Value]]:
        """The names of the module that are bound to something that can run."""
        for name in self._module.statements:
            found = self.look_up(name)
            if found is not None and found.callees:
                yield name, found

    def _value(self, statement: ast.stmt, name: str) -> Value:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return Value(callees=(self._function(statement, statement.name),), origins=frozenset({GLOBAL}))
        if isinstance(statement, ast.ClassDef):
            methods = {
                inner: self._function(node, f"{statement.name}.{inner}") for inner, node in methods_in(statement)
            }
            key = (self.name, statement.name)
            made = read_class(key, statement, methods, self._expression)
            return replace(made, held={name: self._expression(node) for name, node in held_in(statement)}).value
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            return imported(statement, self.package).get(name, UNKNOWN)
        if isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.value is not None:
            return self._expression(statement.value)
        return UNKNOWN.made(origins=frozenset({GLOBAL}))

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> Function:
        return Function((self.name, name), node, self)

    def _expression(self, node: ast.expr) -> Value:
        """What a module's constant is: a text, a call of something known, something imported."""
        if isinstance(node, ast.Constant):
            return constant(node.value)
        if isinstance(node, (ast.Name, ast.Attribute)):
            return self._chain(node)
        if isinstance(node, ast.Lambda):
            return Value(callees=(Function((self.name, node.lineno, node.col_offset), node, self),))
        if isinstance(node, ast.Call):
            made = self._chain(node.func) if isinstance(node.func, (ast.Name, ast.Attribute)) else UNKNOWN
            if "functools.partial" in made.paths and node.args:
                return self._expression(node.args[0])
            own = next((callee for callee in made.callees if isinstance(callee, Class)), None)
            return Value(type=made.paths[0] if made.paths else "", instance=own, origins=frozenset({GLOBAL}))
        if isinstance(node, (ast.List, ast.Dict, ast.Set)):
            return fresh(type=f"builtins.{type(node).__name__.lower()}").made(origins=frozenset({GLOBAL}), fresh=False)
        return UNKNOWN.made(origins=frozenset({GLOBAL}))

    def _chain(self, node: ast.expr) -> Value:
        if isinstance(node, ast.Attribute):
            return attribute(self._chain(node.value), node.attr)
        return (self.look_up(node.id) if isinstance(node, ast.Name) else None) or UNKNOWN


@functools.lru_cache(maxsize=256)
def _source_module(name: str, file: str, _stamp: tuple[int, int]) -> SourceModule:
    return SourceModule(name, file)


def module_value(name: str) -> Value:
    """A module by its name, without importing it."""
    loaded = sys.modules.get(name)
    if isinstance(loaded, ModuleType):
        return of_live(loaded, written=name)
    located = locate(name)
    if located is not None and located.owner is Owner.PROJECT and located.file and located.file.endswith(".py"):
        stamp = file_stamp(located.file)
        try:
            return Value(live=_source_module(name, located.file, stamp))
        except (OSError, SyntaxError, ValueError):
            return UNKNOWN
    if located is not None and located.owner is Owner.PROJECT and located.package_path:
        return Value(live=_Package(name))
    return Value(paths=(name,))


class _Package:
    """A folder of modules."""

    def __init__(self, name: str) -> None:
        self.name = name

    def look_up(self, _name: str) -> Value | None:
        """Nothing: it has modules only."""
        return None


def imported(statement: ast.Import | ast.ImportFrom, package: str) -> dict[str, Value]:
    """The names that an import statement binds."""
    found: dict[str, Value] = {}
    for alias in statement.names:
        if isinstance(statement, ast.Import):
            top = alias.name.partition(".")[0]
            found[alias.asname or top] = module_value(alias.name if alias.asname else top)
            continue
        module = lazy_imports.absolute(statement.module or "", statement.level, package)
        found[alias.asname or alias.name] = attribute(module_value(module), alias.name)
    return found


# Attributes -----------------------------------------------------------------------------------------


def attribute(value: Value, name: str) -> Value:
    """An attribute of a value."""
    live = value.live
    if isinstance(live, (SourceModule, _Package)):
        found = live.look_up(name)
        return found if found is not None else module_value(f"{live.name}.{name}")
    if isinstance(live, ModuleType):
        held = vars(live).get(name, MISSING)
        written = f"{live.__name__}.{name}"
        if held is MISSING:
            return (
                module_value(written)
                if owner_of_module(live.__name__) is Owner.PROJECT
                else Value(paths=paths_of(written, *(f"{p}.{name}" for p in value.paths)))
            )
        found = of_live(held, name, written)
        return (
            found.made(
                paths=(
                    *found.paths,
                    *(p for p in paths_of(*(f"{path}.{name}" for path in value.paths)) if p not in found.paths),
                )
            )
            if found.paths
            else found
        )
    own = value.instance or next((c for c in value.callees if isinstance(c, Class)), None)
    if own is not None:
        found_own = _of_own(value, own, name)
        if found_own is None and value.instance is None and own.live is not None:
            meta = type(own.live)
            found_own = _of_own(value, of_class(meta), name) if owner_of_callable(meta) is Owner.PROJECT else None
        if found_own is not None:
            return found_own
    # What is None so far is something else by the time that it is used.
    base = (*value.paths, *((value.type,) if value.type and value.constant is not None else ()))
    return Value(
        paths=paths_of(*(f"{path}.{name}" for path in base)),
        origins=value.origins | value.inner,
        inner=value.deep,
        deep=value.deep,
        taints=value.taints,
        private=value.private,
        fresh=value.fresh,
        receiver=value,
        attribute=name,
    )


def _of_own(value: Value, own: Class, name: str) -> Value | None:
    live = value.live
    if value.instance is not None and live is not MISSING and not isinstance(live, type):
        held = getattr(live, "__dict__", {}).get(name, MISSING)
        if held is not MISSING:
            return of_live(held).made(receiver=value, attribute=name)
    method = own.methods.get(name)
    if method is not None:
        held = held_by(own, name)
        is_plain = held is MISSING or isinstance(held, FunctionType)
        of_meta = value.instance is None and all(callee.key != own.key for callee in value.callees)
        bound = value if (value.instance is not None or of_meta) and is_plain else None
        if isinstance(held, classmethod):
            bound = own.value
        return Value(callees=(Function(method.key, method.node, method.names, method.code, bound, method.nested),))
    for part in ("fget", "func"):
        getter = own.methods.get(f"{name}.{part}")
        if getter is not None:
            return Value(origins=value.all_origins, receiver=value, attribute=name, callees=())
    known = next((cls.held[name] for cls in (own, *own.parents) if name in cls.held), None)
    if known is not None:
        return known.made(receiver=value, attribute=name)
    held = held_by(own, name)
    if held is None and value.instance is None:  # by the time that it is used it is what the class shares
        return Value(origins=value.origins | {GLOBAL}, receiver=value, attribute=name)
    if held is not MISSING and type(held).__name__ not in ("member_descriptor", "getset_descriptor", "property"):
        return of_live(held).made(receiver=value, attribute=name)
    return None


def held_by(cls: Class, name: str) -> Any:
    """What a class or a loaded one of its bases holds."""
    if cls.live is not None:
        return next((vars(base)[name] for base in cls.live.__mro__ if name in vars(base)), MISSING)
    return next((held for parent in cls.parents if (held := held_by(parent, name)) is not MISSING), MISSING)
