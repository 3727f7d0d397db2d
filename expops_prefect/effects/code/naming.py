"""The qualified names of objects: the table of known callables goes by them."""

from __future__ import annotations

import linecache
import sys
from types import FunctionType, MethodType, ModuleType
from typing import Any, Final

from expops_prefect.effects.table import normalised

_NO_FILES: Final = ("<string>", "<stdin>")
"""Files of code that was run as a text, or read from the standard input."""


def type_path(value: Any) -> str:
    """The qualified name of an object's class."""
    kind = type(value)
    return normalised(f"{kind.__module__}.{kind.__qualname__}")


def paths_of(*names: str) -> tuple[str, ...]:
    """Qualified names as the table has them, each once; what is no name is left out."""
    return tuple(dict.fromkeys(normalised(name) for name in names if name and not name.endswith(".")))


def named_paths(value: Any, name: str, written: str) -> tuple[str, ...]:
    """The names of a callable object that has none of its own: those under which its module holds it."""
    function = value.__func__ if isinstance(value, MethodType) else value
    qualname = _static(function, "__qualname__") or _static(value, "__name__") or name
    owner = _static(value, "__self__")
    if owner is not None and not isinstance(owner, (ModuleType, type)):
        kind = type(owner)
        module = vars(sys.modules.get(kind.__module__, sys))
        short = str(qualname).rpartition(".")[2]
        held = next((n for n in (short, name) if n and module.get(n) is value), None)
        own = f"{kind.__module__}.{held}" if held else f"{kind.__module__}.{kind.__qualname__}.{short}"
        return paths_of(own, written)
    module_name = _static(value, "__module__") or (owner.__name__ if isinstance(owner, ModuleType) else None)
    if isinstance(owner, type):
        return paths_of(f"{owner.__module__}.{owner.__qualname__}.{str(qualname).rpartition('.')[2]}", written)
    if not isinstance(module_name, str):
        module_name = type(value).__module__
    if qualname == name and vars(sys.modules.get(module_name, sys)).get(name) is not value:
        return paths_of(written)
    return paths_of(f"{module_name}.{qualname}", written)


def is_of_object(value: Any) -> bool:
    """Whether it is a method of some object, and not what a module gives out as its function: ``random.random``."""
    owner = value.__self__
    if owner is None or isinstance(owner, (ModuleType, type)):
        return False
    module = vars(sys.modules.get(type(owner).__module__, sys))
    return not any(module.get(name) is value for name in {value.__name__, value.__name__.lstrip("_")})


def _static(value: Any, name: str) -> Any:
    """An attribute that an object or its class certainly has: some answer to any name."""
    held = getattr(value, "__dict__", None)
    if isinstance(held, dict) and name in held:
        return held[name]
    if not any(name in vars(base) for base in type(value).__mro__):
        return None
    try:
        found = getattr(value, name)
    except Exception:  # noqa: BLE001 - the edge to users' code: reading an attribute may run any
        return None
    return found if isinstance(found, str) or name == "__self__" else None


def is_without_source(function: FunctionType) -> bool:
    """Whether there is no text that a function may have been made of: a text was run, or the standard input."""
    if "__wrapped__" in function.__dict__:
        return False  # somebody's decorator has made it
    code = function.__code__
    if code.co_filename in _NO_FILES:
        return True
    text = "".join(linecache.getlines(code.co_filename, function.__globals__))
    return ("lambda" if code.co_name.startswith("<") else code.co_name) not in text


def is_method_of_text(function: FunctionType) -> bool:
    """Whether a method stands in a class statement of a text that was run, and was not generated for a class."""
    code = function.__code__
    stands = getattr(code, "co_qualname", "")  # Python 3.10 has none
    return (
        code.co_filename in _NO_FILES and stands.endswith(f".{code.co_name}") and not stands.startswith("__create_fn__")
    )
