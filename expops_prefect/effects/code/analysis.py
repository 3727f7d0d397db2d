"""The effects of a function with all of the project's own code that it refers to."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from types import FunctionType
from typing import Any, Final

from expops_prefect.effects.code import classes, names
from expops_prefect.effects.code.body import Body
from expops_prefect.effects.code.held import effect_of_callable, effect_of_class
from expops_prefect.effects.code.names import SourceModule
from expops_prefect.effects.code.values import MISSING, Class, Function, Summary, Value
from expops_prefect.effects.table import Table, methods, random, table
from expops_prefect.fingerprint import bytecode
from expops_prefect.fingerprint.ownership import Owner
from expops_prefect.fingerprint.sources import plain_functions
from expops_prefect.fingerprint.third_party import owner_of_callable
from expops_prefect.models.effects import KINDS, CodeEffects, Effect

logger = logging.getLogger(__name__)

_MOST_SHOWN: Final = 20
_MOST_UNRESOLVED: Final = 10
_SINKS: Final = tuple(methods.SINKS.split())
_MOST_DEEP: Final = 60
_MAKERS: Final = ("__init__", "__new__", "__post_init__", "__init_subclass__", "__class_getitem__", "__prepare__")
"""Methods that do not run of themselves for an object that there is."""
_TELLING: Final = ("network", "database", "process", "prefect", "file write", "person", "state", "lazy data")


def code_effects(
    function: Any, functions: Iterable[FunctionType], classes: Iterable[type], marks: Iterable[tuple[str, str]] = ()
) -> CodeEffects:
    """The effects of a task.

    Args:
        function: the task's function, or whatever is called for it.
        functions: all of the project's functions that it refers to, directly or not, and whatever else is called
            that constants, defaults and the like hold.
        classes: the classes that it refers to, or whose objects it refers to or is given.
        marks: more entries for the table of known callables.
    """
    try:
        return _code_effects(function, functions, classes, marks)
    except Exception:
        logger.debug("Cannot analyze the code of %r", function, exc_info=True)
        # Our own fault, most likely, and no reason to trust the code.
        name = str(getattr(function, "__qualname__", type(function).__qualname__))
        return CodeEffects(effects=(Effect("unknown", name),), resolved=False, unresolved=(name,))


def _code_effects(
    function: Any, functions: Iterable[FunctionType], classes: Iterable[type], marks: Iterable[tuple[str, str]]
) -> CodeEffects:
    classes = tuple(classes)
    analysis = Analysis(table(marks), (cls for cls in classes if owner_of_callable(cls) is Owner.PROJECT))
    functions = tuple(functions)
    whole = analysis.whole(function, [found for found in functions if isinstance(found, FunctionType)])
    effects = dict(whole.effects)
    effects |= dict.fromkeys(whole.draws)
    for effect, (what, origin) in whole.depends.items():
        default = whole.defaults.get(origin)
        if what != "none" or (default is not None and default.constant is None):
            effects.setdefault(effect)
    effects |= dict.fromkeys(whole.changes.values())
    open_already = {effect_of_class(cls, analysis.table) for cls in classes}
    open_already |= {effect_of_callable(held, analysis.table) for held in functions}
    for kind, name in sorted(filter(None, open_already)):
        if all(effect.kind != kind for effect in effects):
            effects[Effect(kind, name)] = None  # nothing is heard of a connection that is open already
    if "elsewhere" in whole.files and whole.reads:
        # Nobody hears what another process reads; which of the functions run there is not known.
        effects.setdefault(Effect("file read", f"{next(iter(whole.reads))} maybe in another process"))
    ordered = sorted(effects, key=lambda effect: (_rank(effect), effect.file, effect.line))
    return CodeEffects(
        effects=tuple(ordered[:_MOST_SHOWN]),
        environment=tuple(sorted(whole.environment)),
        variables=tuple(sorted(whole.variables)),
        seeds=frozenset(whole.seeds),
        reads=tuple(whole.reads)[:_MOST_UNRESOLVED],
        resolved=not whole.unresolved,
        unresolved=tuple(whole.unresolved)[:_MOST_UNRESOLVED],
        makes_files="made" in whole.files,
        hidden_writes="hidden" in whole.files,
        may_draw=any(map(random.may_draw, whole.libraries.union(cls.__module__.partition(".")[0] for cls in classes))),
    )


def _rank(effect: Effect) -> int:
    return _TELLING.index(effect.kind) if effect.kind in _TELLING else len(_TELLING)


class Analysis:
    """What is known of the functions and classes of one graph of code.

    Args:
        known: the table of known callables.
        classes: the project's classes in the graph.
    """

    def __init__(self, known: Table, classes: Iterable[type]) -> None:
        self.table = known
        self._classes = [names.of_class(cls) for cls in classes]
        self._by_method: dict[str, list[tuple[Class, Function]]] = {}
        for cls in self._classes:
            for name, method in cls.methods.items():
                self._by_method.setdefault(name, []).append((cls, method))
        self._summaries: dict[object, Summary] = {}
        self._reading: set[object] = set()

    # What a body asks for ---------------------------------------------------------------------------

    def summary(self, function: Function) -> Summary:
        """What a function does; empty for one that is being read, which calls itself."""
        first = function.bound
        cls = (
            None if first is None else first.instance or next((c for c in first.callees if isinstance(c, Class)), None)
        )
        key = (function.key, cls.key if cls is not None else None)
        known = self._summaries.get(key)
        if known is not None:
            return known
        if len(self._reading) > _MOST_DEEP:
            return Summary(unresolved={"code that is nested too deeply": None})
        body = Body(self, function)
        self._summaries[key] = body.summary
        self._reading.add(key)
        try:
            if function.node is None:
                self._read_code(function, body)
            else:
                body.read()
        except RecursionError:
            body.summary.unresolved.setdefault("code that is nested too deeply")
        finally:
            self._reading.discard(key)
        return body.summary

    def is_read(self, function: Function) -> bool:
        """Whether a function has been read."""
        return any(key[0] is function.key for key in self._summaries if isinstance(key, tuple))

    def methods(self, name: str) -> list[tuple[Class, Function]]:
        """The methods of this name of the project's classes."""
        return self._by_method.get(name, [])

    def attribute(self, value: Value, name: str) -> Value:
        """An attribute of a value."""
        return names.attribute(value, name)

    def attribute_of(self, cls: Class, name: str) -> Value | None:
        """What the methods that make an object assign to one of its attributes."""
        for maker in ("__init__", "__post_init__", "__enter__", "setup"):
            method = cls.methods.get(maker)
            if method is None:
                continue
            bound = Function(method.key, method.node, method.names, method.code, Value(instance=cls), method.nested)
            found = self.summary(bound).attributes.get(name)
            if found is not None:
                return found.made(inner=frozenset(), taints=frozenset(), parameter="")
        if cls.live is not None:
            for base in cls.live.__mro__:
                hint = classes.hints(base).get(name)
                if isinstance(hint, str):
                    module = vars(sys.modules.get(base.__module__, sys))
                    for part in hint.split("."):
                        module = vars(module) if not isinstance(module, dict) else module
                        hint = module = module.get(part, {})
                        if not isinstance(module, (dict, type(sys))):
                            break
                if isinstance(hint, type):
                    known = names.of_live(hint)
                    own = next((callee for callee in known.callees if isinstance(callee, Class)), None)
                    return Value(type=known.paths[0] if known.paths else "", instance=own)
        return None

    def inherited(self, cls: Class, name: str, function: Function) -> Function | None:
        """The method of a base class that ``super()`` means in a method of an object, a class or its metaclass."""
        for line in ((cls, *classes.parents(cls)), _line_of_metaclass(cls)):
            place = max((place for place, own in enumerate(line) if classes.has(own, function)), default=-1)
            if place >= 0:
                return next((own.methods[name] for own in line[place + 1 :] if name in own.methods), None)
        return None

    def overrides(self, value: Value, name: str) -> list[Function]:
        """The methods of subclasses that a value of a class may have: an argument, as its annotation says."""
        own = value.instance
        if own is None or own.live is None:
            return []
        first = own.methods.get(name)
        return [
            classes.bound(method, value.made(instance=cls))
            for cls, method in self.methods(name)
            if cls.live is not own.live
            and issubclass(cls.live, own.live)
            and (first is None or method.key != first.key)
        ]

    def module(self, name: str) -> Value:
        """A module by its name."""
        return names.module_value(name)

    def is_sink(self, path: str) -> bool:
        """Whether what it is given is only shown or measured."""
        return path.startswith(_SINKS)

    # The whole --------------------------------------------------------------------------------------

    def whole(self, function: Any, functions: Iterable[FunctionType]) -> Summary:
        """What a task does: how it is called, and all else that its code may come to run."""
        value = names.of_live(function)
        root = next(iter(value.callees), None)
        runner = Body(self, Function("root", None, _NoNames()))
        found = runner.summary
        if isinstance(root, Function):
            summary = self.summary(root)
            found = _copied(summary)
            runner.summary = found
            runner.seeded = set(summary.seeds)
        elif isinstance(root, Class):
            runner.own_call((root,), (), {})
        elif value.instance is not None and "__call__" in value.instance.methods:
            runner.own_call(names.attribute(value, "__call__").callees, (), {})
        elif value.paths:
            kind = self.table.kind(value.paths[0])
            if kind in KINDS:
                runner.effect(str(kind), _at(), value.paths[0])
            elif kind is None:
                found.unresolved.setdefault(value.paths[0])
        else:
            found.unresolved.setdefault(str(getattr(function, "__qualname__", type(function).__name__)))
        own, texts = dict(found.effects), dict(found.texts)
        self._add_others(runner, functions)
        others = [effect for effect in found.effects if effect not in own]
        if texts and others:
            # Whether the text calls them is not known, so the reason is the call that runs it.
            for effect in others:
                del found.effects[effect]
            found.effects |= texts
        return found

    def _add_others(self, runner: Body, functions: Iterable[FunctionType]) -> None:
        """Functions that are referred to, and methods that the code can call by their names."""
        methods_of = {id(f): (cls, name) for cls in self._classes if cls.live for name, f in _all_functions(cls.live)}
        waiting = [
            f
            for f in functions
            if id(f) not in methods_of and names.is_own(f) and not names.is_generated(f.__name__, f)
        ]
        for function in waiting:
            self._add(runner, names.of_function(function), functions_of=None)
        known = {cls.key for cls in self._classes}
        done: set[object] = set()
        changed = True
        while changed:
            changed = False
            made = [cls for key, cls in runner.summary.run.items() if key not in known]
            for cls in (*self._classes, *made):
                for name, method in cls.methods.items():
                    if method.key in done or not self._can_run(cls, name, method, runner.summary):
                        continue
                    done.add(method.key)
                    changed = True
                    self._add(runner, method, functions_of=cls)
                    if name.endswith(".func") and self.summary(method).reads:
                        runner.effect("state", _at(), name.removesuffix(".func"))  # kept for whoever asks later

    def _can_run(self, cls: Class, name: str, method: Function, found: Summary) -> bool:
        name = name.partition(".")[0]
        if name in found.used or "*" in found.used:
            return True
        if name.startswith("__") and name.endswith("__"):
            return name not in _MAKERS and (cls.key in found.run or cls.live is not None)
        # Somebody else's code calls what it asks its users to define.
        if cls.key in found.run and ((name == "keys" and "__getitem__" in cls.methods) or classes.is_hook(cls, method)):
            return True
        return cls.key in found.run and any(
            base.live is not MISSING and base.live is not object and hasattr(base.live, name) for base in cls.bases
        )

    def _add(self, runner: Body, function: Function, *, functions_of: Class | None) -> None:
        bound = Value(instance=functions_of) if functions_of is not None else None
        if any(isinstance(key, tuple) and key[0] == function.key for key in self._summaries) and functions_of is None:
            return  # it was called, and is part of what called it
        summary = self.summary(
            Function(function.key, function.node, function.names, function.code, bound, function.nested)
        )
        arguments: Mapping[str, Value] = {
            name: Value(fresh=True) for name in (*summary.parameters, *summary.keyword_only)
        }
        runner._take(summary, arguments, nested=False, by_others=True)

    def _read_code(self, function: Function, body: Body) -> None:
        """A function without a source: which names it uses, not what it does with them."""
        summary = body.summary
        code = function.code
        summary.unresolved.setdefault(getattr(code, "co_qualname", code.co_name) if code is not None else "?")
        if code is None:
            return
        if getattr(function.names, "without_source", False):
            unread = f"{code.co_name}, whose source is not there"
            summary.effects.setdefault(Effect("unknown", unread, function.names.file, code.co_firstlineno))
        summary.parameters = code.co_varnames[: code.co_argcount]
        found = bytecode.references(code)
        for chain in (*found.names, *found.free):
            value = function.names.look_up(chain[0])
            for name in chain[1:]:
                value = names.attribute(value, name) if value is not None else None
            if value is None:
                continue
            kind = next((k for path in value.paths if (k := self.table.kind(path)) in KINDS), None)
            if kind is not None and value.receiver is None and not isinstance(value.live, type(sys)):
                summary.effects.setdefault(
                    Effect(kind, ".".join(chain), function.names.file, code.co_firstlineno)  # type: ignore[arg-type]
                )
        for entry in found.imports:
            for name in entry.names or ("",):
                path = f"{entry.module}.{name}".strip(".")
                kind = self.table.kind(path)
                if kind in KINDS and not entry.level:
                    summary.effects.setdefault(
                        Effect(kind, path, function.names.file, code.co_firstlineno)  # type: ignore[arg-type]
                    )
        summary.used |= set(code.co_names)


class _NoNames:
    """The names of what is no function."""

    file = ""
    package = ""

    def look_up(self, _name: str) -> Value | None:
        """None is bound."""
        return None


def _line_of_metaclass(cls: Class) -> tuple[Class, ...]:
    meta = classes.metaclass(cls)
    return (meta, *classes.parents(meta)) if meta is not None else ()


def _at() -> Any:
    import ast

    return ast.Name(id="", lineno=0)


def _copied(summary: Summary) -> Summary:
    return Summary(
        parameters=summary.parameters,
        keyword_only=summary.keyword_only,
        variable=summary.variable,
        defaults=summary.defaults,
        effects=dict(summary.effects),
        draws=dict(summary.draws),
        seeds=set(summary.seeds),
        changes=dict(summary.changes),
        depends=dict(summary.depends),
        environment=set(summary.environment),
        variables=set(summary.variables),
        used=set(summary.used),
        unresolved=dict(summary.unresolved),
        texts=dict(summary.texts),
        run=dict(summary.run),
        reads=dict(summary.reads),
        libraries=set(summary.libraries),
        files=set(summary.files),
    )


def _all_functions(cls: type) -> list[tuple[str, FunctionType]]:
    return [
        (name, f)
        for base in cls.__mro__
        if owner_of_callable(base) is Owner.PROJECT
        for name, f in plain_functions(base).items()
    ]


__all__ = ["Analysis", "Callable", "SourceModule", "code_effects"]
