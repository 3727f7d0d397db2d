"""Calls of methods, on objects whose type the code tells or does not."""

from __future__ import annotations

import ast
import re
from typing import Final

from expops_prefect.effects.code.calls import Call, KnownCalls, receivers
from expops_prefect.effects.code.classes import subclasses
from expops_prefect.effects.code.state import is_shared
from expops_prefect.effects.code.values import FRESH, PLAIN, Class, Function, Value, fresh, pairs, part, taints
from expops_prefect.effects.table import (
    HARMLESS,
    database,
    files,
    lazy,
    methods,
    methods_by_name,
    methods_by_receiver,
    prefect,
    random,
    sure_method,
)
from expops_prefect.effects.table.method_names import HARMLESS as HARMLESS_METHODS
from expops_prefect.models.effects import KINDS

_MODE: Final = re.compile(r"[rwaxbt+U]{1,4}")
_CONTAINERS: Final = ("builtins.list", "builtins.dict", "builtins.set", "builtins.tuple", "builtins.str",
                      "builtins.bytes", "builtins.int", "builtins.float", "collections.")  # fmt: skip
_CHANGING: Final = ("builtins.list", "builtins.dict", "builtins.set", "collections.")
_LOGGER: Final = re.compile(r"(^|_)log(ger|ging)?s?$|^log", re.IGNORECASE)
_TREES: Final = ("lxml.", "xml.etree.")
_GROWS: Final = frozenset("append add insert extend update appendleft extendleft setdefault put __setitem__".split())


class MethodCalls(KnownCalls):
    """Calls of attributes of objects."""

    def method_call(self, call: Call) -> Value:
        """A call of an attribute of an object that is no class or module."""
        receiver, name = call.function.receiver or Value(), call.function.attribute
        node = call.node.func
        if self._is_log(call):
            return PLAIN
        found = self.of_logger(call)
        if found is not None:
            return found
        own_classes = [c for c in receiver.callees if isinstance(c, Class)]
        if own_classes and name == "__subclasses__":
            return subclasses(own_classes[0])
        if receiver.callees and name == "register":  # of an abstract class, or of a function for single dispatch
            self.change(receiver, call.node)
        if own_classes and not name.startswith("__"):  # Model.model_validate makes an object
            self.escape(self.own_call(own_classes, (), {"**": fresh(call.given)}))
        if name in prefect.TASK_METHODS and receiver.callees:
            return self.own_call(receiver.callees, call.arguments, call.keywords).made(fresh=False, private=False)
        for path in call.function.paths:
            special = self._special(path, call)
            if special is not None:
                return special
        self.summary.libraries.update(path.partition(".")[0] for path in call.function.paths)
        if receiver.private and name in database.RUNS_SQL:
            self._runs_sql(call)
        kinds = [k for p in call.function.paths if (k := self.table.kind(p)) is not None]
        kind = next((k for k in kinds if k in KINDS), kinds[0] if kinds else None)
        if name in database.WRITES_TABLES and any(value.private for value in call.given):
            kind = HARMLESS  # into a database in memory
        elif kind is None or kind not in KINDS or kind == "lazy data":
            kind = self._sure(call, receiver, name) or kind
        if kind is not None and kind in KINDS and kind != "lazy data":
            self.escape(*call.given)
            self.effect(kind, call.node)
            return FRESH
        if name in files.READS:
            self.file_read(call)
        if self._writes_file(call, receiver, name):
            return FRESH.made(taints=receiver.taints)
        self._draws(call, name)
        own = self._own_methods(call, receiver, name) if not receiver.type else None
        if own is not None:
            return own
        if kind is None and not self._known_to_hold(receiver) and isinstance(node, ast.Attribute):
            by_name = self._by_name(node.value, name)
            if by_name is not None:
                self.escape(*call.given)
                self.effect(by_name, call.node)
                return FRESH
        changed = self._changes(call, receiver, name)
        given = any(name in call.keywords and call.keywords[name].constant is not None for name in random.KEYWORDS)
        known = name in HARMLESS_METHODS and not (name in methods.DRAWS and not receiver.type and not given)
        if kind is None and not known and not changed:
            self.unresolved(call.node, receiver, *call.given)
            return Value(taints=receiver.taints)
        return self._given_back(call, receiver, name, kind)

    def _runs_sql(self, call: Call) -> None:
        """A text that a database in memory runs: it may open files, and ask for the time."""
        known = [value.constant for value in call.arguments[:1] if isinstance(value.constant, str)]
        node: ast.AST = call.node
        if not known and self.function.node is not None:
            node = self.function.node  # it is made somewhere in the body
        parts = (part_.value for part_ in ast.walk(node) if isinstance(part_, ast.Constant))
        text = "\n".join((*known, *(part_ for part_ in parts if isinstance(part_, str))))
        for kind, pattern in database.IN_SQL.items():
            if pattern.search(text):
                self.effect(kind, call.node)

    def _sure(self, call: Call, receiver: Value, name: str) -> str | None:
        """The kind of a method whose name leaves no doubt, of an object of a package that else only computes."""
        paths = call.function.paths
        if receiver.private or receiver.instance is not None or not any(map(self.table.kind, paths)):
            return None
        exact = any(self.table.is_exact(path) or self.table.is_given(path) for path in paths)
        if exact or self._known_to_hold(receiver):
            return None
        return sure_method(name, paths)

    # What it does -----------------------------------------------------------------------------------

    def _is_log(self, call: Call) -> bool:
        name, node = call.function.attribute, call.node.func
        if name not in methods.LOGS or not isinstance(node, ast.Attribute):
            return False
        receiver = call.function.receiver or Value()
        return receiver.type.startswith(("logging.", "prefect.")) or any(map(_LOGGER.search, receivers(node.value)))

    def _writes_file(self, call: Call, receiver: Value, name: str) -> bool:
        trees = files.OF_TREES if receiver.type.startswith(_TREES) else {}
        written = files.METHOD_WRITES.get(name) or trees.get(name)
        if written is not None:
            place, *names = written.split()
            target = call.argument(int(place), *names)
            if target is None or target.constant is None:
                if name == "extractall":
                    return self._writes(call, None)
                return not methods_by_name().get(name)  # without a path it gives a text
            if name in trees:
                self.summary.files.add("hidden")
            return self._writes(call, target)
        own_type = receiver.type.startswith("pathlib.")
        if name in files.OWN_PATH_SURE or (own_type and name in files.OWN_PATH):
            return self._writes(call, receiver)
        if name == "open" and (own_type or _is_mode(call)):
            self.opened(call, 0, receiver)
            return False
        if name in files.SAVES and not self._known_to_hold(receiver):
            place, *names = files.SAVES[name].split()
            target = call.argument(int(place), *names)
            return self._writes(call, target if target is not None else receiver)
        return False

    def _writes(self, call: Call, target: Value | None) -> bool:
        self.writes(call, target)
        return True

    def _draws(self, call: Call, name: str) -> None:
        keywords = random.RANDOM_STATE.get(name)
        receiver = call.function.receiver or Value()
        frame = receiver.type.startswith(random.FRAMES) or (
            name == "shuffle" and not call.given and not call.unused and not receiver.type
        )
        if frame and name in random.OF_FRAMES and not receiver.type.startswith(random.SEEDED_TYPES):
            seeds = (random.OF_FRAMES[name], "random_state")
            self.needs_seed(call.argument(-1, *seeds), call, "")
            return
        if keywords is None or self._known_to_hold(receiver) or self.is_generator(receiver):
            return
        if receiver.type.startswith(("torch", "scipy", "random")) or not self._is_frame_sample(call):
            return
        self.needs_seed(call.argument(-1, *keywords), call, "numpy")

    def _is_frame_sample(self, call: Call) -> bool:
        allowed = {"n", "frac", "fraction", "replace", "with_replacement", "weights", "random_state", "seed", "axis",
                   "ignore_index", "shuffle"}  # fmt: skip
        return set(call.keywords) <= allowed and len(call.arguments) < 2

    def _own_methods(self, call: Call, receiver: Value, name: str) -> Value | None:
        """Methods of that name of the project's classes, where the type of the object is not known."""
        if receiver.instance is not None or receiver.paths or call.function.paths:
            return None
        self.summary.used.add(name)
        found = self.analysis.methods(name)
        if not found or self._known_to_hold(receiver):
            return None
        bound = [
            Function(m.key, m.node, m.names, m.code, receiver.made(instance=cls), m.nested)
            for cls, m in found
            if m.node is not None
        ]
        returned = self.own_call(bound, call.arguments, call.keywords)
        if name in HARMLESS_METHODS:
            self._changes(call, receiver, name)
        return returned.made(fresh=False)

    def _known_to_hold(self, receiver: Value) -> bool:
        """Whether it is a list, dictionary, text or the like."""
        return receiver.constant is not None and (receiver.plain or receiver.type.startswith(_CONTAINERS))

    def _by_name(self, node: ast.expr, name: str) -> str | None:
        """The kind of a method whose name leaves no doubt, on what is called so."""
        kind = methods_by_name().get(name)
        if kind is not None:
            return kind
        for kind, names in methods_by_receiver().get(name, ()):
            if any(r in names or any(r.endswith("_" + known) for known in names) for r in receivers(node)):
                return kind
        return None

    def _changes(self, call: Call, receiver: Value, name: str) -> bool:
        node = call.node.func
        in_place = call.keywords.get("inplace")
        changes = (
            name in methods.CHANGES_ALWAYS
            or (name in methods.CHANGES_IF_UNUSED and (call.unused or receiver.type.startswith(_CHANGING)))
            or (name == "set" and receiver.type.endswith("ContextVar"))
            or (in_place is not None and in_place.constant is True)
            or (name.endswith("_") and not name.startswith("_") and name[:-1].isalpha() and call.unused)
            or (self.is_generator(receiver) and name not in ("get_state", "getstate", "spawn", "bit_generator"))
        )
        if changes and not (receiver.plain and not is_shared(receiver)):
            self.change(receiver, call.node)
        if name in _GROWS and isinstance(node, ast.Attribute):
            held = call.arguments[1:] if name in ("setdefault", "insert") else call.given
            grown = (
                fresh(held)
                if name in ("append", "add", "insert", "appendleft", "setdefault", "put")
                else fresh(map(part, held))
            )
            # What is added is held as it is: one level less than in a list made of it.
            self.widen(
                node.value,
                Value(origins=grown.inner, inner=grown.deep, taints=grown.taints).made(
                    callees=tuple(c for v in call.given for c in v.callees)
                ),
            )
        return changes

    # What it gives ----------------------------------------------------------------------------------

    def _given_back(self, call: Call, receiver: Value, name: str, kind: str | None) -> Value:
        all_taints = receiver.taints | taints(call.given)
        if name in lazy.COLLECTS:
            all_taints = frozenset(n for n in all_taints if self.candidates[n].kind != "lazy data")
        private = receiver.private or (kind is not None and any(value.private for value in call.given))
        if name == "items" and not call.given:
            return pairs((receiver,)).made(taints=all_taints)
        if (
            name in ("values", "keys", "view", "reshape", "ravel", "transpose", "squeeze", "swapaxes")
            and not receiver.plain
        ):
            return Value(
                origins=receiver.origins,
                inner=receiver.inner,
                deep=receiver.deep,
                taints=all_taints,
                element=receiver.element,
            )
        if name in methods.VIEWS and not receiver.plain:
            found = part(receiver)
            return found.made(taints=all_taints, private=private)
        if name == "copy" or receiver.type.startswith(("pandas.", "numpy.", "polars.")):
            return FRESH.made(
                type=receiver.type if name == "copy" else _result_type(call), taints=all_taints, private=private
            )
        kept = fresh((receiver,)).inner if self._known_to_hold(receiver) or receiver.private else frozenset()
        if receiver.type.startswith("pathlib."):
            return Value(
                type="pathlib.Path",
                fresh=True,
                private=private,
                taints=all_taints,
                inner=fresh((receiver, *call.given)).inner,
            )
        return Value(type=_result_type(call), fresh=True, taints=all_taints, private=private, inner=kept)


def _result_type(call: Call) -> str:
    return f"{call.function.paths[0]}()" if call.function.paths else ""


def _is_mode(call: Call) -> bool:
    mode = call.argument(0, "mode")
    return mode is not None and isinstance(mode.constant, str) and _MODE.fullmatch(mode.constant) is not None
