"""Reads the statements of a function's body in their order."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any, Final

from expops_prefect.effects.code.expressions import Expressions
from expops_prefect.effects.code.names import imported
from expops_prefect.effects.code.settings import only_logs
from expops_prefect.effects.code.state import written
from expops_prefect.effects.code.values import (
    FRESH,
    MISSING,
    PLAIN,
    Class,
    Function,
    FunctionNode,
    Summary,
    Value,
    constant,
    fresh,
    joined,
    part,
)
from expops_prefect.effects.table import environment, settings

_PLAIN_TYPES: Final = frozenset(
    "builtins.int builtins.float builtins.str builtins.bool builtins.bytes datetime.date datetime.datetime "
    "pathlib.Path datetime.timedelta decimal.Decimal uuid.UUID builtins.tuple builtins.complex".split()
)
_MUTABLE_TYPES: Final = (
    "builtins.list",
    "builtins.set",
    "builtins.dict",
    "numpy.",
    "pandas.",
    "torch.",
    "collections.",
)
_GENERATOR: Final = "types.GeneratorType"
_REMOVERS: Final = frozenset({"rmtree", "unlink", "remove", "rmdir", "cleanup"})


class Body(Expressions):
    """The body of one function."""

    def read(self) -> Summary:
        """Read it all; what it does."""
        node: Any = self.function.node
        self._parameters(node)
        if isinstance(node, ast.Lambda):
            body = node.body
            self.given_back(self._call(body, unused=True) if isinstance(body, ast.Call) else self.value(body))
        else:
            self.removes = _removes_at_the_end(node)
            self.run(node.body)
        self.summary.returns = joined(self.returned) if self.returned else constant(None)
        if self.yielded:
            if not self.depth:
                self.escape(*self.yielded, plans=True)
            self.summary.returns = fresh(self.yielded, type=_GENERATOR)
        if self.outer is None:
            self._finish_nested()
            for number in sorted(self.escaped):
                self.summary.effects.setdefault(self.candidates[number])
        return self.summary

    def _finish_nested(self) -> None:
        """Functions within the body that were not called here: somebody else may call them."""
        left = self.nested
        while left:
            callee = left.pop()
            inner = list(callee.methods.values()) if isinstance(callee, Class) else [callee]
            for function in inner:
                if not self.analysis.is_read(function):
                    summary = self.analysis.summary(function)
                    self.escape(summary.returns, plans=True)
                    self._take(summary, {}, nested=True, by_others=True)
        self.nested = []

    def _parameters(self, node: FunctionNode) -> None:
        suffix = "'" * self.depth
        arguments = node.args
        plain = [*arguments.posonlyargs, *arguments.args]
        self.summary.parameters = tuple(a.arg + suffix for a in plain)
        self.summary.keyword_only = tuple(a.arg + suffix for a in arguments.kwonlyargs)
        self.summary.variable = (
            arguments.vararg.arg + suffix if arguments.vararg else "",
            arguments.kwarg.arg + suffix if arguments.kwarg else "",
        )
        defaults = [
            *zip(reversed(plain), reversed(arguments.defaults), strict=False),
            *((a, d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if d is not None),
        ]
        for argument, default in defaults:
            found = constant(default.value) if isinstance(default, ast.Constant) else FRESH
            if isinstance(default, (ast.Name, ast.Attribute)):
                self.value(default)  # a function counts as called
            self.summary.defaults[argument.arg + suffix] = found
        for argument in (*plain, *arguments.kwonlyargs):
            self.variables[argument.arg] = self._parameter(argument, argument.arg + suffix)
        for variable in (arguments.vararg, arguments.kwarg):
            if variable is not None:
                self.variables[variable.arg] = Value(fresh=True, inner=frozenset({variable.arg + suffix}))
        if self.function.bound is not None and plain:
            first, bound = plain[0].arg, self.function.bound
            self.variables[first] = self.variables[first].made(instance=bound.instance, callees=bound.callees)

    def _parameter(self, argument: ast.arg, origin: str) -> Value:
        made = Value(origins=frozenset({origin}), parameter=origin)
        kind = self._annotated(argument.annotation)
        if kind is None:
            return made
        own = next((callee for callee in kind.callees if isinstance(callee, Class)), None)
        path = kind.paths[0] if kind.paths else ""
        if own is not None:
            return made.made(instance=own)
        return made.made(type=path, plain=path in _PLAIN_TYPES)

    def _annotated(self, node: ast.expr | None) -> Value | None:
        """The class that an annotation names."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                node = ast.parse(node.value, mode="eval").body
            except SyntaxError:
                return None
        if isinstance(node, ast.Subscript):
            base = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            if base in ("Optional", "Annotated"):
                inner = node.slice.elts[0] if isinstance(node.slice, ast.Tuple) else node.slice
                return self._annotated(inner)
            node = node.value
        if isinstance(node, ast.BinOp) and isinstance(node.right, ast.Constant) and node.right.value is None:
            node = node.left
        if not isinstance(node, (ast.Name, ast.Attribute)):
            return None
        found = self.target(node)
        return (
            found
            if found.callees
            or any(path.rpartition(".")[2][:1].isupper() or path.startswith("builtins.") for path in found.paths)
            else None
        )

    # Statements -------------------------------------------------------------------------------------

    def run(self, statements: Sequence[ast.stmt]) -> None:
        """Read statements one after the other."""
        for statement in statements:
            read: Callable[[Any], None] | None = getattr(self, f"_on_{type(statement).__name__.lower()}", None)
            if read is not None:
                read(statement)

    def _on_expr(self, node: ast.Expr) -> None:
        inner = node.value.value if isinstance(node.value, ast.Await) else node.value
        if isinstance(inner, ast.Call):
            self._call(inner, unused=True)
        else:
            self.value(inner)

    def _on_assign(self, node: ast.Assign) -> None:
        given = node.value
        for target in node.targets:
            if isinstance(target, ast.Tuple) and isinstance(given, ast.Tuple) and len(target.elts) == len(given.elts):
                values = [self.value(item) for item in given.elts]
                for inner, value in zip(target.elts, values, strict=True):
                    self.assign(inner, value, node)
            else:
                self.assign(target, self.value(given), node)

    def _on_annassign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.assign(node.target, self.value(node.value), node)

    def assign(self, node: ast.expr, value: Value, statement: ast.AST) -> None:
        """Bind a target."""
        if isinstance(node, ast.Name):
            self.bind(node.id, value, statement)
        elif isinstance(node, (ast.Tuple, ast.List)):
            for item in node.elts:
                self.assign(item, part(value), statement)
        elif isinstance(node, ast.Starred):
            self.assign(node.value, value, statement)
        elif isinstance(node, (ast.Attribute, ast.Subscript)):
            self._store(node, value, f"{written(node)} = …")

    def _store(self, node: ast.Attribute | ast.Subscript, value: Value, call: str, *, deleting: bool = False) -> None:
        base = self.target(node.value)
        if isinstance(node, ast.Attribute):
            self.set_attribute(base, node, value, call, deleting=deleting)
        if isinstance(node, ast.Subscript):
            self.escape(self.value(node.slice))
        first = self.summary.parameters[0] if self.summary.parameters else None
        if isinstance(node, ast.Attribute) and base.parameter and base.parameter == first:
            known = self.summary.attributes.get(node.attr)
            self.summary.attributes[node.attr] = value if known is None else joined((known, value))
        outside = base.live is not MISSING and not base.origins and bool(base.paths)
        if environment.WHOLE in base.paths or (outside and not self._is_setting(base)):
            self.effect("state", node, call)
        else:
            self.change(base.made(plain=False, private=False), node, call)
        if base.origins:
            self.escape(value)
        else:
            self.widen(node.value, value)

    def _is_setting(self, base: Value) -> bool:
        return any(self.table.is_exact(path) for path in base.paths if "." in path)

    def _on_augassign(self, node: ast.AugAssign) -> None:
        value = self.value(node.value)
        if not isinstance(node.target, ast.Name):
            self.target(node.target)
            if isinstance(node.target, (ast.Attribute, ast.Subscript)):
                self._store(node.target, value, f"{written(node.target)} {_operator(node.op)}= …")
            return
        name = node.target.id
        known = self.look_up(name) or FRESH
        literal = isinstance(node.value, (ast.List, ast.Set, ast.Dict, ast.ListComp, ast.SetComp))
        in_place = (
            literal or known.type.startswith(_MUTABLE_TYPES) or value.type.startswith(("builtins.list", "builtins.set"))
        )
        if known.origins and not known.plain and in_place:
            self.change(known, node, f"{name} {_operator(node.op)}= …")
        changed = fresh((known, value), type=known.type)
        self.bind(
            name,
            changed.made(
                origins=known.origins, fresh=known.fresh, plain=known.plain and value.plain, callees=known.callees
            ),
            node,
        )

    def _on_delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            if isinstance(target, ast.Name):
                if target.id in self.globals:
                    self.effect("state", node, f"del {target.id}")
                self.variables.pop(target.id, None)
            elif isinstance(target, (ast.Attribute, ast.Subscript)):
                self._store(target, PLAIN, f"del {written(target)}", deleting=True)

    def _on_global(self, node: ast.Global) -> None:
        self.globals.update(node.names)

    def _on_nonlocal(self, node: ast.Nonlocal) -> None:
        self.nonlocals.update(node.names)

    def _on_return(self, node: ast.Return) -> None:
        if node.value is not None:
            self.given_back(self.value(node.value))

    def given_back(self, value: Value) -> None:
        """Note what the body returns or yields."""
        if not self.depth:  # of an inner function, its caller decides
            self.escape(value, plans=True)
        self.returned.append(value)

    # Branches ---------------------------------------------------------------------------------------

    def _branch(self, *paths: Sequence[ast.stmt]) -> None:
        """One of these runs."""
        before, seeded = dict(self.variables), set(self.seeded)
        ends, seeds = [], []
        self.conditional += 1
        for statements in paths:
            self.variables, self.seeded = dict(before), set(seeded)
            self.run(statements)
            if not statements or not isinstance(statements[-1], (ast.Return, ast.Raise, ast.Continue, ast.Break)):
                ends.append(self.variables)
                seeds.append(self.seeded)
        self.conditional -= 1
        self.variables = _merged(ends) if ends else before
        self.seeded = set.intersection(*seeds) if seeds else seeded

    def _on_if(self, node: ast.If) -> None:
        test = self.value(node.test)
        if not only_logs(node):
            self.escape(test)
        self._branch(node.body, node.orelse)

    def _loop(self, node: ast.For | ast.AsyncFor | ast.While) -> None:
        for _ in range(2):
            if not isinstance(node, ast.While):
                iterated = self.value(node.iter)
                self.assign(node.target, part(iterated), node)
            else:
                self.escape(self.value(node.test))
            self._branch(node.body, ())
        self.run(node.orelse)

    _on_for = _on_asyncfor = _on_while = _loop

    def _on_try(self, node: Any) -> None:
        self.run(node.body)
        handlers = []
        for handler in node.handlers:
            if handler.name:
                self.variables[handler.name] = FRESH.made(type="builtins.Exception()")
            handlers.append(handler.body)
        self._branch(node.orelse, *handlers)
        self.run(node.finalbody)

    _on_trystar = _on_try

    def _on_with(self, node: ast.With | ast.AsyncWith) -> None:
        within = self.within
        for item in node.items:
            value = self.value(item.context_expr)
            restored = settings.WITHIN.get(value.type.removesuffix("()"))
            if restored is not None:
                self.within += (restored,)
            if value.instance is not None:
                for name in ("__enter__", "__exit__", "__aenter__", "__aexit__"):
                    method = value.instance.methods.get(name)
                    if method is not None:
                        bound = Function(method.key, method.node, method.names, method.code, value, method.nested)
                        self.own_call((bound,), (), {})
            if item.optional_vars is not None:
                made = part(value) if value.type == _GENERATOR else value  # of a contextlib.contextmanager
                self.assign(item.optional_vars, made, node)
        self.run(node.body)
        self.within = within

    _on_asyncwith = _on_with

    def _on_match(self, node: ast.Match) -> None:
        subject = self.value(node.subject)
        self.escape(subject)
        for case in node.cases:
            for pattern in ast.walk(case.pattern):
                name = getattr(pattern, "name", None) or getattr(pattern, "rest", None)
                if isinstance(name, str):
                    self.variables[name] = part(subject)
            if case.guard is not None:
                self.escape(self.value(case.guard))
        self._branch(*(case.body for case in node.cases), ())

    def _on_raise(self, node: ast.Raise) -> None:
        for inner in (node.exc, node.cause):
            if inner is not None:
                raised = self.value(inner)
                self.own_call([callee for callee in raised.callees if isinstance(callee, Class)], (), {})

    def _on_assert(self, node: ast.Assert) -> None:
        self.escape(self.value(node.test))
        if node.msg is not None:
            self.value(node.msg)

    # Definitions ------------------------------------------------------------------------------------

    def _on_import(self, node: ast.Import | ast.ImportFrom) -> None:
        self.variables |= imported(node, self.function.names.package)

    _on_importfrom = _on_import

    def _on_functiondef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.definition(node)
        self.variables[node.name] = Value(callees=(self.inner_function(node),), fresh=True)

    _on_asyncfunctiondef = _on_functiondef

    def _on_classdef(self, node: ast.ClassDef) -> None:
        self.class_statement(node)


def _merged(ends: Sequence[dict[str, Value]]) -> dict[str, Value]:
    """The variables after branches: each what it may be."""
    first = ends[0]
    if len(ends) == 1:
        return first
    names = dict.fromkeys(name for end in ends for name in end)
    return {name: joined([end[name] for end in ends if name in end]) for name in names}


def _operator(node: ast.operator) -> str:
    return {"Add": "+", "Sub": "-", "Mult": "*", "Div": "/", "BitOr": "|", "BitAnd": "&"}.get(type(node).__name__, "")


def _removes_at_the_end(node: ast.AST) -> bool:
    """Whether a body removes files whatever happens."""
    finals = [s for part_ in ast.walk(node) if isinstance(part_, ast.Try) for s in part_.finalbody]
    calls = [call.func for statement in finals for call in ast.walk(statement) if isinstance(call, ast.Call)]
    return any((f.attr if isinstance(f, ast.Attribute) else getattr(f, "id", "")) in _REMOVERS for f in calls)
