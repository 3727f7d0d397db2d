"""What it does to make objects and classes: constructors, metaclasses, hooks for subclasses."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Final

from expops_prefect.effects.code import classes, names
from expops_prefect.effects.code.definitions import methods_in
from expops_prefect.effects.code.own_calls import OwnCalls, plain_fields
from expops_prefect.effects.code.values import FRESH, GLOBAL, UNKNOWN, Class, Function, Value, constant, fresh

ANYHOW: Final = {"**": UNKNOWN}
"""Keywords of a call of which is not known what it is given."""
_OF_PROPERTIES: Final = ("setter", "getter", "deleter", "validator", "default")
"""Decorators of methods that belong to the attribute that they are asked of."""


class Making(OwnCalls):
    """Makes objects of the project's own classes, and such classes."""

    def constructed(self, cls: Class, arguments: Sequence[Value], keywords: Mapping[str, Value]) -> Value:
        """An object that is made."""
        plain = plain_fields(cls)
        held = [value for place, value in enumerate(arguments) if place >= len(plain) or not plain[place][1]]
        held += [value for name, value in keywords.items() if (name, True) not in plain]
        made = fresh(held).made(instance=cls, private=False)
        first_time = cls.key not in self.summary.run
        self.summary.run.setdefault(cls.key, cls)
        made = self._by_its_class(cls, made, arguments, keywords)
        for name in ("__init__", "__post_init__"):
            method = cls.methods.get(name)
            if method is not None:
                given = (arguments, keywords) if name == "__init__" else ((), {})
                self.own_call((classes.bound(method, made),), *given)
        times = self._fields(cls, arguments, keywords)
        if first_time:
            for inner in classes.field_classes(cls):
                if inner.key not in self.summary.run:
                    times |= self.constructed(inner, (), ANYHOW).taints
        for base in cls.bases:
            for path in base.paths:
                kind = self.table.kind(path)
                if kind == "environment":
                    self.effect(kind, ast.Name(id=cls.name), cls.name)
        return made.made(taints=times.union(*(value.taints for value in (*arguments, *keywords.values()))))

    def _by_its_class(
        self, cls: Class, made: Value, arguments: Sequence[Value], keywords: Mapping[str, Value]
    ) -> Value:
        """What the metaclass and ``__new__`` give: it may be an object that everybody has."""
        meta = classes.metaclass(cls)
        if meta is not None:
            self.summary.run.setdefault(meta.key, meta)
        for method in (meta.methods.get("__call__") if meta is not None else None, cls.methods.get("__new__")):
            if method is not None:
                returned = self.own_call((classes.bound(method, cls.value),), arguments, keywords)
                if GLOBAL in returned.origins:
                    made = made.made(origins=made.origins | {GLOBAL}, fresh=False)
        if classes.is_metaclass(cls):
            parents = tuple(c for value in arguments for c in value.callees if isinstance(c, Class))
            self.class_made(Class(self.here, cls.name, {}, parents=parents, meta=cls), keywords)
        return made

    def _fields(self, cls: Class, arguments: Sequence[Value], keywords: Mapping[str, Value]) -> frozenset[int]:
        """Call what gives the fields that are not given, and what looks at those that are; the times in them."""
        times: frozenset[int] = frozenset()
        given = {*keywords, *(name for (name, _), _ in zip(plain_fields(cls), arguments, strict=False))}
        for name, factory in classes.factories(cls):
            if name not in given:
                line = getattr(self.here, "lineno", 0)
                made = ast.Name(id=cls.name, lineno=line)
                called = ast.Attribute(value=made, attr=name, lineno=line) if name else made
                times |= self.called(ast.Call(func=called, args=[], keywords=[], lineno=line), factory).taints
        return times

    def class_made(self, cls: Class, keywords: Mapping[str, Value]) -> Value:
        """A class that the body makes: its bases and its metaclass hear of it."""
        made = cls.value
        hooks = [parent.methods.get("__init_subclass__") for parent in classes.parents(cls)]
        hook = next((found for found in hooks if found is not None), None)
        if hook is not None:
            self.own_call((classes.bound(hook, made),), (), keywords)
        meta = classes.metaclass(cls)
        if meta is not None:
            self.summary.run.setdefault(meta.key, meta)
            for name in ("__prepare__", "__new__", "__init__"):
                method = meta.methods.get(name)
                if method is not None:
                    first = made if name == "__init__" else meta.value
                    self.own_call((classes.bound(method, first),), (FRESH, FRESH, FRESH), keywords)
        return made

    def class_of(self, value: Value) -> Value:
        """``type(x)``, ``x.__class__``: what is changed of it is changed for all objects."""
        if value.instance is not None:
            return value.instance.value
        return Value(type="builtins.type", origins=frozenset({GLOBAL}), taints=value.taints)

    def class_from(self, given: Sequence[Value], keywords: Mapping[str, Value]) -> Value:
        """A class that is made by a call: ``type(name, bases, names)``."""
        own = [c for value in given for c in value.callees if isinstance(c, Class)]
        meta = next((c for c in own if classes.is_metaclass(c)), None)
        parents = tuple(c for c in own if not classes.is_metaclass(c))
        methods: dict[str, Function] = {}
        for parent in reversed(parents):
            methods |= parent.methods
        cls = Class(self.here, "type", methods, parents=parents, meta=meta)
        return self.class_made(cls, {name: value for name, value in keywords.items() if name != "metaclass"})

    # Statements --------------------------------------------------------------------------------------

    def class_statement(self, node: ast.ClassDef) -> None:
        """Read the body of a class statement, which runs where the class is defined."""
        methods = {name: Function(inner, inner, self.function.names, nested=self) for name, inner in methods_in(node)}
        made = names.read_class(node, node, methods, self.value)
        self.nested.append(Class(node, node.name, methods))
        before = dict(self.variables)
        for statement in node.body:
            if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
                self.definition(statement)
            else:
                self.run((statement,))
        bound = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        self.variables = {n: known if n in bound else self.variables.get(n, known) for n, known in before.items()}
        keywords = {k.arg: self.value(k.value) for k in node.keywords if k.arg not in (None, "metaclass")}
        self.variables[node.name] = self.class_made(made, keywords)
        for decorator in node.decorator_list:
            decorating = self.value(decorator)
            self.own_call(decorating.callees, (self.variables[node.name],), {})

    def definition(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """What the definition of a function runs: its decorators and defaults."""
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Attribute) and decorator.attr not in _OF_PROPERTIES:
                self.value(ast.copy_location(ast.Call(decorator, [], []), decorator))  # it is called with the function
            else:
                self.value(decorator)
        for default in (*node.args.defaults, *(d for d in node.args.kw_defaults if d is not None)):
            self.value(default)

    def set_attribute(self, base: Value, node: ast.Attribute, value: Value, call: str, *, deleting: bool) -> None:
        """What setting an attribute runs; and whose attributes the object has from now on."""
        if base.instance is None and not base.type and not base.paths:
            self.summary.used.add(node.attr)
        for method, named in classes.setters(base, node.attr, deleting=deleting):
            descriptor = method.bound is not base
            name = (constant(node.attr),) if named else (base,) if descriptor else ()
            self.own_call((method,), (*name, *(() if deleting else (value,))), {})
        if node.attr == "__dict__" and value.all_origins != base.all_origins:
            self.change(value.made(plain=False), node, call)
