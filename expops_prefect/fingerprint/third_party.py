"""Forms of third-party code, by its name and its distribution's version."""

from __future__ import annotations

import gc
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from expops_prefect.fingerprint.encoding_primitives import named, text
from expops_prefect.fingerprint.identity import callable_name
from expops_prefect.fingerprint.ownership import Owner, distribution_of, owner_of, owner_of_module


def owner_of_function(function: FunctionType) -> Owner:
    """The owner of a function, by the file of its code, because ``functools.wraps`` changes its names."""
    module = function.__globals__.get("__name__")
    return owner_of(module if isinstance(module, str) else "", function.__code__.co_filename)


def owner_of_callable(value: Any) -> Owner:
    """The owner of a function, class or module."""
    if isinstance(value, FunctionType):
        return owner_of_function(value)
    return owner_of_module(module_of(value))


def module_of(value: Any) -> str:
    """The name of the module that a function, class or module comes from."""
    if isinstance(value, ModuleType):
        return value.__name__
    if isinstance(value, FunctionType):
        module = value.__globals__.get("__name__")
    else:
        module = getattr(value, "__module__", None)
    if isinstance(module, str):
        return module
    # Methods of types implemented in C have no module; functions of builtin modules are bound to it.
    owner = getattr(value, "__self__", None)
    return owner.__name__ if isinstance(owner, ModuleType) else "builtins"


def version_of(module: str) -> str:
    """``name==version`` for an installed distribution's module, else an empty string.

    Python's version is part of the calling code's form; those of Prefect and this package are left out.
    """
    return distribution_of(module) if owner_of_module(module) is Owner.INSTALLED else ""


def external_form(value: Any) -> bytes | None:
    """The form of a function, class or module that is not the project's own, else ``None``."""
    if isinstance(value, FunctionType) and (value.__closure__ or "__wrapped__" in vars(value)):
        # A third-party decorator around a function that may be the project's.
        return None
    if owner_of_callable(value) is Owner.PROJECT:
        return None
    return named("external", text(external_name(value)), text(version_of(module_of(value))))


def external_name(value: Any) -> str:
    """The name of third-party code in fingerprints."""
    if owner_of_callable(value) is Owner.US:
        return str(value.__name__)
    if isinstance(value, ModuleType):
        return value.__name__
    if isinstance(value, (FunctionType, BuiltinFunctionType)):
        return f"{module_of(value)}:{value.__qualname__}"
    return callable_name(value)


def hidden_functions(value: Any) -> list[FunctionType]:
    """The project's functions in an object, in attributes or where only the garbage collector finds them."""
    found: dict[int, FunctionType] = {}
    for part in gc.get_referents(value):
        inside = part.values() if type(part) is dict and "__builtins__" not in part else (part,)
        for inner in tuple(inside):
            if type(inner) is FunctionType and owner_of_function(inner) is Owner.PROJECT:
                found[id(inner)] = inner
    return list(found.values())


def wrapped_function(value: Any) -> Any | None:
    """The function in a Prefect task or flow, or in another library's wrapper such as ``lru_cache``'s.

    A wrapper of the project's own classes is not unwrapped: it is hashed with all of its state.
    """
    state = getattr(value, "__dict__", None)
    if not isinstance(state, dict) or "__wrapped__" not in state or isinstance(value, (type, FunctionType)):
        return None
    owners = [owner_of_module(base.__module__) for base in type(value).__mro__]
    if Owner.US not in owners and owners[0] is Owner.PROJECT:
        return None
    function = state.get("fn", state["__wrapped__"])
    return function if callable(function) else None
