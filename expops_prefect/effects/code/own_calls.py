"""Calls of the project's own functions: what they do to what they are given."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any, Final

from expops_prefect.effects.code.classes import hints as hints_of
from expops_prefect.effects.code.state import State, is_shared
from expops_prefect.effects.code.values import (
    FRESH,
    GLOBAL,
    UNKNOWN,
    Class,
    Function,
    Summary,
    Value,
    constant,
    fresh,
    joined,
)
from expops_prefect.models.effects import Effect

_KEEPING: Final = frozenset({"lru_cache", "cache", "cached", "memoize", "memoized", "cachedmethod", "alru_cache"})
_PLAIN: Final = frozenset("int float str bool bytes complex date datetime timedelta Decimal Path UUID".split())


class OwnCalls(State):
    """Calls of functions and classes whose source is the project's."""

    def own_call(
        self, callees: Sequence[Function | Class], arguments: Sequence[Value], keywords: Mapping[str, Value]
    ) -> Value:
        """A call of one of these."""
        return joined([self._own_call(callee, arguments, keywords) for callee in callees[:50]])

    def _own_call(self, callee: Function | Class, arguments: Sequence[Value], keywords: Mapping[str, Value]) -> Value:
        if isinstance(callee, Class):
            return self.constructed(callee, arguments, keywords)
        given = list(arguments)
        if callee.bound is not None:
            given.insert(0, callee.bound)
        summary = self.analysis.summary(callee)
        bound = _bound(summary, given, keywords)
        self._take(summary, bound, nested=callee.nested is not None)
        returned = summary.returns
        origins = self._mapped(returned.origins, bound)
        inner, deep = self._mapped(returned.inner, bound), self._mapped(returned.deep, bound)
        private = returned.private or any(bound[o].private for o in returned.all_origins if o in bound)
        taints = returned.taints if callee.nested is not None else frozenset[int]()
        parameter = bound[returned.parameter].parameter if returned.parameter in bound else ""
        return returned.made(
            origins=origins, inner=inner, deep=deep, element=None, private=private, taints=taints, parameter=parameter
        )

    def constructed(self, cls: Class, arguments: Sequence[Value], keywords: Mapping[str, Value]) -> Value:
        """An object that is made."""
        raise NotImplementedError

    def call_back(self, functions: Sequence[Function | Class], given: Sequence[Value]) -> Value:
        """Functions that are handed on: somebody may call them with any of this."""
        anything = UNKNOWN.made(origins=frozenset[str]().union(*(value.all_origins for value in given)))
        found = []
        for callee in functions[:50]:
            if isinstance(callee, Class):
                found.append(self.constructed(callee, (), {"**": anything}))
                self.escape(found[-1])
                continue
            summary = self.analysis.summary(callee)
            bound = {name: anything for name in (*summary.parameters, *summary.keyword_only, *summary.variable) if name}
            if callee.bound is not None and summary.parameters:
                bound[summary.parameters[0]] = callee.bound
            self._take(summary, bound, nested=callee.nested is not None, by_others=True)
            if callee.nested is not None:
                self.escape(summary.returns)
            found.append(FRESH)
        return joined(found)

    def _take(self, summary: Summary, bound: Mapping[str, Value], *, nested: bool, by_others: bool = False) -> None:
        """Everything that a function does becomes what the body does."""
        mine = self.summary
        mine.effects |= summary.effects
        for effect, generator in summary.draws.items():
            if generator not in self.seeded:
                mine.draws.setdefault(effect, generator)
        if not self.conditional and not by_others:
            self.seeded |= summary.seeds
            mine.seeds |= summary.seeds
        mine.environment |= summary.environment
        mine.variables |= summary.variables
        mine.unresolved |= summary.unresolved
        mine.texts |= summary.texts
        mine.used |= summary.used
        mine.run |= summary.run
        mine.reads |= summary.reads
        mine.libraries |= summary.libraries
        mine.files |= summary.files
        for origin, effect in summary.changes.items():
            value = bound.get(origin)
            if value is not None:
                self._changed(value, effect)
            elif nested:
                self._changed(UNKNOWN.made(origins=frozenset({origin})), effect)
        for effect, (what, origin) in summary.depends.items():
            value = bound.get(origin)
            if value is None and nested and origin not in (*summary.parameters, *summary.keyword_only):
                mine.depends.setdefault(effect, (what, origin))
                continue
            self._depended(effect, what, value if value is not None else summary.defaults.get(origin))

    def _changed(self, value: Value, effect: Effect) -> None:
        if value.private or (value.plain and GLOBAL not in value.origins):
            return
        if is_shared(value):
            self.summary.effects.setdefault(effect)
        for origin in value.origins - {GLOBAL}:
            self.summary.changes.setdefault(origin, effect)

    def _depended(self, effect: Effect, what: str, value: Value | None) -> None:
        known = value if value is not None else constant(None)
        if what == "private" and known.private:
            return
        if what == "none" and known.constant is not None and not known.parameter:
            return
        if what in ("environment", "variables") and isinstance(known.constant, str):
            (self.summary.environment if what == "environment" else self.summary.variables).add(known.constant)
            return
        if not self.depends(effect, what, known):
            self.summary.effects.setdefault(effect)

    def _mapped(self, origins: frozenset[str], bound: Mapping[str, Value]) -> frozenset[str]:
        found: frozenset[str] = frozenset()
        for origin in origins:
            found |= bound[origin].all_origins if origin in bound else frozenset({origin})
        return found


def keeps_results(callee: Function | Class, live: Any) -> bool:
    """Whether a function is called once for all bodies of the process: by ``functools.cache`` and its like."""
    if not isinstance(callee, Function) or callee.nested is not None:
        return False
    if hasattr(type(live), "cache_info"):
        return True
    if callee.node is None or isinstance(callee.node, ast.Lambda):
        return False
    for decorator in callee.node.decorator_list:
        named = decorator.func if isinstance(decorator, ast.Call) else decorator
        name = named.attr if isinstance(named, ast.Attribute) else getattr(named, "id", "")
        if name in _KEEPING:
            return True
    return False


def plain_fields(cls: Class) -> list[tuple[str, bool]]:
    """The fields of a dataclass in order, and whether they are numbers, texts or the like."""
    bases = reversed(cls.live.__mro__) if cls.live is not None else ()
    hints = {n: a for base in bases for n, a in hints_of(base).items()}
    return [(name, getattr(hint, "__name__", hint) in _PLAIN) for name, hint in hints.items()]


def _bound(summary: Summary, arguments: Sequence[Value], keywords: Mapping[str, Value]) -> dict[str, Value]:
    """The arguments by the origins of the parameters."""
    bound: dict[str, Value] = dict(zip(summary.parameters, arguments, strict=False))
    rest = list(arguments[len(summary.parameters) :])
    named = {origin.rstrip("'"): origin for origin in (*summary.parameters, *summary.keyword_only)}
    left = []
    for name, value in keywords.items():
        if name in named:
            bound[named[name]] = value
        else:
            left.append(value)
    for origin, values in zip(summary.variable, (rest, left), strict=True):
        if origin:
            bound[origin] = fresh(values)
    for origin in (*summary.parameters, *summary.keyword_only):
        if origin not in bound and origin in summary.defaults:
            bound[origin] = summary.defaults[origin]
    return bound
