"""What is kept while a function's body is read."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from expops_prefect.effects.code.values import GLOBAL, MISSING, Class, Function, Summary, Value
from expops_prefect.models.effects import KINDS, Effect

if TYPE_CHECKING:
    from expops_prefect.effects.code.analysis import Analysis

_LONGEST: Final = 80


class State:
    """The variables of a body, and what has been found in it so far.

    Args:
        analysis: what is known of other functions.
        function: the function.
    """

    def __init__(self, analysis: Analysis, function: Function) -> None:
        self.analysis = analysis
        self.table = analysis.table
        self.function = function
        self.outer: State | None = function.nested
        self.summary = Summary()
        self.variables: dict[str, Value] = {}
        self.seeded: set[str] = set(self.outer.seeded) if self.outer else set()
        self.conditional = 0
        self.removes = False
        self.within: tuple[str, ...] = self.outer.within if self.outer else ()
        self.draws_own_figure: bool = self.outer.draws_own_figure if self.outer else False
        self.globals: set[str] = set()
        self.nonlocals: set[str] = set()
        # Times and plans are numbered in the outermost body: functions in it see its variables.
        self.candidates: list[Effect] = self.outer.candidates if self.outer else []
        self.measured: set[int] = self.outer.measured if self.outer else set()
        self.escaped: set[int] = self.outer.escaped if self.outer else set()
        self.depth: int = self.outer.depth + 1 if self.outer else 0
        self.nested: list[Function | Class] = []
        self.returned: list[Value] = []
        self.yielded: list[Value] = []
        self.here: ast.AST = ast.Pass(lineno=0)

    def value(self, node: ast.expr) -> Value:
        """What an expression gives."""
        raise NotImplementedError

    def target(self, node: ast.expr) -> Value:
        """What a name or an attribute is, without anything done with it."""
        raise NotImplementedError

    def run(self, statements: Sequence[ast.stmt]) -> None:
        """Read statements one after the other."""
        raise NotImplementedError

    def called(self, node: ast.Call, function: Value) -> Value:
        """A call without arguments of what is known."""
        raise NotImplementedError

    # Names ------------------------------------------------------------------------------------------

    def look_up(self, name: str) -> Value | None:
        """What a name means here."""
        if name not in self.globals:
            scope: State | None = self
            while scope is not None:
                if name in scope.variables:
                    return scope.variables[name]
                scope = scope.outer
        return self.function.names.look_up(name)

    def bind(self, name: str, value: Value, node: ast.AST) -> None:
        """Assign a name."""
        if name in self.globals or (name in self.nonlocals and self.outer is None):
            self.effect("state", node, f"{'global' if name in self.globals else 'nonlocal'} {name}")
            self.escape(value)
        elif name in self.nonlocals and self.outer is not None:
            scope = self.outer
            while name not in scope.variables and scope.outer is not None:
                scope = scope.outer
            scope.variables[name] = value
        else:
            self.variables[name] = value

    def widen(self, node: ast.expr, held: Value) -> None:
        """A variable holds something more from now on."""
        depth = 0
        while isinstance(node, (ast.Attribute, ast.Subscript)):
            depth += 1
            node = node.value
        if not isinstance(node, ast.Name) or not (held.taints or held.all_origins or held.callees):
            return
        scope: State | None = self
        while scope is not None:
            known = scope.variables.get(node.id)
            if known is not None:
                scope.variables[node.id] = known.made(
                    inner=known.inner if depth else known.inner | held.origins,
                    deep=known.deep | (held.all_origins if depth else held.inner | held.deep),
                    element=None,
                    taints=known.taints | held.taints,
                    callees=(*known.callees, *held.callees)[:20] if known.live is MISSING else known.callees,
                )
                return
            scope = scope.outer
        self.escape(held)

    # What is found ----------------------------------------------------------------------------------

    def made(self, kind: str, node: ast.AST, call: str = "", *, seedable: bool = False) -> Effect:
        """An effect of what stands at a node."""
        assert kind in KINDS
        text = (call or written(node))[:_LONGEST]
        known: Any = kind
        return Effect(known, text, self.function.names.file, getattr(node, "lineno", 0), seedable)

    def effect(self, kind: str, node: ast.AST, call: str = "") -> None:
        """Note an effect."""
        self.summary.effects.setdefault(self.made(kind, node, call))

    def unresolved(self, node: ast.AST, *values: Value) -> None:
        """Note a call that is not known; what it is given may be kept."""
        self.summary.unresolved.setdefault(written(node)[:_LONGEST])
        for value in values:
            self.escape(value)

    def candidate(self, kind: str, node: ast.AST) -> frozenset[int]:
        """Note a time or a plan: it is an effect if it comes out of the body, other than into a log."""
        effect = self.made(kind, node)
        if effect not in self.candidates:
            self.candidates.append(effect)
        return frozenset({self.candidates.index(effect)})

    def escape(self, *values: Value, plans: bool = False) -> None:
        """The times in values come out of the body, or decide what it does; plans only if they are given back."""
        for value in values:
            for number in value.taints:
                if plans or self.candidates[number].kind != "lazy data":
                    self.escaped.add(number)

    def change(self, value: Value, node: ast.AST, call: str = "") -> None:
        """Note that a value is changed in place."""
        if value.private or (value.plain and GLOBAL not in value.origins):
            return
        if is_shared(value) and not any(self.table.is_exact(path) for path in value.paths):
            self.effect("state", node, call)
        for origin in sorted(value.origins - {GLOBAL}):
            self.summary.changes.setdefault(origin, self.made("state", node, call))

    def depends(self, effect: Effect, what: str, value: Value) -> bool:
        """Note an effect that depends on what a parameter is; false if the value is of no parameter."""
        origins = [value.parameter] if value.parameter else sorted(value.all_origins - {GLOBAL})
        if not origins:
            return False
        self.summary.depends.setdefault(effect, (what, origins[0]))
        return True


def is_shared(value: Value) -> bool:
    """Whether a value was there before the body ran and is no argument."""
    if GLOBAL in value.origins:
        return True
    return value.live is not MISSING and not value.fresh and not value.origins and bool(value.paths) and not value.type


def written(node: ast.AST) -> str:
    """A call, a name or a change as its reader writes it, without the values of arguments."""
    if isinstance(node, ast.Call):
        return written(node.func)
    if isinstance(node, ast.Attribute):
        return f"{_inside(node.value)}.{node.attr}"
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Subscript):
        key = node.slice
        shown = f'"{key.value}"' if isinstance(key, ast.Constant) and isinstance(key.value, str) else "…"
        return f"{_inside(node.value)}[{shown}]"
    if isinstance(node, ast.Await):
        return written(node.value)
    return "…"


def _inside(node: ast.AST) -> str:
    return f"{written(node.func)}()" if isinstance(node, ast.Call) else written(node)
