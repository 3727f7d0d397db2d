"""What a class statement says, where the class itself is not loaded."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

_KEPT: Final = frozenset({"cached_property"})
_GIVERS: Final = frozenset({"default_factory", "factory", "default"})
_CHECKS: Final = frozenset({"converter", "validator"})


def methods_in(statement: ast.ClassDef) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """The functions of a class statement, by the names that those of a loaded class have."""
    for node in statement.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield f"{node.name}{_part(node)}", node


def _part(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    for decorator in node.decorator_list:
        name = decorator_name(decorator)
        if name in ("setter", "deleter", "getter"):
            return f".f{name[:3]}"
        if name in _KEPT:
            return ".func"
        if name.endswith("property"):
            return ".fget"
    return ""


def decorator_name(node: ast.expr) -> str:
    """The last name of a decorator."""
    named = node.func if isinstance(node, ast.Call) else node
    return named.attr if isinstance(named, ast.Attribute) else getattr(named, "id", "")


def metaclass_in(statement: ast.ClassDef) -> ast.expr | None:
    """The metaclass that a class statement names."""
    return next((keyword.value for keyword in statement.keywords if keyword.arg == "metaclass"), None)


def factories_in(statement: ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    """What is called for an object's fields: with the name of the field if only where that is not given."""
    for node in statement.body:
        if not isinstance(node, (ast.Assign, ast.AnnAssign)) or not isinstance(node.value, ast.Call):
            continue
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        for keyword in node.value.keywords:
            if not isinstance(keyword.value, (ast.Name, ast.Attribute, ast.Lambda)):
                continue
            if keyword.arg in _GIVERS:
                yield getattr(target, "id", ""), keyword.value
            elif keyword.arg in _CHECKS:
                yield "", keyword.value


def held_in(statement: ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    """The lists and the like that a class statement makes, which all objects share."""
    for node in statement.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, (ast.List, ast.Dict, ast.Set)):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield target.id, node.value
