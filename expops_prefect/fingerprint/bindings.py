"""Resolves the names that code uses to the objects that they are bound to now."""

from __future__ import annotations

import builtins
import inspect
import sys
import typing
from collections.abc import Iterable, Iterator
from types import FunctionType, ModuleType
from typing import Any, Final, TypeAlias

from expops_prefect.fingerprint import lazy_imports
from expops_prefect.fingerprint.bytecode import ANNOTATIONS, DOCUMENTATION, MODULES, SOURCE
from expops_prefect.fingerprint.canonical import ATOMS
from expops_prefect.fingerprint.guards import Guards
from expops_prefect.fingerprint.identity import class_file, class_name, file_of_names, module_name
from expops_prefect.fingerprint.ownership import Owner, owner_of_module
from expops_prefect.fingerprint.sources import ClassSource, class_source, function_source, plain_functions
from expops_prefect.fingerprint.syntax import Chain
from expops_prefect.fingerprint.third_party import owner_of_callable, version_of

_MISSING: Final = object()
_PLACE: Final = frozenset({"__file__", "__name__", "__package__", "__path__"})
"""Names that tell where the code is; the module's name is hashed instead."""
_SILENT: Final = frozenset(
    {
        "__builtins__",
        "__cached__",
        "__class__",
        "__debug__",
        "__dict__",
        "__loader__",
        "__spec__",
        "__warningregistry__",
    }
)
_OWN_NAMES: Final = frozenset({"eval", "exec", "globals"})
"""Built-in functions through which code can reach any name of its module."""
_BY_NAME: Final = frozenset({"import_module", "resolve_name", "run_module", "run_path", "spec_from_file_location"})
_IMPORTERS: Final = frozenset({"importlib", "importlib.util", "pkgutil", "runpy"})
_OF_EACH_CLASS: Final = frozenset({"__doc__", "__firstlineno__", "__module__", "__qualname__"})

Reference: TypeAlias = tuple[str, Any, str]
"""The name used, its value, and the name of the node if the value is a plain one."""


class Bindings:
    """Looks up what functions, classes and modules refer to, and guards everything that was looked up."""

    def __init__(self) -> None:
        self.guards = Guards()

    def of_function(self, function: FunctionType) -> Iterator[Reference]:
        """Defaults, closure, globals, and the function that this one wraps."""
        namespace = function.__globals__
        known = function_source(function.__code__, namespace).references
        name = self.function_name(function)
        if function.__defaults__ or function.__kwdefaults__:
            yield "defaults", (function.__defaults__, function.__kwdefaults__), f"default:{name}"
        if known.free:
            yield from self._closure(function, known.free, name)
        module = _module_name(namespace.get("__name__"), function.__code__.co_filename)
        for chain in known.names:
            reference = self._global(chain, namespace, module)
            if reference is not None:
                yield reference
        if self._takes_own_names(known.names, namespace):
            own = sys.modules.get(str(namespace.get("__name__")))
            if own is not None and vars(own) is namespace:
                yield "own module", own, ""
        self.guards.table(function.__dict__)
        for attribute, value in sorted(function.__dict__.items()):
            # Other attributes, such as caches, change from call to call.
            if not attribute.startswith(("__", "_expops")) and (_is_plain(value) or callable(value)):
                yield f"attribute {attribute}", value, f"const:{name}.{attribute}"
        inner = function.__dict__.get("__wrapped__")
        if inner is not None:
            yield "__wrapped__", inner, f"{name}.__wrapped__"

    def reflected(self, value: Any, reads: Iterable[str], name: str) -> Iterator[Reference]:
        """Annotations, documentation and source of a function or class, for code that reads them.

        Args:
            value: the function or class.
            reads: the names by which the code reads them.
            name: the name of the node.
        """
        if not ANNOTATIONS.isdisjoint(reads):
            yield "annotations", _annotations(value), f"annotations:{name}"
        if not DOCUMENTATION.isdisjoint(reads):
            yield "documentation", getattr(value, "__doc__", None), f"documentation:{name}"
        if not SOURCE.isdisjoint(reads):
            yield "source", _source(value), f"source:{name}"

    def of_foreign(self, function: FunctionType) -> Iterator[Reference]:
        """The project's functions and classes in a third-party function; its other state may be caches and locks."""
        name = self.function_name(function)
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=False)
        for variable, cell in sorted(cells, key=lambda entry: entry[0]):
            self.guards.cell(cell)
            try:
                value = cell.cell_contents
            except ValueError:  # not bound yet
                continue
            if callable(value) or type(value) in ATOMS or _is_dispatch_table(value):
                yield f"closure {variable}", value, f"closure:{name}:{variable}"
        inner = function.__dict__.get("__wrapped__")
        if inner is not None:
            yield "__wrapped__", inner, f"{name}.__wrapped__"

    def of_class(self, cls: type, known: ClassSource | None) -> Iterator[Reference]:
        """Bases, methods, data, and the names that its body refers to if its source is known."""
        for place, base in enumerate(cls.__bases__):
            if base is not object:
                yield f"base {place}", base, ""
        if type(cls) is not type:
            yield "metaclass", type(cls), ""
        for name, function in sorted(plain_functions(cls).items()):
            # Some are generated by dataclasses and the like from the class statement.
            if known is None or not function.__code__.co_filename.startswith("<"):
                yield f"method {name}", function, ""
        yield from self._attributes(cls, without_source=known is None)
        if known is not None:
            file, namespaces = _home(cls)
            module = _module_name(cls.__module__, file)
            for chain in known.names:
                namespace = next((names for names in namespaces if chain[0] in names), namespaces[0])
                reference = self._global(chain, namespace, module)
                # Names that are not the module's belong to the class body or to an outer function.
                if reference and not reference[0].startswith("unbound ") and reference[0] not in vars(cls):
                    yield f"body {reference[0]}", *reference[1:]

    def of_module(self, module: ModuleType) -> Iterator[Reference]:
        """All names of a module."""
        for name, value in sorted(vars(module).items()):
            if name.startswith("__") and name != "__getattr__":
                continue
            # Which other submodules a package has as attributes depends on what has been imported so far.
            if self._is_unbound_part(module, name, value):
                continue
            yield name, value, f"const:{module.__name__}:{name}"

    def parts_of(self, module: ModuleType) -> list[lazy_imports.Part]:
        """The modules of a package that its own statements do not name, by their sources."""
        held = vars(module)
        parts = [name.rpartition(".")[2] for name in lazy_imports.submodules(module.__name__)]
        left = [name for name in parts if self._is_unbound_part(module, name, held.get(name, module))]
        return lazy_imports.parts([(f"{module.__name__}.{name}", None) for name in left], self.guards)

    def _is_unbound_part(self, module: ModuleType, name: str, value: Any) -> bool:
        """Whether a package may have this submodule as an attribute only because other code imported it."""
        if value is not module and not (
            isinstance(value, ModuleType) and value.__name__.startswith(module.__name__ + ".")
        ):
            return False
        return not lazy_imports.binds(module.__name__, name)

    def imports(self, function: FunctionType) -> list[lazy_imports.Part]:
        """What a function imports when it runs, by names in its code."""
        namespace = function.__globals__
        known = function_source(function.__code__, namespace).references
        if not known.imports and not known.strings:
            return []
        package = _package(namespace)
        wanted = [(lazy_imports.absolute(entry.module, entry.level, package), entry.names) for entry in known.imports]
        if self.imports_by_name(function):
            wanted += lazy_imports.named_by(known.strings, package)
        elif not MODULES.isdisjoint(known.reads):  # sys.modules["name"]
            wanted += lazy_imports.named_by(known.strings, package, project_only=True)
        return lazy_imports.parts(wanted, self.guards)

    def imports_by_name(self, function: FunctionType) -> bool:
        """Whether a function imports modules by names given as strings."""
        namespace = function.__globals__
        known = function_source(function.__code__, namespace).references
        return _imports_by_name(known.names, namespace) or any(
            entry.module in _IMPORTERS and (entry.names is None or not _BY_NAME.isdisjoint(entry.names))
            for entry in known.imports
        )

    def imports_named(self, function: FunctionType, texts: Iterable[str]) -> list[lazy_imports.Part]:
        """The project's modules among these strings, which a function may import."""
        wanted = lazy_imports.named_by(texts, _package(function.__globals__), project_only=True)
        return lazy_imports.parts(wanted, self.guards)

    def names_in(self, function: FunctionType) -> tuple[str, ...]:
        """The strings in a function that may name modules."""
        return function_source(function.__code__, function.__globals__).references.strings

    def _takes_own_names(self, names: tuple[Chain, ...], namespace: dict[str, Any]) -> bool:
        for chain in names:
            if chain[0] in _OWN_NAMES and chain[0] not in namespace:
                self.guards.name(namespace, chain[0])
                return True
            if chain[1:2] == ("modules",) and namespace.get(chain[0]) is sys and ("__name__",) in names:
                return True  # sys.modules[__name__]
        return False

    def class_source(self, cls: type) -> ClassSource | None:
        """The class statement, if its source can be found with certainty."""
        file, namespaces = _home(cls)
        return class_source(cls, file, namespaces[0])

    def function_name(self, function: FunctionType) -> str:
        """``module:qualname`` of the code, because ``functools.wraps`` renames the function."""
        code = function.__code__
        module = _module_name(function.__globals__.get("__name__"), file_of_names(function))
        return f"{module}:{getattr(code, 'co_qualname', function.__qualname__)}"

    def _closure(self, function: FunctionType, free: tuple[Chain, ...], name: str) -> Iterator[Reference]:
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

    def _global(self, chain: Chain, namespace: dict[str, Any], module: str) -> Reference | None:
        """The current binding of a global name: label, value, and the name of its node."""
        first = chain[0]
        if first in _SILENT:
            return None
        if first in _PLACE:
            return f"place {first}", module.encode(), f"place:{module}"  # bytes, because a string could name a module
        self.guards.name(namespace, first)
        value = namespace.get(first, _MISSING)
        if first == "__annotations__" and not (isinstance(value, dict) and value):
            return None  # a script that is run has them even without any; the same file, imported, does not
        if value is _MISSING:
            # Built-in functions under their own name are the same everywhere.
            return None if hasattr(builtins, first) else (f"unbound {first}", None, f"unbound:{module}:{first}")
        value, used, rest = self._follow(value, chain[1:])
        label = ".".join((first, *used))
        if rest and isinstance(value, FunctionType) and rest[0] != "__wrapped__":
            self.guards.name(value.__dict__, rest[0])
        if rest and isinstance(value, FunctionType) and rest[0] in value.__dict__ and rest[0] != "__wrapped__":
            return f"{label}.{rest[0]}", value.__dict__[rest[0]], f"const:{module}:{label}.{rest[0]}"
        return label, value, f"const:{module}:{label}"

    def _attributes(self, cls: type, *, without_source: bool) -> Iterator[Reference]:
        """Data on a class, which may have been changed after the class was created."""
        for name, value in sorted(vars(cls).items()):
            if (
                name == "__annotations__" and without_source and type(value) is dict and value
            ):  # reading them creates empty ones
                yield "annotations", list(value.items()), f"const:{class_name(cls)}.__annotations__"
            if name.startswith("__") and not _is_own(name, value, without_source=without_source):
                continue
            if name.startswith("_abc_") or isinstance(value, (FunctionType, classmethod, staticmethod, property)):
                continue
            if type(value).__name__ in ("member_descriptor", "getset_descriptor"):
                continue
            if isinstance(value, type) and value.__qualname__.startswith(cls.__qualname__ + "."):
                yield f"class {name}", value, ""
                continue
            yield f"attribute {name}", value, f"const:{class_name(cls)}.{name}"

    def _follow(self, value: Any, attributes: Chain) -> tuple[Any, Chain, Chain]:
        """Follow attributes through modules; return the value, the attributes used, and those left."""
        used = 0
        while isinstance(value, ModuleType) and used < len(attributes):
            namespace, name = vars(value), attributes[used]
            self.guards.name(namespace, name)
            following = namespace.get(name, _MISSING)
            if following is _MISSING:
                break
            is_foreign = owner_of_module(value.__name__) is not Owner.PROJECT
            if is_foreign and _is_part(following, value) and not _is_patched(following):
                break  # the name is in the code's form, the version in the module's node
            value = following
            used += 1
        return value, attributes[:used], attributes[used:]


def _home(cls: type) -> tuple[str | None, tuple[dict[str, Any], ...]]:
    """The file of a class, and the namespaces in which its module's names are looked up, in this order.

    A copy of a class made by cloudpickle has only few of its module's names; the module itself, if it is
    loaded too, has the others.
    """
    module = sys.modules.get(cls.__module__)
    module_file = getattr(module, "__file__", None)
    functions = [f for f in plain_functions(cls).values() if f.__globals__.get("__name__") == cls.__module__]
    file = class_file(cls) or module_file
    if functions:
        file = file or functions[0].__code__.co_filename
        copied = functions[0].__globals__
        return file, (copied, vars(module)) if module is not None and module_file == file else (copied,)
    return file, (vars(module) if module is not None else {},)


def _is_part(value: Any, module: ModuleType) -> bool:
    """Whether a third-party module's version already covers an attribute of it.

    This includes its submodules: whether they are loaded (``scipy.stats`` loads itself when it is first
    used) depends on what ran before. A submodule is hashed separately only if it belongs to another
    distribution, as in namespace packages.
    """
    if not isinstance(value, ModuleType):
        return True
    is_namespace = getattr(module, "__file__", None) is None and hasattr(module, "__path__")
    return not is_namespace and version_of(value.__name__) == version_of(module.__name__)


def _is_patched(value: Any) -> bool:
    """Whether the project has put its own function or class into a third-party module."""
    return isinstance(value, (FunctionType, type)) and owner_of_callable(value) is Owner.PROJECT


def _annotations(value: Any) -> tuple[tuple[str, Any], ...]:
    """The annotations by name, resolved if possible."""
    try:
        found = typing.get_type_hints(value, include_extras=True)
    except Exception:  # noqa: BLE001 - users' code: annotations may be any expression, with undefined names
        found = dict(getattr(value, "__annotations__", None) or {})
    return tuple(sorted(found.items()))


def _is_plain(value: Any) -> bool:
    return type(value) in ATOMS or (type(value) in (tuple, frozenset) and all(map(_is_plain, value)))


def _is_own(name: str, value: Any, *, without_source: bool) -> bool:
    """Whether the value of a special name of a class was set by the user."""
    if name == "__pydantic_fields__":
        return without_source  # if they are nowhere else, as in models that a function created
    made = name in _OF_EACH_CLASS or name.startswith(("__attrs_", "__dataclass_", "__pydantic_"))
    return not made and value is not None and type(value) in ATOMS


def _module_name(module: Any, file: str | None) -> str:
    return module_name(module if isinstance(module, str) else "?", file)


def _package(namespace: dict[str, Any]) -> str:
    return namespace.get("__package__") or str(namespace.get("__name__", "")).rpartition(".")[0]


def _is_dispatch_table(value: Any) -> bool:
    """A dictionary of functions, such as that of ``functools.singledispatch``."""
    return type(value) is dict and bool(value) and all(isinstance(entry, FunctionType) for entry in value.values())


def _source(value: Any) -> str | None:
    try:
        return inspect.getsource(value)
    except (OSError, TypeError):
        return None


def _imports_by_name(names: tuple[Chain, ...], namespace: dict[str, Any]) -> bool:
    for chain in names:
        if chain[0] == "__import__":
            return True
        found = namespace.get(chain[0])
        known = getattr(found, "__name__", None)
        if isinstance(found, ModuleType) and known in _IMPORTERS and not _BY_NAME.isdisjoint(chain):
            return True
        if isinstance(found, FunctionType) and known in _BY_NAME and found.__module__ in _IMPORTERS:
            return True
    return False
