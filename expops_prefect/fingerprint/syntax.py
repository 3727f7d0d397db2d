"""Normalises syntax trees: removes comments, formatting, docstrings and signature annotations."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

from expops_prefect.fingerprint.parsing import parse

Chain: TypeAlias = tuple[str, ...]
"""A name and the attributes read from it, ``("helpers", "SCALE")`` for ``helpers.SCALE``."""

FunctionNode: TypeAlias = "ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda"
_FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)


def normalised(node: ast.AST) -> ast.AST:
    """A copy that differs only if the code differs.

    The outermost function loses its decorators, whose effect is in the decorated object, and the
    expressions of its defaults, which are hashed by value. Annotations stay in class bodies, where
    dataclasses and pydantic read them.
    """
    return _copy(node, outermost=True, in_function=False)


def _copy(node: ast.AST, *, outermost: bool, in_function: bool) -> ast.AST:
    inside = in_function
    if isinstance(node, (*_FUNCTIONS, ast.Lambda)):
        inside = True
    elif isinstance(node, (ast.ClassDef, ast.Module)):
        inside = False
    if isinstance(node, ast.AnnAssign) and in_function:
        if node.value is not None:
            target: Any = _copy(node.target, outermost=False, in_function=True)
            assigned: Any = _copy(node.value, outermost=False, in_function=True)
            return ast.Assign(targets=[target], value=assigned, lineno=0)
        return ast.AnnAssign(
            target=node.target, annotation=ast.Constant(None), value=None, simple=node.simple, lineno=0
        )
    fields: dict[str, Any] = {}
    for name, content in ast.iter_fields(node):
        value: Any = content
        if isinstance(value, list):
            items = [
                _copy(item, outermost=False, in_function=inside) if isinstance(item, ast.AST) else item
                for item in value
                if not _is_bare_constant(item)
            ]
            if name == "body" and value and not items:
                items = [ast.Pass(lineno=0)]
            fields[name] = items
        elif isinstance(value, ast.arguments):
            fields[name] = _arguments(value, without_defaults=outermost, in_function=in_function)
        elif isinstance(value, ast.AST):
            fields[name] = _copy(value, outermost=False, in_function=inside)
        else:
            fields[name] = value
    if isinstance(node, _FUNCTIONS):
        fields.update(returns=None, type_comment=None)
        if "type_params" in fields:
            fields["type_params"] = []
        if outermost:
            fields["decorator_list"] = []
    elif isinstance(node, ast.Constant):
        fields["kind"] = None
    copy = type(node)(**fields)
    if isinstance(copy, ast.stmt):
        copy.lineno = 0  # ast.unparse requires it; ast.dump leaves it out
    return copy


def _is_bare_constant(item: object) -> bool:
    return isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant)


def _arguments(node: ast.arguments, *, without_defaults: bool, in_function: bool) -> ast.arguments:
    def bare(argument: ast.arg | None) -> ast.arg | None:
        return None if argument is None else ast.arg(arg=argument.arg, annotation=None)

    def default(value: ast.expr | None) -> Any:
        if value is None or without_defaults:
            return None if value is None else ast.Constant(None)
        return _copy(value, outermost=False, in_function=in_function)

    return ast.arguments(
        posonlyargs=[ast.arg(arg=argument.arg, annotation=None) for argument in node.posonlyargs],
        args=[ast.arg(arg=argument.arg, annotation=None) for argument in node.args],
        vararg=bare(node.vararg),
        kwonlyargs=[ast.arg(arg=argument.arg, annotation=None) for argument in node.kwonlyargs],
        kw_defaults=[default(value) for value in node.kw_defaults],
        kwarg=bare(node.kwarg),
        defaults=[default(value) for value in node.defaults],
    )


def chains(node: ast.AST, *, into_functions: bool) -> set[Chain]:
    """The names that code loads, with the attributes read from them.

    Args:
        into_functions: whether to include code that runs only when a function is called.
    """
    return set(_chains(node, into_functions=into_functions))


def quoted_chains(node: ast.AST) -> set[Chain]:
    """The names in the string annotations of a class body."""
    found: set[Chain] = set()
    for statement in ast.walk(node):
        if not isinstance(statement, ast.AnnAssign):
            continue
        for part in ast.walk(statement.annotation):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                try:
                    found |= chains(parse(part.value), into_functions=True)
                except (SyntaxError, ValueError):
                    continue  # a literal, or a description
    return found


def _chains(node: ast.AST, *, into_functions: bool) -> Iterator[Chain]:
    if isinstance(node, (ast.Attribute, ast.Name)):
        attributes: list[str] = []
        inner: ast.AST = node
        while isinstance(inner, ast.Attribute):
            attributes.append(inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            yield (inner.id, *reversed(attributes))
        else:
            yield from _chains(inner, into_functions=into_functions)
        return
    skipped: list[ast.AST] = []
    if not into_functions and isinstance(node, _FUNCTIONS):
        skipped = [*node.body]
    elif not into_functions and isinstance(node, ast.Lambda):
        skipped = [node.body]
    for child in ast.iter_child_nodes(node):
        if not any(child is other for other in skipped):
            yield from _chains(child, into_functions=into_functions)
