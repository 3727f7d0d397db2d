"""Names of modules, classes and functions that do not depend on how their file was started."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FunctionType
from typing import Any, Final
from weakref import WeakKeyDictionary

from expops_prefect._internal.process import of_process

INTERACTIVE: Final = "__main__"
"""The module of code in a notebook or a shell."""
STANDS_FOR: Final = "__expops_stands_for__"
"""The attribute of a replacement in this package that names the original class or function."""


class _Names:
    """Caches the names of classes and files in this process."""

    def __init__(self) -> None:
        self.classes: WeakKeyDictionary[type, str] = WeakKeyDictionary()
        self.files: dict[str, str] = {}


def original(value: Any) -> Any:
    """The original of a replaced function, so that a fingerprint is the same before and after the replacement."""
    return value.__dict__.get(STANDS_FOR, value) if isinstance(value, FunctionType) else value


def started_by_file(module: str) -> bool:
    """Whether a module's name depends on how its file was started.

    ``__main__`` is the script, ``__mp_main__`` the same in a spawned process, and Prefect loads
    the file of a deployment under a generated name (``__prefect_loader_…__``).
    """
    return module.startswith("__") and module.endswith("__")


def name_of_file(file: str) -> str:
    """The dotted name by which a file can be imported: its stem, prefixed by its packages."""
    names = of_process(_Names).files
    known = names.get(file)
    if known is not None:
        return known
    path = Path(file).resolve()
    parts = [path.stem]
    for folder in path.parents:
        if not (folder / "__init__.py").is_file():
            break
        parts.append(folder.name)
    if parts[0] in ("__init__", "__main__") and len(parts) > 1:
        del parts[0]
    name = ".".join(reversed(parts))
    names[file] = name
    return name


def is_source_file(file: str | None) -> bool:
    """Whether code with this ``co_filename`` came from a file rather than a cell or a string."""
    return bool(file) and not str(file).startswith("<") and "ipykernel" not in str(file)


def module_name(module: str, file: str | None = None) -> str:
    """The name of a module in fingerprints.

    Args:
        module: its ``__name__``.
        file: its file, if known more reliably than through ``sys.modules``.
    """
    if not started_by_file(module):
        return module
    if not is_source_file(file):
        file = getattr(sys.modules.get(module), "__file__", None)
    return name_of_file(file) if file is not None and is_source_file(file) else INTERACTIVE


def class_name(cls: type) -> str:
    """``module:qualname`` of a class."""
    module = str(cls.__module__)
    if not started_by_file(module):
        return f"{module}:{cls.__qualname__}"
    names = of_process(_Names).classes
    known = names.get(cls)
    if known is None:
        known = f"{module_name(module, class_file(cls))}:{cls.__qualname__}"
        names[cls] = known
    return known


def class_file(cls: type) -> str | None:
    """The file of a class, from its methods, so that it is right even if the process has another main module."""
    for attribute in list(vars(cls).values()):  # a copy: another thread may set an attribute
        # By its globals, because a wrapper, such as a dataclass's __repr__, copies the module's name.
        if isinstance(attribute, FunctionType) and attribute.__globals__.get("__name__") == cls.__module__:
            file = attribute.__code__.co_filename
            if is_source_file(file) and Path(file).is_file():
                return file
    return None


def callable_name(value: Any) -> str:
    """``module:qualname`` of a function, a class or another object that is pickled by name."""
    if isinstance(value, type):
        return class_name(value)
    module = getattr(value, "__module__", None) or ""
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None) or type(value).__qualname__
    return f"{module_name(str(module), _file_of(value, module))}:{name}"


def file_of_names(function: FunctionType) -> str | None:
    """The file of a function's globals; right even for a wrapper, or a function that was pickled by value."""
    file = function.__code__.co_filename
    return file if is_source_file(file) else function.__globals__.get("__file__")


def _file_of(value: Any, module: str) -> str | None:
    """The file of a function. A wrapper has the name and the module of the function that it wraps."""
    while isinstance(value, FunctionType):
        if value.__globals__.get("__name__") == module:
            return file_of_names(value)
        value = value.__dict__.get("__wrapped__")
    return None
