"""Finds parts of a key that differ each time although nothing changes them, so that the task is never a hit.

It looks only when a task is executed, once for each code and parameter in a process. For arguments that are compared
after a body anyway, that comparison finds them, see :mod:`expops_prefect.cache.argument_changes`.
"""

from __future__ import annotations

import ast
import logging
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from expops_prefect._internal.diagnostics import first
from expops_prefect._internal.process import of_process
from expops_prefect.effects.table import normalised, table
from expops_prefect.errors import FingerprintError
from expops_prefect.fingerprint import lazy_imports, original_forms
from expops_prefect.fingerprint.canonical import ATOMS
from expops_prefect.fingerprint.code import CodeFingerprint
from expops_prefect.fingerprint.identity import module_name, started_by_file
from expops_prefect.fingerprint.values import fingerprint

if TYPE_CHECKING:
    from expops_prefect.cache.key_components import KeyComponents

_logger = logging.getLogger("prefect.expops")
_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]{6,}")
_OF_THE_PROCESS: Final = frozenset({"id", "hash", "os.getpid", "tempfile.mkdtemp", "tempfile.mkstemp"})
_SEEDED: Final = ("random.", "numpy.random", "torch.")
_SEEDS: Final = frozenset({"seed", "manual_seed"})
_MOST_KNOWN: Final = 4096
_PLAIN: Final = ATOMS | {list, tuple, dict, set, frozenset}


class _Stable(set[str]):
    """The parameters, with their arguments' types, whose fingerprint was the same a second time."""


def unstable_arguments(task: str, components: KeyComponents, looked_at: Collection[str] = ()) -> tuple[str, ...]:
    """The parameters whose arguments have another fingerprint each time that it is computed, or that they are loaded.

    Args:
        task: the task's name.
        components: what its key is made of.
        looked_at: the parameters whose arguments are checked again later anyway.
    """
    found = []
    for name, value in components.values.items():
        if type(value) in _PLAIN or hasattr(type(value), "shape"):
            continue
        if original_forms.is_unstable(value) or (
            name not in looked_at and _differs_again(task, name, value, components)
        ):
            found.append(name)
            tell(task, name, type(value))
    return tuple(found)


def tell(task: str, name: str, kind: type) -> None:
    """Warn once that a parameter's arguments are not stable.

    Args:
        task: the task's name.
        name: the parameter.
        kind: the type of its argument.
    """
    if first("not stable", f"{task} {name}"):
        _logger.warning(
            "%s: its parameter %r is not stable: its fingerprint differs each time although nothing changes it, so the "
            "task is executed each time. Give objects of %s.%s a fingerprint with register_fingerprint()",
            task,
            name,
            kind.__module__,
            kind.__qualname__,
        )


def unstable_constants(task: str, code: CodeFingerprint) -> tuple[str, ...]:
    """The constants in a code's parts that each process makes anew: from the clock, at random, or from an address."""
    found = []
    for part in code.parts:
        kind, _, rest = part.partition(":")
        module, _, name = rest.partition(":")
        why = _why_unstable(module, name.partition("#")[0]) if kind == "const" else ""
        if why:
            found.append(part)
            if first("not stable", part):
                _logger.warning(
                    "%s: the constant %s of %s is not stable: it differs in each process (%s), so the task is "
                    "executed in each. Create it in the task, pass it and leave it out with ignore=, or give it a "
                    "fingerprint with register_fingerprint()",
                    task,
                    name,
                    module,
                    why,
                )
    return tuple(found)


def _differs_again(task: str, name: str, value: Any, components: KeyComponents) -> bool:
    """Whether the fingerprint differs a second time; checked again only if it did."""
    known, stable = f"{task} {name} {type(value).__qualname__}", of_process(_Stable)
    if known not in stable:
        try:
            if fingerprint(value, name=name, root=components.root) != components.digests[name]:
                return True
        except FingerprintError:
            return True
        if len(stable) >= _MOST_KNOWN:
            stable.clear()
        stable.add(known)
    return False


def _why_unstable(module: str, name: str) -> str:
    loaded = _module(module)
    held: Mapping[str, Any] = vars(loaded) if loaded is not None else {}
    value, file = held.get(name), held.get("__file__")
    if type(value) is str and _ADDRESS.search(value):
        return "it contains an address"
    if loaded is None or not isinstance(file, str) or not file.endswith(".py"):
        return ""
    try:
        known = lazy_imports.statements_of(loaded.__name__, file)
    except (OSError, SyntaxError, ValueError):
        return ""
    seeded = any(_SEEDS & {getattr(node, "attr", ""), getattr(node, "id", "")} for node in _nodes(known.all))
    for node in _nodes(known.statements.get(name, [])):
        called = _called(node, held) if isinstance(node, ast.Call) else ""
        kind = table().kind(normalised(called)) if called else None
        if called in _OF_THE_PROCESS or kind == "clock":
            return f"{called}()"
        if kind == "random" and not (seeded and called.startswith(_SEEDED)):
            return f"{called}()"
    return ""


def _module(name: str) -> ModuleType | None:
    found = sys.modules.get(name)
    if isinstance(found, ModuleType):
        return found
    started = (part for key, part in list(sys.modules.items()) if started_by_file(key) and isinstance(part, ModuleType))
    return next((part for part in started if module_name(part.__name__, vars(part).get("__file__")) == name), None)


def _nodes(statements: list[ast.stmt]) -> Iterator[ast.AST]:
    for statement in statements:
        if isinstance(statement, (ast.Assign, ast.AnnAssign, ast.Expr)):
            yield from ast.walk(statement)


def _called(call: ast.Call, held: Mapping[str, Any]) -> str:
    """The qualified name of what is called, if the names of modules, classes and functions tell it; else empty."""
    names: list[str] = []
    node: ast.AST = call.func
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    value = held.get(node.id)
    if isinstance(value, ModuleType):
        return ".".join((value.__name__, *names))
    if value is None:
        return node.id if not names and node.id in _OF_THE_PROCESS else ""
    qualified = getattr(value, "__qualname__", None)
    module = getattr(value, "__module__", None) or getattr(getattr(value, "__self__", None), "__name__", None)
    return ".".join((str(module), qualified, *names)) if isinstance(qualified, str) and module else ""


def came_back_otherwise(value: Any) -> None:
    """Warn that a result has another fingerprint each time that it is loaded."""
    original_forms.mark_unstable(value)
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if first("not stable", f"loaded {kind}"):
        _logger.warning(
            "Results of type %s are not stable: their fingerprint differs each time that they are loaded, so tasks "
            "that take them are executed each time. Give them a fingerprint with register_fingerprint()",
            kind,
        )
