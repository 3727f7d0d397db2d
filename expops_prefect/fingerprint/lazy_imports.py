"""Modules that a function imports when it runs.

They are read, never imported: importing runs code, and running it here could change what the
function finds. They count by their source alone, so that the fingerprint is the same before and
after the first run of the function.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Final

from expops_prefect.fingerprint.constants import constant_form
from expops_prefect.fingerprint.forms import named, text
from expops_prefect.fingerprint.guards import Guards, file_stamp
from expops_prefect.fingerprint.ownership import Owner, distribution_of, locate
from expops_prefect.fingerprint.parsing import parse
from expops_prefect.fingerprint.syntax import chains, normalised

_modules: dict[str, tuple[tuple[int, int], _Module]] = {}
_DEFINITIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True, slots=True)
class Part:
    """A statement of a module that a function may come to run, or the version of a distribution."""

    name: str
    label: str
    form: bytes
    source: str | None = None


def absolute(module: str, level: int, package: str) -> str:
    """The full name of a module that is imported relative to a package."""
    if level == 0:
        return module
    base = package.split(".")
    base = base[: len(base) - level + 1]
    return ".".join([*base, module] if module else base)


def parts(wanted: Iterable[tuple[str, tuple[str, ...] | None]], guards: Guards) -> list[Part]:
    """All that the imports may bring in, in the order of names; ``None`` for a whole module."""
    found: dict[str, Part] = {}
    queue = sorted({(module, name) for module, names in wanted for name in (names or ("*",))})
    seen: set[tuple[str, str]] = set(queue)
    while queue:
        module, name = queue.pop(0)
        for part, following in _one(module, name, guards):
            found.setdefault(part.name, part)
            for entry in following:
                if entry not in seen:
                    seen.add(entry)
                    queue.append(entry)
    return sorted(found.values(), key=lambda part: part.label)


def _one(module: str, name: str, guards: Guards) -> Iterator[tuple[Part, list[tuple[str, str]]]]:
    guards.name(sys.modules, module)
    located = locate(module)
    if located is None:
        if "." not in module:
            yield Part(f"lazy:{module}:{name}", f"{module}:{name}", named("not found", text(module))), []
        return
    if located.owner is Owner.INSTALLED:
        version = distribution_of(module)
        yield Part(f"dist:{version}", f"{module}:{name}", named("external", text(module), text(version))), []
        return
    if located.owner is not Owner.PROJECT or not located.file or not located.file.endswith(".py"):
        return
    parsed, stamp = _parsed(module, located.file)
    if module not in sys.modules:
        guards.file(located.file, stamp)
    is_package = located.package_path is not None
    package = module if is_package else module.rpartition(".")[0]
    if name != "*" and name not in parsed.statements:
        if is_package and locate(f"{module}.{name}"):
            yield from _one(f"{module}.{name}", "*", guards)
            return
        name = "*"  # made by a star import, __getattr__ or the like
    statements = parsed.all if name == "*" else parsed.statements[name]
    following: list[tuple[str, str]] = []
    forms: list[bytes] = []
    sources: list[str] = []
    for statement in statements:
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            following += _imported(statement, package, None if name == "*" else name)
            continue
        form, source, names = parsed.form(statement)
        forms.append(form)
        sources.append(source)
        if name != "*":
            following += [(module, other) for other in names if other in parsed.statements and other != name]
        for inner in ast.walk(statement):
            if isinstance(inner, (ast.Import, ast.ImportFrom)):
                following += _imported(inner, package, None)
    changed = [
        _changed(module, n, parsed.statements[n], guards)
        for n in (sorted(parsed.statements) if name == "*" else [name])
    ]
    form = named("lazy", *forms, *changed)
    yield Part(f"lazy:{module}:{name}", f"{module}:{name}", form, "\n".join(sources) or None), following


def _imported(statement: ast.Import | ast.ImportFrom, package: str, only: str | None) -> list[tuple[str, str]]:
    """What an import statement refers to; with ``only``, what it binds to that name."""
    if isinstance(statement, ast.Import):
        aliases = [a for a in statement.names if only is None or (a.asname or a.name.partition(".")[0]) == only]
        return [(alias.name, "*") for alias in aliases]
    module = absolute(statement.module or "", statement.level, package)
    return [(module, a.name) for a in statement.names if only is None or (a.asname or a.name) == only or a.name == "*"]


def _changed(module: str, name: str, statements: list[ast.stmt], guards: Guards) -> bytes:
    """What a name means now, if it was bound anew since its module was imported, as far as that shows."""
    loaded = sys.modules.get(module)
    if loaded is None or len(statements) != 1:
        return b""
    statement = statements[0]
    current = vars(loaded).get(name)
    guards.name(vars(loaded), name)
    if getattr(getattr(loaded, "__spec__", None), "_initializing", False):
        return b""  # another thread is importing it: what is not bound yet was not bound anew
    if isinstance(statement, (ast.Assign, ast.AnnAssign)):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        if not all(isinstance(target, ast.Name) for target in targets):
            return b""  # each name of ``A, B = 1, 2`` has a part of the value
        try:
            written = ast.literal_eval(statement.value) if statement.value is not None else None
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return b""
        form = constant_form(current)
        guards.form(constant_form, current, form)
        return b"" if form == constant_form(written) else named("changed", text(name), form)
    if isinstance(statement, ast.FunctionDef) and not statement.decorator_list:
        own = isinstance(current, FunctionType) and current.__globals__ is vars(loaded) and current.__name__ == name
        return b"" if own else named("changed", text(name), constant_form(current))
    return b""


@dataclass(slots=True)
class _Module:
    """A module's statements by the names they bind."""

    all: list[ast.stmt]
    statements: dict[str, list[ast.stmt]]
    forms: dict[int, tuple[bytes, str, tuple[str, ...]]] = field(default_factory=dict)

    def form(self, statement: ast.stmt) -> tuple[bytes, str, tuple[str, ...]]:
        """The form and source of a statement and the names that it loads."""
        known = self.forms.get(id(statement))
        if known is None:
            plain = normalised(ast.Module(body=[statement], type_ignores=[]))
            source = ast.unparse(plain)
            names = tuple(sorted({chain[0] for chain in chains(statement, into_functions=True)}))
            known = self.forms[id(statement)] = named("source", text(ast.dump(plain))), source, names
        return known


def _parsed(module: str, file: str) -> tuple[_Module, tuple[int, int]]:
    stamp = file_stamp(file)
    known = _modules.get(file)
    # What has been imported stays as it was, whatever is in the file now.
    if known is not None and (known[0] == stamp or isinstance(sys.modules.get(module), ModuleType)):
        return known[1], stamp
    tree = parse(Path(file).read_bytes())
    statements: dict[str, list[ast.stmt]] = {}
    kept = [s for s in tree.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
    for statement in kept:
        for name in set(_bound(statement)):
            statements.setdefault(name, []).append(statement)
    parsed = _Module(kept, statements)
    _modules[file] = stamp, parsed
    return parsed, stamp


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
        # NAME.attribute = … and NAME[key] = … change what the name means.
        inner: Any = statement
        while isinstance(inner, (ast.Attribute, ast.Subscript)):
            inner = inner.value
        if isinstance(inner, ast.Name):
            yield inner.id
    for child in ast.iter_child_nodes(statement):
        yield from _bound(child)
