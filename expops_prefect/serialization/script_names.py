"""Finds classes and functions of the running script or notebook again by their names.

The name of a script's module depends on how it is run: ``__main__``, ``__mp_main__`` in a spawned process, one
that Prefect generates, or that of its file. A pickle by reference would not load there, and a class that is pickled
by value is loaded as another class. So a name is stored with the value: the name by which the file can be imported,
and the path inside it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any, Final

from expops_prefect.fingerprint.identity import callable_name, module_name, started_by_file

_LOADED: Final = "__prefect_loader_"
_MAINS: Final = ("__main__", "__mp_main__")


def is_of_script(value: Any) -> bool:
    """Whether a class or function belongs to a module whose name depends on how it was started."""
    module = getattr(value, "__module__", None)
    return isinstance(module, str) and started_by_file(module) and module not in sys.stdlib_module_names


def name_of(value: Any) -> str | None:
    """The ``module:path`` for :func:`find` of a class or function of the script; ``None`` if it has none."""
    module, _, path = callable_name(value).partition(":")
    if "<" in path:  # defined in a function, or a lambda
        return None
    for names in _namespaces(module):
        if _walk(names, path) is value:
            return f"{module}:{path}"
        # A class that was pickled by value has lost the names of its outer classes.
        for outer, held in list(names.items()) if isinstance(value, type) and "." not in path else ():
            if isinstance(held, type) and is_of_script(held) and vars(held).get(path) is value:
                return f"{module}:{outer}.{path}"
    return None


def find(name: str, kind: type) -> Any:
    """The class or function of that name in the running script; ``None`` if there is none.

    Args:
        name: a name from :func:`name_of`.
        kind: ``type`` or ``FunctionType``.
    """
    module, _, path = name.partition(":")
    for names in _namespaces(module):
        found = _walk(names, path)
        if isinstance(found, kind) and callable_name(found).partition(":")[0] == module:
            return found
    return None


def find_imported(module: str, path: str) -> Any:
    """An object that a pickle expects in a module, if that module is the running script; else ``None``.

    Importing the module would run the script a second time and create other classes.
    """
    if module in sys.modules:
        return None
    for name in _MAINS:
        main = sys.modules.get(name)
        if main is not None and module_name(name) == module:
            return _walk(vars(main), path)
    return None


def running_name(module: str) -> str:
    """The module name under which a file runs here as a script; the given name if it does not run here."""
    for name in (*_MAINS, *_loaded()):
        if name in sys.modules and module_name(name) == module:
            return name
    return module


def load(name: str) -> Any:
    """Load an object of the script that is stored by its name alone.

    Raises:
        LookupError: it is not in the running script.
    """
    for kind in (type, FunctionType):
        found = find(name, kind)
        if found is not None:
            return found
    raise LookupError(f"{name} is not in the script that runs here")


def _namespaces(module: str) -> Iterator[Mapping[str, Any]]:
    """The namespaces of the script: first that of the running flow, which a worker has by value, then the modules."""
    from prefect.context import FlowRunContext, TaskRunContext

    task, flow = TaskRunContext.get(), FlowRunContext.get()
    for running in (None if task is None else task.task, None if flow is None else flow.flow):
        function = inspect.unwrap(running.fn) if running is not None else None
        if isinstance(function, FunctionType):
            yield function.__globals__
    for name in (*_MAINS, *_loaded(), module):
        found = sys.modules.get(name)
        if isinstance(found, ModuleType):
            yield vars(found)


def _loaded() -> list[str]:
    """The module names that Prefect has generated for flow files."""
    return [name for name in list(sys.modules) if name.startswith(_LOADED)]


def _walk(names: Mapping[str, Any], path: str) -> Any:
    first, *rest = path.split(".")
    found = names.get(first)
    for name in rest:
        if not isinstance(found, type):
            return None
        found = inspect.getattr_static(found, name, None)
        if isinstance(found, staticmethod | classmethod):
            found = found.__func__
    return found
