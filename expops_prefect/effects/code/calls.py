"""Calls of what is known by its qualified name."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

from expops_prefect.effects.code.settings import SettingsCalls
from expops_prefect.effects.code.state import written
from expops_prefect.effects.code.values import FRESH, MISSING, PLAIN, UNKNOWN, Class, Value, fresh, pairs, part, taints
from expops_prefect.effects.table import (
    HARMLESS,
    READ,
    called_by_name,
    clock,
    database,
    environment,
    files,
    methods,
    prefect,
    random,
    unheard_below,
)
from expops_prefect.models.effects import KINDS

_PARTS: Final = frozenset({"builtins.next", "builtins.min", "builtins.max", "builtins.anext", "functools.reduce"})
_HOLDERS: Final = ("builtins", "itertools", "collections", "functools", "operator", "copy", "contextlib", "types")
_PLAIN: Final = frozenset(
    """
    len int float str bool bytes repr hash abs round sum any all isinstance issubclass callable ord chr format divmod
    pow id complex hex oct bin ascii hasattr
    """.split()
)
_BY_NAME: Final = frozenset(
    "operator.methodcaller operator.attrgetter _operator.methodcaller _operator.attrgetter".split()
)
_DYNAMIC: Final = frozenset({"exec", "eval", "compile", "__import__", "globals", "locals"})
_MAKES_CLASS: Final = frozenset(
    "builtins.type types.new_class dataclasses.make_dataclass pydantic.create_model pydantic.main.create_model".split()
)
_IMPORTS: Final = ("importlib.import_module", "importlib.reload", "importlib.util")
_GENERATORS: Final = ("numpy.random.Generator", "numpy.random._generator.Generator", "numpy.random.default_rng",
                      "numpy.random.RandomState", "numpy.random.mtrand.RandomState", "random.Random")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Call:
    """A call with what it is given."""

    node: ast.Call
    function: Value
    arguments: tuple[Value, ...]
    keywords: dict[str, Value]
    unused: bool

    @property
    def given(self) -> tuple[Value, ...]:
        """All that it is given."""
        return (*self.arguments, *self.keywords.values())

    def argument(self, place: int, *names: str) -> Value | None:
        """An argument by its place or one of its names; ``None`` if it is not given."""
        for name in names:
            if name in self.keywords:
                return self.keywords[name]
        return self.arguments[place] if 0 <= place < len(self.arguments) else None


class KnownCalls(SettingsCalls):
    """Calls of functions and classes with a qualified name."""

    def known_call(self, call: Call) -> Value:
        """A call of something with a qualified name."""
        paths = call.function.paths
        if files.DATA_FILE in paths:
            self.summary.files.add("made")
        if any(path.startswith(files.ELSEWHERE) for path in paths):
            self.summary.files.add("hidden")
            if not paths[0].startswith(files.MOSTLY_HERE) or "num_workers" in call.keywords:
                self.summary.files.add("elsewhere")
        if "builtins.hash" in paths and self._varies(call):
            self.effect("identity", call.node)
        for path in paths:
            special = self._special(path, call)
            if special is not None:
                return special
        kinds = [(path, self.table.kind(path)) for path in paths]
        self.summary.libraries.update(path.partition(".")[0] for path in paths)
        path, kind = next(((p, k) for p, k in kinds if k in KINDS), ("", None))
        if kind is None:
            path, kind = next(((p, k) for p, k in kinds if k is not None), (paths[0], None))
        if kind in KINDS and _is_exception(call.function):
            kind = HARMLESS
        if kind == "lazy data":
            return Value(fresh=True, taints=self.candidate(kind, call.node) | taints(call.given), type=f"{path}()")
        if kind is not None and kind in KINDS:
            self.escape(*call.given)
            self.effect(kind, call.node)
            return Value(fresh=True, type=path if _is_class(call.function, path) else f"{path}()")
        if kind is None:
            if self._is_sink(path, call):
                return PLAIN
            self.unresolved(call.node, *call.given)
            return Value()
        if kind == READ:
            self.file_read(call)
        return self.result(path, call)

    def _varies(self, call: Call) -> bool:
        """Whether each process has another hash of what ``hash`` is given: of texts, and of objects by default."""
        node = self.function.node
        if not sys.flags.hash_randomization or getattr(node, "name", "") == "__hash__":
            return False
        return not all(value.plain and isinstance(value.constant, (int, float)) for value in call.given)

    def result(self, path: str, call: Call) -> Value:
        """What a function that only computes gives back."""
        if self._is_sink(path, call):
            return fresh(call.given).made(taints=frozenset()) if "tqdm" in path else PLAIN
        given = call.given
        top, _, name = path.partition(".")
        if path in methods.ALIASES and given:
            return Value(origins=given[-1 if path == "typing.cast" else 0].all_origins, taints=taints(given))
        if path in _PARTS and given:
            return part(fresh(given)).made(fresh=all(value.fresh for value in given))
        if top == "builtins" and name in _PLAIN:
            return PLAIN.made(taints=taints(given), private=any(v.private for v in given), inner=fresh(given).inner)
        if path == "copy.deepcopy":
            return FRESH.made(taints=taints(given), type=given[0].type if given else "")
        if path == "builtins.range":
            return PLAIN.made(element=PLAIN.made(taints=taints(given)))
        if path in ("builtins.zip", "builtins.enumerate") and given:
            return pairs(given if path == "builtins.zip" else given[:1]).made(taints=taints(given))
        made_type = path if _is_class(call.function, path) else f"{path}()"
        if top in _HOLDERS and len(given) == 1:
            held = part(given[0])  # list(x), dict(x), sorted(x)
            return fresh((held,), type=made_type).made(element=given[0].element)
        if top in _HOLDERS or (top == "pathlib" or path.startswith("os.path.")):
            return fresh(given, type=made_type)
        return FRESH.made(type=made_type, taints=taints(given), private=any(v.private for v in given))

    def file_read(self, call: Call) -> None:
        """Note that a file is read; what reads a path reads of the network if the path says so."""
        self.summary.reads.setdefault(written(call.node))
        for value in call.arguments[:1]:
            if isinstance(value.constant, str) and value.constant.startswith(files.SCHEMES):
                self.effect("network", call.node)

    def _is_sink(self, path: str, call: Call) -> bool:
        return self.analysis.is_sink(path) or call.function.attribute in ("log_metric", "log_metrics", "log_chart")

    # One by one -------------------------------------------------------------------------------------

    def _special(self, path: str, call: Call) -> Value | None:
        if self.table.is_given(path):
            return None
        for check in (
            self.of_settings,
            self._random,
            self._time,
            self._file,
            self._environment,
            self._database,
            self._dynamic,
        ):
            found = check(path, call)
            if found is not None:
                return found
        if path in methods.WRITES_INTO:
            at, *names = methods.WRITES_INTO[path].split()
            target = call.argument(int(at), *names)
            if target is not None and target.constant is not None and not _is_standard_stream(target):
                self.change(target, call.node)
        place = methods.CHANGES_ARGUMENT.get(path)
        if place is not None and place < len(call.arguments):
            self.change(call.arguments[place], call.node)
            if path in ("builtins.setattr", "operator.setitem"):
                self.widen(call.node.args[place], fresh(call.given[1:]))
        return None

    def _random(self, path: str, call: Call) -> Value | None:
        if path in random.SEEDS:
            seed = call.argument(0, "seed", "a")
            if seed is not None and seed.constant is not None and not self.conditional and not seed.taints:
                self.seeded |= set(random.SEEDS[path].split())
                self.summary.seeds |= set(random.SEEDS[path].split())
            return PLAIN
        if path in random.SEEDED.split():
            self.needs_seed(call.argument(0, "seed", "x", "entropy"), call, "")
            return FRESH.made(type=path)
        generator = self.table.generator(path)
        if (generator and not _is_class(call.function, path)) or generator == "torch":
            if generator not in self.seeded:
                self.summary.draws.setdefault(self.made("random", call.node, seedable=True), generator)
            if path in methods.CHANGES_ARGUMENT and call.arguments:
                self.change(call.arguments[0], call.node)
            return FRESH
        name = path.rpartition(".")[2]
        if (name in random.RANDOM_STATE and path.startswith("sklearn.")) or path.startswith(random.SHUFFLES[1:]):
            shuffle = call.argument(-1, "shuffle")
            if shuffle is None or shuffle.constant is not False:
                self.needs_seed(call.argument(-1, "random_state"), call, "numpy")
        return None

    def needs_seed(self, seed: Value | None, call: Call, generator: str) -> None:
        """Note a draw of what is random unless a seed is given."""
        effect = self.made("random", call.node, seedable=bool(generator))
        if generator and generator in self.seeded:
            return
        if seed is None or seed.constant is None:
            if generator:
                self.summary.draws.setdefault(effect, generator)
            else:
                self.summary.effects.setdefault(effect)
        elif seed.parameter:
            self.depends(effect, "none", seed)

    def _time(self, path: str, call: Call) -> Value | None:
        if path in clock.OF_TEXTS:
            text = call.argument(0)
            if text is not None and text.constant in clock.NOW:
                return PLAIN.made(type=path, taints=self.candidate("clock", call.node))
            return None
        if self.table.kind(path) != "clock" or _is_class(call.function, path):
            return None
        if path in clock.MEASURES:
            found = self.candidate("clock", call.node)
            self.measured |= found
            return PLAIN.made(type=path.rpartition(".")[0], taints=found)
        place = clock.UNLESS_GIVEN.get(path)
        if place is not None and len(call.given) > place:
            return PLAIN.made(taints=taints(call.given))
        return PLAIN.made(type=path.rpartition(".")[0], taints=self.candidate("clock", call.node))

    def _file(self, path: str, call: Call) -> Value | None:
        if path in files.TEMPORARY:
            delete = call.argument(-1, "delete")
            if delete is not None and delete.constant is False and not self.removes:
                self.effect("file write", call.node)
            return Value(type=path, private=True, fresh=True)
        if path in files.REMOVED_LATER:
            if not self.removes:
                self.effect("file write", call.node)
            return Value(type="builtins.str", private=True, fresh=True)
        if path in files.MEMORY:
            return Value(type=path, private=True, fresh=True)
        if path in files.OPENS:
            return self.opened(call, files.OPENS[path], call.argument(0, "file", "name", "path", "filename", "fileobj"))
        if path in files.WRITES:
            place, *names = files.WRITES[path].split()
            self.writes(call, call.argument(int(place), *names))
            return FRESH.made(type=path, private=any(value.private for value in call.given))
        return None

    def opened(self, call: Call, place: int, file: Value | None) -> Value:
        """A file that is opened."""
        mode = call.argument(place, "mode")
        if mode is not None and isinstance(mode.constant, str) and set(mode.constant) & set("wax+"):
            self.writes(call, call.keywords.get("fileobj", file))
        else:
            self.file_read(call)
        private = file is not None and file.private
        return Value(type="io.TextIOWrapper", fresh=True, private=private or any(v.private for v in call.given))

    def writes(self, call: Call, target: Value | None) -> None:
        """Note that a file is written, unless it is a private one."""
        if target is not None and target.private:
            return
        function = call.node.func
        if (function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")) in files.HIDDEN:
            self.summary.files.add("hidden")
        effect = self.made("file write", call.node)
        if target is None or not self.depends(effect, "private", target):
            self.summary.effects.setdefault(effect)

    def _environment(self, path: str, call: Call) -> Value | None:
        if path in environment.NAMED:
            self.summary.environment.add(environment.NAMED[path])
            return PLAIN.made(private=any(value.private for value in call.given))
        if path in environment.GETS:
            return self.named("environment", call.argument(0, "key"), call.node)
        if path in environment.EXPANDS:
            text = call.argument(0, "path")
            if text is not None and isinstance(text.constant, str):
                self.summary.environment.update(environment.names_in(text.constant))
            else:
                self.effect("environment", call.node)
            return PLAIN
        if path in environment.SETS:
            self.effect("state", call.node)
            return PLAIN
        if path in prefect.VARIABLE_READS:
            return self.named("variables", call.argument(0, "name"), call.node)
        return None

    def named(self, what: str, name: Value | None, node: ast.AST) -> Value:
        """A variable of the environment, or a Prefect Variable, that is read by its name."""
        if name is not None and isinstance(name.constant, str):
            (self.summary.environment if what == "environment" else self.summary.variables).add(name.constant)
            return PLAIN if what == "environment" else FRESH
        effect = self.made("environment" if what == "environment" else "prefect", node)
        if name is None or not self.depends(effect, what, name):
            self.summary.effects.setdefault(effect)
        return PLAIN if what == "environment" else FRESH

    def _database(self, path: str, call: Call) -> Value | None:
        if path not in database.IN_MEMORY:
            return None
        where = call.argument(0, "database")
        default = where is None and path in database.MEMORY_BY_DEFAULT
        if default or (where is not None and where.constant == ":memory:"):
            return Value(type="io.StringIO", private=True, fresh=True)
        return None

    def _dynamic(self, path: str, call: Call) -> Value | None:
        top, _, name = path.partition(".")
        if path.startswith(_IMPORTS):
            module = call.argument(0, "name")
            if module is not None and isinstance(module.constant, str) and not module.constant.startswith("."):
                return self.analysis.module(module.constant)
            self.unresolved(call.node, *call.given)
            return Value()
        if name == "__new__" or name.endswith(".__new__"):
            cls = next((c for value in call.arguments[:1] for c in value.callees if isinstance(c, Class)), None)
            return FRESH.made(instance=cls)
        if path in _BY_NAME:
            for text in call.arguments[:1]:
                kind = called_by_name(text.constant) if isinstance(text.constant, str) else None
                if kind is not None:
                    self.effect(kind, call.node)
        if path in _MAKES_CLASS and (len(call.arguments) > 1 or path != "builtins.type"):
            return self.class_from(call.given, call.keywords)
        if top != "builtins":
            return None
        if name in ("object.__setattr__", "object.__delattr__", "type.__setattr__") and call.function.receiver:
            self.change(call.arguments[0] if call.arguments else UNKNOWN, call.node)
            return PLAIN
        if name == "id":  # an address, which counts where it gets into what the body gives or decides
            return PLAIN.made(taints=self.candidate("environment", call.node) | taints(call.given))
        if name == "type" and len(call.arguments) == 1:
            return self.class_of(call.arguments[0])
        if name in ("eval", "exec") and (found := self._text(call)) is not None:
            return found
        module = call.argument(0, "name")
        if name == "__import__" and module is not None and isinstance(module.constant, str):
            return self.analysis.module(module.constant.partition(".")[0])
        if name in ("eval", "exec"):
            self.summary.texts.setdefault(self.made("unknown", call.node))
        if name in _DYNAMIC:
            self.unresolved(call.node, *call.given)
            return Value()
        if name == "getattr" and len(call.arguments) > 1:
            wanted = call.arguments[1]
            if isinstance(wanted.constant, str):
                return self.analysis.attribute(call.arguments[0], wanted.constant)
            self.summary.used.add("*")
            self.unresolved(call.node, *call.given)
            for kind in unheard_below(call.arguments[0].paths):
                self.effect(kind, call.node)
            return Value(origins=call.arguments[0].all_origins)
        return None

    def _text(self, call: Call) -> Value | None:
        """Code in a text that stands in the code is read as if it stood there itself."""
        text = call.argument(0)
        if text is None or not isinstance(text.constant, str) or len(call.given) > 1:
            return None
        try:
            tree = ast.parse(text.constant.strip())
        except (SyntaxError, ValueError):
            return None
        for node in ast.walk(tree):
            if isinstance(node, (ast.stmt, ast.expr)):
                node.lineno = call.node.lineno
        if len(tree.body) == 1 and isinstance(tree.body[0], ast.Expr):
            return self.value(tree.body[0].value)
        self.run(tree.body)
        return FRESH

    def change_given(self, call: Call) -> None:
        """Note what somebody else's function changes of what it is given, as far as the call tells it."""
        keywords = call.keywords
        inputs = getattr(call.function.live, "nin", None)  # of a function of numpy's
        out = call.arguments[inputs:] if isinstance(inputs, int) else ()
        for value in (*out, *((keywords["out"],) if "out" in keywords else ())):
            self.change(value.made(origins=value.origins | value.inner), call.node)
        for value in call.given:
            if self.is_generator(value):
                self.change(value, call.node)

    def is_generator(self, value: Value) -> bool:
        """Whether it is a generator of random numbers, which each draw changes."""
        return value.type.startswith(_GENERATORS)


def _is_standard_stream(value: Value) -> bool:
    if any(path.startswith("sys.std") for path in value.paths):
        return True
    return value.live in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)


def _is_class(function: Value, path: str) -> bool:
    if function.live is not MISSING:
        return isinstance(function.live, type)
    return path.rpartition(".")[2][:1].isupper()


def _is_exception(function: Value) -> bool:
    live: Any = function.live
    if isinstance(live, type):
        return issubclass(live, BaseException)
    return bool(function.paths) and function.paths[0].endswith(("Error", "Exception", "Warning"))


def is_callable_name(value: Value, path: str) -> bool:
    """Whether what is only named is a function that somebody else may call."""
    if value.live is not MISSING:
        return callable(value.live) and not isinstance(value.live, (type, ModuleType))
    return path.rpartition(".")[2][:1].islower()


def receivers(node: ast.expr) -> Iterator[str]:
    """The names of what a method is called on: ``self.http_session`` gives ``http_session``."""
    if isinstance(node, ast.Attribute):
        yield node.attr.lower()
    elif isinstance(node, ast.Name):
        yield node.id.lower()
    elif isinstance(node, ast.Call):
        yield from receivers(node.func)
