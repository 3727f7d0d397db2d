"""Calls that change how the process works, or ask how it does."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final

from expops_prefect.effects.code.making import Making
from expops_prefect.effects.code.state import written
from expops_prefect.effects.code.values import FRESH, GLOBAL, MISSING, PLAIN, Value
from expops_prefect.effects.table import methods, settings

if TYPE_CHECKING:
    from expops_prefect.effects.code.calls import Call

_SETS: Final = ("builtins.setattr", "builtins.delattr")
_LOGGERS: Final = ("logging.Logger", "logging.RootLogger", "logging.LoggerAdapter")


class SettingsCalls(Making):
    """Calls that concern the process as a whole."""

    def of_settings(self, path: str, call: Call) -> Value | None:
        """A call of something with a qualified name, if it is one of these."""
        if path in settings.FIGURES:
            self.draws_own_figure = True
            return None
        if path in _SETS and call.arguments and is_elsewhere(call.arguments[0]):
            self.effect("state", call.node)
            return PLAIN
        if path in settings.LOCAL_TIMES:
            if len(call.given) < 2:
                self.summary.environment.add(settings.ZONE)
            return None
        if path in settings.ONLY_WITH_ARGUMENTS:
            self.effect("state" if call.given else settings.ONLY_WITH_ARGUMENTS[path], call.node)
            return PLAIN
        if path.partition(".")[0] in self.within and self.table.kind(path) == "state":
            return FRESH
        if path in settings.UNDONE_BY and self._calls(settings.UNDONE_BY[path], of=call.node.func):
            return PLAIN
        receiver = call.function.receiver
        if path in settings.GENERATORS or (
            path.startswith(settings.OF_CLASSES) and (receiver is None or not receiver.fresh)
        ):
            self.effect("state", call.node)
            return FRESH
        asked = frozenset[int]()
        if path in settings.ASKS and not (path in settings.CURRENT_FIGURE and self.draws_own_figure):
            asked = self.candidate("environment", call.node)
        kind = settings.SHARED.get(path)
        if kind is not None:
            top = path.partition(".")[0]
            return FRESH if top in self.within else Value(type=kind, origins=frozenset({GLOBAL}), taints=asked)
        return Value(fresh=True, type=f"{path}()", taints=asked) if path in settings.ASKS else None

    def of_logger(self, call: Call) -> Value | None:
        """A method of a logger, or of one of its handlers."""
        name = call.function.attribute
        if name in settings.ASKED_METHODS:
            return PLAIN.made(taints=self.candidate("environment", call.node))
        if name == "getChild":
            receiver = call.function.receiver or Value()
            return Value(type="logging.Logger", origins=receiver.all_origins, fresh=receiver.fresh)
        if name == "astimezone" and not call.given:
            self.summary.environment.add(settings.ZONE)
        pairs = settings.UNDONE_AT_THE_END
        for does, undoes in pairs.items():
            if name in (does, undoes) and self._calls(does) and self._calls(undoes, at_the_end=True):
                return PLAIN
        return None

    def is_asked(self, value: Value) -> bool:
        """Whether an attribute is part of a logger's set-up."""
        receiver = value.receiver
        return (
            receiver is not None
            and value.attribute in settings.ASKED_OF_LOGGERS
            and receiver.type in _LOGGERS
            and not receiver.fresh
        )

    def _calls(self, name: str, *, at_the_end: bool = False, of: ast.expr | None = None) -> bool:
        """Whether the body calls something of this name itself, of the same module or object if that is given."""
        node = self.function.node
        if node is None:
            return False
        inner: list[ast.AST] = [node]
        if at_the_end:
            inner = [s for part in ast.walk(node) if isinstance(part, ast.Try) for s in part.finalbody]
        calls = (call.func for part in inner for call in ast.walk(part) if isinstance(call, ast.Call))
        named = (f for f in calls if (f.attr if isinstance(f, ast.Attribute) else getattr(f, "id", "")) == name)
        return any(of is None or _owner(f) == _owner(of) for f in named)


def _owner(function: ast.expr) -> str:
    return written(function.value) if isinstance(function, ast.Attribute) else ""


def is_elsewhere(value: Value) -> bool:
    """Whether it is a module or a class of somebody else."""
    return value.live is not MISSING and not value.origins and bool(value.paths) and not value.fresh


def only_logs(node: ast.If) -> bool:
    """Whether nothing comes of a condition but lines in a log."""
    return not node.orelse and all(
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Call)
        and isinstance(statement.value.func, ast.Attribute)
        and statement.value.func.attr in methods.LOGS
        for statement in node.body
    )
