"""What the expressions of a body give, and what they do."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from expops_prefect.effects.code.calls import Call, is_callable_name
from expops_prefect.effects.code.classes import bound, metaclass
from expops_prefect.effects.code.method_calls import MethodCalls
from expops_prefect.effects.code.own_calls import keeps_results
from expops_prefect.effects.code.state import written
from expops_prefect.effects.code.values import (
    FRESH,
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
    part,
)
from expops_prefect.effects.table import READ, environment, methods, sure_method
from expops_prefect.models.effects import KINDS

_CONTAINERS: Final = {ast.List: "builtins.list", ast.Set: "builtins.set", ast.Tuple: "builtins.tuple"}


_LOOK_AT_CLASSES: Final = frozenset(
    """
    builtins.isinstance builtins.issubclass builtins.type builtins.super builtins.hasattr builtins.getattr
    builtins.setattr builtins.id builtins.repr builtins.str builtins.hash builtins.vars builtins.dir builtins.print
    typing.cast dataclasses.fields dataclasses.is_dataclass __new__ __init_subclass__ __setattr__
    """.split()
)
"""What looks at the classes that it is given, and makes no objects of them."""


class Expressions(MethodCalls):
    """Reads expressions."""

    def value(self, node: ast.expr) -> Value:
        """What an expression gives; what it does is noted."""
        if isinstance(node, (ast.Name, ast.Attribute)):
            found = self.target(node)
            self._named(found, node)
            return found
        read = getattr(self, f"_{type(node).__name__.lower()}", None)
        return read(node) if read is not None else self._any(node)

    def target(self, node: ast.expr) -> Value:
        """What a name or an attribute is."""
        if isinstance(node, ast.Name):
            found = self.look_up(node.id)
            if found is None:
                self.summary.used.add(node.id)
                return UNKNOWN
            for own in found.callees:
                meta = metaclass(own) if isinstance(own, Class) else None
                if meta is not None:
                    self.summary.run.setdefault(meta.key, meta)
            return found
        if isinstance(node, ast.Attribute):
            if (
                isinstance(node.value, ast.Call)
                and isinstance(node.value.func, ast.Name)
                and node.value.func.id == "super"
            ):
                return self._super(node)
            base = (
                self.target(node.value) if isinstance(node.value, (ast.Name, ast.Attribute)) else self.value(node.value)
            )
            return self._attribute(base, node)
        return self.value(node)

    def _attribute(self, base: Value, node: ast.Attribute) -> Value:
        if node.attr == "__class__":
            return self.class_of(base)
        if base.instance is not None and base.live is MISSING and node.attr not in base.instance.methods:
            known = self.analysis.attribute_of(base.instance, node.attr)
            if known is not None:
                shared = known.origins & {GLOBAL}  # self.rows = ROWS
                kept = known.made(
                    origins=base.all_origins | shared,
                    fresh=base.fresh and not shared,
                    receiver=base,
                    attribute=node.attr,
                    taints=known.taints | base.taints,
                )
                return kept.made(callees=known.callees)
        if base.instance is not None:
            for part_ in ("fget", "func"):
                getter = base.instance.methods.get(f"{node.attr}.{part_}")
                if getter is not None:
                    return self._got(base, getter, node, keeps=part_ == "func")
        found = self.analysis.attribute(base, node.attr)
        if base.instance is not None and base.parameter and not self._is_self(base):
            found = found.made(callees=(*found.callees, *self.analysis.overrides(base, node.attr)))
        if not base.type and not base.paths and found.receiver is not None:
            self.summary.used.add(node.attr)
        if found.receiver is base and node.attr not in methods.VIEWS and base.plain:
            return found.made(plain=True)
        return found

    def _is_self(self, value: Value) -> bool:
        """Whether it is what the method is called on, whose very class is known."""
        return self.function.bound is not None and self.summary.parameters[:1] == (value.parameter,)

    def _got(self, base: Value, getter: Function, node: ast.Attribute, *, keeps: bool) -> Value:
        """What a property gives; one that keeps it has read its files for whoever asked first."""
        asked = bound(getter, base)
        returned = self.own_call((asked,), (), {})
        if keeps and not base.fresh and self.analysis.summary(asked).reads:
            self.effect("state", node)
        origins = returned.origins | (base.all_origins if keeps else frozenset())
        return returned.made(origins=origins, receiver=base, attribute=node.attr)

    def _super(self, node: ast.Attribute) -> Value:
        """A method of a base class, on the same object."""
        first = self.summary.parameters[0] if self.summary.parameters else ""
        me = next(
            (v for v in self.variables.values() if v.parameter == first and (v.instance is not None or v.callees)), None
        )
        if me is not None:
            cls = me.instance or next((c for c in me.callees if isinstance(c, Class)), None)
            own = self.analysis.inherited(cls, node.attr, self.function) if cls is not None else None
            if own is not None:
                return Value(callees=(bound(own, me),))
        return Value(paths=("builtins.object." + node.attr,), fresh=True)

    def _named(self, value: Value, node: ast.expr) -> None:
        """What is only named: somebody else may call it, or it is a value that counts by itself."""
        if self.is_asked(value):
            self.effect("environment", node)
        for path in value.paths:
            kind = self.table.kind(path)
            if kind is None or kind not in KINDS or kind == "lazy data":
                continue
            if value.receiver is not None and not self.table.is_exact(path):
                continue
            if (self.table.is_exact(path) and not isinstance(value.live, type)) or is_callable_name(value, path):
                generator = self.table.generator(path)
                if generator:
                    if generator not in self.seeded:
                        self.summary.draws.setdefault(self.made("random", node, seedable=True), generator)
                else:
                    self.effect(kind, node)
                return

    # Calls ------------------------------------------------------------------------------------------

    def _call(self, node: ast.Call, *, unused: bool = False) -> Value:
        function = self.target(node.func)
        arguments = tuple(part(self.value(a.value)) if isinstance(a, ast.Starred) else self.value(a) for a in node.args)
        keywords = {k.arg: self.value(k.value) for k in node.keywords if k.arg is not None}
        for keyword in node.keywords:
            if keyword.arg is None:
                spread = self.value(keyword.value)
                self.spread(spread)
                keywords["**"] = part(spread)
        call = Call(node, function, arguments, keywords, unused)
        before, self.here = self.here, node
        found = self._answered(call)
        self.here = before
        return found

    def called(self, node: ast.Call, function: Value) -> Value:
        """A call without arguments of what is known."""
        return self._answered(Call(node, function, (), {}, unused=True))

    def _answered(self, call: Call) -> Value:
        node, function = call.node, call.function
        handed_on = tuple(c for value in call.given for c in value.callees)
        if any(path in _LOOK_AT_CLASSES for path in function.paths) or function.attribute in _LOOK_AT_CLASSES:
            handed_on = tuple(c for c in handed_on if not isinstance(c, Class))
        if not function.callees and function.instance is not None and "__call__" in function.instance.methods:
            function = self.analysis.attribute(function, "__call__")
            call = replace(call, function=function)
        if not function.callees:
            self.change_given(call)
            self._handed_on(call)
        if function.callees:
            found = self._own(call)
        elif function.receiver is not None:
            found = self.method_call(call)
        elif function.paths:
            found = self.known_call(call)
        elif function.type:
            found = self.known_call(replace(call, function=function.made(paths=(f"{function.type}.__call__",))))
        else:
            self.unresolved(node, function, *call.given)
            found = Value(taints=function.taints)
        if handed_on and not isinstance(node.func, ast.Call):
            receiver = (function.receiver,) if function.receiver is not None else ()
            self.call_back(handed_on, (*receiver, *(value for value in call.given if not value.callees)))
            if function.paths and function.paths[0] in (
                "functools.partial",
                "joblib.delayed",
                "joblib.parallel.delayed",
            ):
                return found.made(callees=handed_on)
        return found

    def _handed_on(self, call: Call) -> None:
        """Somebody else's code uses the connections that it is given, and calls the methods."""
        if any(path in _LOOK_AT_CLASSES for path in call.function.paths):
            return
        for value in call.given:
            if any(self.table.kind(path) == READ for path in value.paths):
                self.summary.reads.setdefault(written(call.node))  # map(pd.read_csv, …)
            kind = self.table.kind(value.type) if value.type and not value.fresh else None
            if kind in ("database", "network"):
                self.effect(kind, call.node)
            elif value.receiver is not None and value.attribute not in methods.DATA and not value.callees:
                kind = sure_method(value.attribute, value.paths)
                if kind is not None:
                    self.effect(kind, call.node)
                if value.attribute in methods.CHANGES_ALWAYS or value.attribute in methods.CHANGES_IF_UNUSED:
                    self.change(value.receiver, call.node)  # map(rows.append, …)

    def spread(self, value: Value) -> None:
        """``**x`` of an object asks it for its keys."""
        if value.instance is None:
            if not value.type:
                self.summary.used.add("keys")
            return
        for name in ("keys", "__getitem__"):
            method = value.instance.methods.get(name)
            if method is not None:
                self.own_call((bound(method, value),), (), {})

    def _own(self, call: Call) -> Value:
        self.escape(*call.given)
        returned = self.own_call(call.function.callees, call.arguments, call.keywords)
        kept = [callee for callee in call.function.callees if keeps_results(callee, call.function.live)]
        if not kept:
            return returned
        # Whoever called it first has read its files, and what it gives is everybody's.
        if any(isinstance(callee, Function) and self.analysis.summary(callee).reads for callee in kept):
            self.effect("state", call.node)
        kind = "" if returned.private else returned.type
        return returned.made(origins=returned.origins | {GLOBAL}, private=False, fresh=False, type=kind)

    # Values -----------------------------------------------------------------------------------------

    def _constant(self, node: ast.Constant) -> Value:
        return constant(node.value)

    def _joinedstr(self, node: ast.JoinedStr) -> Value:
        values = [self.value(part_.value) for part_ in node.values if isinstance(part_, ast.FormattedValue)]
        start = node.values[0] if node.values else None
        made = fresh(values, type="builtins.str")
        if isinstance(start, ast.Constant) and "://" in str(start.value):
            return made.made(constant=start.value)
        return made

    def _binop(self, node: ast.BinOp) -> Value:
        left, right = self.value(node.left), self.value(node.right)
        if isinstance(node.op, ast.Add) and isinstance(left.constant, str) and isinstance(right.constant, str):
            return constant(left.constant + right.constant)
        kind = left.type if left.type == right.type or left.type.startswith("pathlib.") else ""
        made = fresh((left, right), type=kind)
        if isinstance(node.op, ast.Sub) and left.taints & self.measured and right.taints & self.measured:
            made = made.made(taints=made.taints - self.measured)
        return made.made(plain=left.plain and right.plain)

    def _unaryop(self, node: ast.UnaryOp) -> Value:
        return fresh((self.value(node.operand),))

    def _boolop(self, node: ast.BoolOp) -> Value:
        found = [self.value(value) for value in node.values]
        return joined(found)

    def _compare(self, node: ast.Compare) -> Value:
        left = self.value(node.left)
        self.escape(left)
        for operator, operand in zip(node.ops, node.comparators, strict=True):
            asked = isinstance(operator, (ast.In, ast.NotIn)) and isinstance(operand, (ast.Name, ast.Attribute))
            if asked and environment.WHOLE in self.target(operand).paths:
                self.named("environment", left, node)  # "DEBUG" in the environment
                continue
            if asked and "sys.modules" in self.target(operand).paths:
                self.effect("environment", operand)  # whether something was imported before
            left = self.value(operand)
            self.escape(left)
        return PLAIN

    def _ifexp(self, node: ast.IfExp) -> Value:
        self.escape(self.value(node.test))
        return joined((self.value(node.body), self.value(node.orelse)))

    def _display(self, node: ast.List | ast.Set | ast.Tuple) -> Value:
        values = [self.value(item.value) if isinstance(item, ast.Starred) else self.value(item) for item in node.elts]
        made = fresh(values, type=_CONTAINERS[type(node)])
        return made.made(callees=tuple(c for value in values for c in value.callees), private=False)

    _list = _set = _tuple = _display

    def _dict(self, node: ast.Dict) -> Value:
        values = [self.value(item) for item in (*node.values, *(key for key in node.keys if key is not None))]
        for key, value in zip(node.keys, values, strict=False):
            if key is None:
                self.spread(value)
        made = fresh(values, type="builtins.dict")
        return made.made(callees=tuple(c for value in values for c in value.callees), private=False)

    def _subscript(self, node: ast.Subscript) -> Value:
        base = self.target(node.value)
        key = self.value(node.slice)
        self.escape(key)
        if environment.WHOLE in base.paths:
            return self.named("environment", key, node)
        self._named(base, node.value)
        for own in base.callees:
            if isinstance(own, Class) and "__class_getitem__" in own.methods:  # X[int]
                self.own_call((bound(own.methods["__class_getitem__"], own.value),), (key,), {})
        if isinstance(base.live, defaultdict) and isinstance(node.ctx, ast.Load):
            self.change(base, node)  # it may add what is missing
        if _selects(node.slice):  # df[["a", "b"]], df[df["a"] > 0]: a copy
            return FRESH.made(type=base.type, taints=base.taints)
        found = part(base).made(taints=base.taints, plain=base.plain)
        return found.made(callees=(*found.callees, *key.callees)) if base.paths else found  # list[Model]

    def _slice(self, node: ast.Slice) -> Value:
        return fresh([self.value(bound) for bound in (node.lower, node.upper, node.step) if bound is not None])

    def _starred(self, node: ast.Starred) -> Value:
        return self.value(node.value)

    def _namedexpr(self, node: ast.NamedExpr) -> Value:
        value = self.value(node.value)
        self.bind(node.target.id, value, node)
        return value

    def _await(self, node: ast.Await) -> Value:
        return self.value(node.value)

    def _yield(self, node: ast.Yield) -> Value:
        self.yielded.append(self.value(node.value) if node.value is not None else FRESH)
        return UNKNOWN

    def _yieldfrom(self, node: ast.YieldFrom) -> Value:
        self.yielded.append(part(self.value(node.value)))
        return UNKNOWN

    # Comprehensions and functions -------------------------------------------------------------------

    def _comprehension(self, node: Any) -> Value:
        before = dict(self.variables)
        for generator in node.generators:
            self.assign(generator.target, part(self.value(generator.iter)), node)
            for test in generator.ifs:
                self.escape(self.value(test))
        items = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        values = [self._call(item, unused=True) if isinstance(item, ast.Call) else self.value(item) for item in items]
        for name in [name for name in self.variables if name not in before]:
            del self.variables[name]
        self.variables |= {name: value for name, value in before.items() if self._is_target(name, node)}
        return fresh(values, type="builtins.list").made(callees=tuple(c for v in values for c in v.callees))

    _listcomp = _setcomp = _dictcomp = _generatorexp = _comprehension

    def _is_target(self, name: str, node: Any) -> bool:
        return any(isinstance(n, ast.Name) and n.id == name for g in node.generators for n in ast.walk(g.target))

    def _lambda(self, node: ast.Lambda) -> Value:
        return Value(callees=(self.inner_function(node),), fresh=True)

    def inner_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> Function:
        """A function that is defined in the body."""
        made = Function(node, node, self.function.names, nested=self)
        self.nested.append(made)
        return made

    def assign(self, node: ast.expr, value: Value, statement: ast.AST) -> None:
        """Bind a target to a value."""
        raise NotImplementedError

    def _any(self, node: ast.expr) -> Value:
        return fresh([self.value(child) for child in _inner(node)])


def _selects(key: ast.expr) -> bool:
    """Whether a subscript selects by a list of names or a mask."""
    if isinstance(key, ast.BinOp):
        return isinstance(key.op, (ast.BitAnd, ast.BitOr))
    if isinstance(key, ast.UnaryOp):
        return isinstance(key.op, ast.Invert)
    return isinstance(key, (ast.List, ast.ListComp, ast.Compare))


def _inner(node: ast.AST) -> Iterable[ast.expr]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            yield child
