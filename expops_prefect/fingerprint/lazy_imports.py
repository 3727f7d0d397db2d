"""Modules that a function imports when it runs.

They are read but never imported, because running their code here could change what the function
finds. Only their source is hashed, so that the fingerprint is the same before and after the first
run of the function.
"""

from __future__ import annotations

import ast
import builtins
import pkgutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Final

from expops_prefect._internal.process import is_being_imported, of_process
from expops_prefect.fingerprint.bytecode import may_name_a_module
from expops_prefect.fingerprint.compiled import compiled_form
from expops_prefect.fingerprint.constants import constant_form
from expops_prefect.fingerprint.encoding_primitives import named, text
from expops_prefect.fingerprint.guards import Guards, file_stamp
from expops_prefect.fingerprint.ownership import Owner, distribution_of, locate, owner_of_module
from expops_prefect.fingerprint.parsing import parse
from expops_prefect.fingerprint.sources import definition_digest, function_source, plain_functions
from expops_prefect.fingerprint.syntax import chains, normalised

_DEFINITIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_ALL: Final = "*"
"""In place of a name: all statements of a module."""
_EFFECTS: Final = "<effects>"
"""In place of a name: the statements of a module that do more than bind names when it is imported."""
_MOST_WRAPPERS: Final = 20
_MOST_TEXTS: Final = 1000


@dataclass(frozen=True, slots=True)
class Part:
    """A statement of a module that a function may run, or the version of a distribution."""

    name: str
    label: str
    form: bytes
    source: str | None = None


def absolute(module: str, level: int, package: str) -> str:
    """The absolute name of a module that is imported relative to a package."""
    if level == 0:
        return module
    base = package.split(".")
    base = base[: len(base) - level + 1]
    return ".".join([*base, module] if module else base)


def parts(wanted: Iterable[tuple[str, tuple[str, ...] | None]], guards: Guards) -> list[Part]:
    """Everything that the imports may bring in, sorted by name; names of ``None`` mean a whole module."""
    found: dict[str, Part] = {}
    queue = sorted({(module, name) for module, names in wanted for name in (names or (_ALL,))})
    seen: set[tuple[str, str]] = set(queue)
    while queue:
        module, name = queue.pop(0)
        for part, following in _one(module, name, guards):
            if part is not None:
                found.setdefault(part.name, part)
            for entry in following:
                if entry not in seen:
                    seen.add(entry)
                    queue.append(entry)
    return sorted(found.values(), key=lambda part: part.label)


def texts_in(value: Any, depth: int = 4) -> Iterator[str]:
    """The strings in plain containers that may name modules."""
    if type(value) is str:
        if may_name_a_module(value):
            yield value
    elif depth and type(value) in (list, tuple, set, frozenset, dict) and len(value) <= _MOST_TEXTS:
        for item in (*value, *value.values()) if type(value) is dict else tuple(value):
            yield from texts_in(item, depth - 1)


def named_by(
    texts: Iterable[str], package: str, *, project_only: bool = False
) -> list[tuple[str, tuple[str, ...] | None]]:
    """The modules that strings may name: ``pkg.mod``, ``.mod``, ``pkg.mod:function``, or ``pkg.`` for a whole package.

    Args:
        texts: strings for which ``bytecode.may_name_a_module`` is true.
        package: the package of names that begin with a dot.
        project_only: leave out modules that are not the project's or do not exist.
    """
    found: list[tuple[str, tuple[str, ...] | None]] = []
    for given in texts:
        bare = given.replace(":", ".")
        level = len(bare) - len(bare.lstrip("."))
        name = absolute(bare.strip("."), level, package)
        if bare.endswith("."):
            inside = [(part, None) for part in submodules(name)]
            found += inside
            if inside or project_only:
                continue
        module = next((part for part in _beginnings(name) if locate(part) is not None), None)
        if project_only and (module is None or owner_of_module(module) is not Owner.PROJECT):
            continue
        found.append((name if module is None else module, None))
    return found


def any_located(texts: Iterable[str]) -> bool:
    """Whether one of these strings names an existing module, of the project or not."""
    names = (text.replace(":", ".").strip(".") for text in texts)
    return any(locate(part) is not None for name in names for part in _beginnings(name))


def _beginnings(name: str) -> Iterator[str]:
    """``a.b.c``, ``a.b``, ``a``."""
    while name:
        yield name
        name = name.rpartition(".")[0]


def submodules(module: str) -> list[str]:
    """The modules in a package of the project, found by their files."""
    located = locate(module)
    if located is None or located.package_path is None or located.owner is not Owner.PROJECT:
        return []
    return sorted(f"{module}.{found.name}" for found in pkgutil.iter_modules(located.package_path))


def binds(module: str, name: str) -> bool:
    """Whether a statement of a project's module binds a name, as far as its source shows."""
    located = locate(module)
    if located is None or not located.file or not located.file.endswith(".py"):
        return False
    return name in _parsed(module, located.file)[0].statements


def statements_of(module: str, file: str) -> _Module:
    """The statements of a module of the project, by the names that they bind.

    Raises:
        OSError, SyntaxError, ValueError: its file does not exist or is not Python source.
    """
    return _parsed(module, file)[0]


def _one(module: str, name: str, guards: Guards) -> Iterator[tuple[Part | None, list[tuple[str, str]]]]:
    guards.name(sys.modules, module)
    located = locate(module)
    if located is None:
        if "." not in module and name != _EFFECTS:
            yield Part(f"lazy:{module}:{name}", f"{module}:{name}", named("not found", text(module))), []
        return
    if located.owner is Owner.INSTALLED and name != _EFFECTS:
        version = distribution_of(module)
        yield Part(f"dist:{version}", f"{module}:{name}", named("external", text(module), text(version))), []
        return
    if located.owner is not Owner.PROJECT or not located.file:
        return
    if not located.file.endswith(".py"):
        yield Part(f"lazy:{module}:{_ALL}", f"{module}:{_ALL}", compiled_form(module)), []
        return
    parsed, stamp = _parsed(module, located.file)
    if module not in sys.modules:
        guards.file(located.file, stamp)
    is_package, package = located.package_path is not None, parsed.package
    if name not in (_ALL, _EFFECTS) and name not in parsed.statements:
        if is_package and locate(f"{module}.{name}"):
            yield from _one(f"{module}.{name}", _ALL, guards)
            return
        name = _ALL  # bound by a star import, __getattr__ or the like
    statements = parsed.of(name)
    following: list[tuple[str, str]] = []
    forms: list[bytes] = []
    sources: list[str] = []
    for statement in statements:
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            following += _imported(statement, package, None if name == _ALL else name)
            continue
        form, source, names = parsed.form(statement)
        forms.append(form)
        sources.append(source)
        if name != _ALL:
            following += [(module, other) for other in names if other in parsed.statements and other != name]
        for inner in ast.walk(statement):
            if isinstance(inner, (ast.Import, ast.ImportFrom)):
                following += _imported(inner, package, None)
    if name == _EFFECTS:
        # The effects of the modules that this one imports, and of its packages, come first.
        imports = [inner for inner in parsed.all if isinstance(inner, (ast.Import, ast.ImportFrom))]
        for target, part in [entry for inner in imports for entry in _imported(inner, package, None)]:
            following += [(target, _EFFECTS), (f"{target}.{part}", _EFFECTS)]
    elif name != _ALL:
        following.append((module, _EFFECTS))
    parent = module.rpartition(".")[0]
    if parent:
        following.append((parent, _EFFECTS))
    # A package that imports its own submodule: 'from . import near'.
    following = [(f"{module}.{name}", _ALL) if entry == (module, name) and is_package else entry for entry in following]
    if name == _EFFECTS and not forms:
        yield None, following
        return
    changed = [
        _changed(module, n, parsed, guards)
        for n in (sorted(parsed.statements) if name == _ALL else [name] if name != _EFFECTS else [])
    ]
    form = named("lazy", *forms, *changed)
    yield Part(f"lazy:{module}:{name}", f"{module}:{name}", form, "\n".join(sources) or None), following


def _imported(statement: ast.Import | ast.ImportFrom, package: str, only: str | None) -> list[tuple[str, str]]:
    """What an import statement refers to; with ``only``, just what it binds to that name."""
    if isinstance(statement, ast.Import):
        aliases = [a for a in statement.names if only is None or (a.asname or a.name.partition(".")[0]) == only]
        return [(alias.name, _ALL) for alias in aliases]
    module = absolute(statement.module or "", statement.level, package)
    return [(module, a.name) for a in statement.names if only is None or (a.asname or a.name) == only or a.name == "*"]


def _changed(module: str, name: str, parsed: _Module, guards: Guards) -> bytes:
    """The form of a name's current value, if it visibly differs from what the source says.

    The name may have been rebound, or the file edited, since the module was imported.
    """
    loaded, statements = sys.modules.get(module), parsed.statements[name]
    if loaded is None or len(statements) != 1:
        return b""
    statement = statements[0]
    current = vars(loaded).get(name)
    guards.name(vars(loaded), name)
    if is_being_imported(loaded):
        return b""  # another thread is importing it: a name that is not bound yet was not rebound
    if isinstance(statement, (ast.Assign, ast.AnnAssign)):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        if not all(isinstance(target, ast.Name) for target in targets):
            return b""  # in ``A, B = 1, 2`` each name has only a part of the value
        try:
            written = ast.literal_eval(statement.value) if statement.value is not None else None
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return b""
        if isinstance(written, (list, dict, set)) and parsed.effects():
            return b""  # filled by the module itself
        form = constant_form(current)
        guards.form(constant_form, current, form)
        return b"" if form == constant_form(written) else named("changed", text(name), form)
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
        inner = _unwrapped(current)
        own = isinstance(inner, FunctionType) and inner.__globals__ is vars(loaded) and inner.__name__ == name
        if not own:
            return b"" if statement.decorator_list else named("changed", text(name), constant_form(current))
        return _edited(name, inner, statement)
    if isinstance(statement, ast.ClassDef) and isinstance(current, type):
        written_methods = {s.name: s for s in statement.body if isinstance(s, (ast.FunctionDef, ast.AsyncFunctionDef))}
        methods = [(s, plain_functions(current).get(n)) for n, s in written_methods.items()]
        forms = [_edited(f"{name}.{s.name}", f, s) for s, f in methods if f is not None and f.__name__ == s.name]
        return b"".join(forms)
    return b""


def _unwrapped(value: Any) -> Any:
    """The function inside decorators that set ``__wrapped__``."""
    for _ in range(_MOST_WRAPPERS):
        state = getattr(value, "__dict__", None)
        if not isinstance(state, dict) or "__wrapped__" not in state or isinstance(value, type):
            break
        value = state.get("fn", state["__wrapped__"])
    return value


def _edited(name: str, function: FunctionType, statement: ast.stmt) -> bytes:
    """The form of a loaded function's code, if the file has different code by now."""
    runs = function_source(function.__code__, function.__globals__).digest
    return b"" if runs == definition_digest(statement) else named("changed", text(name), runs)


@dataclass(slots=True)
class _Module:
    """A module's statements by the names they bind; ``package`` is the base of its relative imports."""

    package: str
    all: list[ast.stmt]
    statements: dict[str, list[ast.stmt]]
    forms: dict[int, tuple[bytes, str, tuple[str, ...]]] = field(default_factory=dict)
    _effects: list[ast.stmt] | None = None

    def of(self, name: str) -> list[ast.stmt]:
        """The statements that define a name; ``name`` may be :data:`_ALL` or :data:`_EFFECTS`."""
        if name == _EFFECTS:
            return self.effects()
        return self.all if name == _ALL else self.statements[name]

    def effects(self) -> list[ast.stmt]:
        """The statements that may do more than bind names: they fill registries, set attributes, call."""
        if self._effects is None:
            foreign = set(_foreign_names(self.all, self.package))
            self._effects = [statement for statement in self.all if _does_more(statement, foreign)]
        return self._effects

    def form(self, statement: ast.stmt) -> tuple[bytes, str, tuple[str, ...]]:
        """The form and source of a statement and the names that it loads."""
        known = self.forms.get(id(statement))
        if known is None:
            plain = normalised(ast.Module(body=[statement], type_ignores=[]))
            source = ast.unparse(plain)
            names = tuple(sorted({chain[0] for chain in chains(statement, into_functions=True)}))
            known = self.forms[id(statement)] = named("source", text(ast.dump(plain))), source, names
        return known


class _Modules(dict[str, tuple[tuple[int, int], _Module]]):
    """The files of modules that this process has parsed, with their stamps."""


def _parsed(module: str, file: str) -> tuple[_Module, tuple[int, int]]:
    stamp, modules = file_stamp(file), of_process(_Modules)
    known = modules.get(file)
    # An imported module stays as it was, whatever its file contains now.
    if known is not None and (known[0] == stamp or isinstance(sys.modules.get(module), ModuleType)):
        return known[1], stamp
    tree = parse(Path(file).read_bytes())
    statements: dict[str, list[ast.stmt]] = {}
    kept = [s for s in tree.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
    for statement in kept:
        for name in set(_bound(statement)):
            statements.setdefault(name, []).append(statement)
    own = {
        name
        for name, bound in statements.items()
        if not all(isinstance(s, (ast.Import, ast.ImportFrom)) for s in bound)
    }
    for statement in kept:
        for name in set(_called_on(statement)) & own:
            if statement not in statements[name]:
                statements[name].append(statement)
    package = module if Path(file).stem == "__init__" else module.rpartition(".")[0]
    parsed = _Module(package, kept, statements)
    modules[file] = stamp, parsed
    return parsed, stamp


def _called_on(statement: ast.AST) -> Iterator[str]:
    """The names whose methods a module's statement calls, which may change their values."""
    if isinstance(statement, (*_DEFINITIONS, ast.Lambda)):
        return
    if isinstance(statement, ast.Call) and isinstance(statement.func, ast.Attribute):
        changed = _root(statement.func.value)
        if changed is not None:
            yield changed
    for child in ast.iter_child_nodes(statement):
        yield from _called_on(child)


def _foreign_names(statements: list[ast.stmt], package: str) -> Iterator[str]:
    """The names that a module imports from outside the project, and the built-in names."""
    yield from vars(builtins)
    for statement in statements:
        if not isinstance(statement, (ast.Import, ast.ImportFrom)):
            continue
        for alias in statement.names:
            module = alias.name
            if isinstance(statement, ast.ImportFrom):
                module = absolute(statement.module or "", statement.level, package)
            if owner_of_module(module) is not Owner.PROJECT:
                yield alias.asname or alias.name.partition(".")[0]


def _does_more(statement: ast.stmt, foreign: set[str]) -> bool:
    """Whether a module's statement may do more than bind names; calls of ``foreign`` ones leave the project alone."""
    if isinstance(statement, (ast.Import, ast.ImportFrom, ast.Pass)):
        return False
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return not all(_root(decorator) in foreign for decorator in statement.decorator_list)
    if isinstance(statement, ast.ClassDef):
        makers = [*statement.decorator_list, *statement.bases, *(keyword.value for keyword in statement.keywords)]
        return not all(_root(maker) in foreign for maker in makers)
    if isinstance(statement, (ast.Assign, ast.AnnAssign)):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return any(isinstance(target, (ast.Attribute, ast.Subscript)) for target in targets)
    if isinstance(statement, (ast.If, ast.Try)):
        # The conditions of its bindings are hashed with the names.
        parts = [*statement.body, *statement.orelse, *getattr(statement, "finalbody", ())]
        parts += [inner for handler in getattr(statement, "handlers", ()) for inner in handler.body]
        return any(_does_more(part, foreign) for part in parts)
    return True


def _root(node: ast.expr) -> str | None:
    """The first name of an expression, such as ``functools`` in ``functools.lru_cache(maxsize=3)``."""
    inner: ast.AST = node
    while isinstance(inner, (ast.Attribute, ast.Call, ast.Subscript)):
        inner = inner.func if isinstance(inner, ast.Call) else inner.value
    return inner.id if isinstance(inner, ast.Name) else None


def _bound(statement: ast.AST) -> Iterator[str]:
    """The names that a statement binds in its module, or changes."""
    if isinstance(statement, _DEFINITIONS):
        yield statement.name
        return
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        for alias in statement.names:
            yield alias.asname or alias.name.partition(".")[0]
        return
    if isinstance(statement, ast.Lambda):
        return
    if isinstance(statement, ast.Name) and not isinstance(statement.ctx, ast.Load):
        yield statement.id
    if isinstance(statement, (ast.Attribute, ast.Subscript)) and not isinstance(statement.ctx, ast.Load):
        # NAME.attribute = … and NAME[key] = … change the name's value.
        inner: Any = statement
        while isinstance(inner, (ast.Attribute, ast.Subscript)):
            inner = inner.value
        if isinstance(inner, ast.Name):
            yield inner.id
    for child in ast.iter_child_nodes(statement):
        yield from _bound(child)
