"""Encoders for code without source: the project's extension modules, shared libraries, lone ``.pyc`` files.

Such code is hashed by its bytes. Loaded code stays loaded, so a file is read once in a process.
"""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from expops_prefect.fingerprint.canonical import Walk
from expops_prefect.fingerprint.encoding_primitives import named, text
from expops_prefect.fingerprint.files import file_digest
from expops_prefect.fingerprint.identity import started_by_file
from expops_prefect.fingerprint.ownership import Owner, locate, owner_of_module

_INSTALLED: Final = re.compile(r"[\\/](?:site|dist)-packages[\\/]")


def compiled_form(module: str) -> bytes:
    """The form of the file of a project's module without source; empty for any other module."""
    if started_by_file(module) or owner_of_module(module) is not Owner.PROJECT:
        return b""
    loaded = sys.modules.get(module)
    file = getattr(loaded, "__dict__", {}).get("__file__")
    if loaded is None:
        located = locate(module)
        file = located.file if located else None
    return bytes_of(file) if isinstance(file, str) and not file.endswith(".py") else b""


@lru_cache(maxsize=1024)
def bytes_of(file: str) -> bytes:
    """The form of a file."""
    try:
        return named("compiled", text(file_digest(file)))
    except OSError:  # a member of an archive, or removed since it was loaded
        return named("compiled", text(Path(file).name))


def note_foreign(walk: Walk, value: Any, file: Any) -> None:
    """Note the class of a library outside installed packages: the effects of its functions are unknown."""
    if walk.classes is not None and not (isinstance(file, str) and _INSTALLED.search(file)):
        walk.classes.add(type(value))


def library(walk: Walk, value: Any) -> bytes:
    """A shared library that ctypes has loaded, by its bytes if it has a path, else by its name."""
    name = value._name
    note_foreign(walk, value, name)
    is_path = isinstance(name, str) and Path(name).is_file()
    return named("library", text(type(value).__name__), bytes_of(name) if is_path else walk.encode(name))


def library_function(walk: Walk, value: Any) -> bytes:
    """A function of such a library, with its argument and result types."""
    known = walk.enter(value)
    if known is not None:
        return known
    note_foreign(walk, value, "")
    held = sorted((part for part in (value._objects or {}).values() if hasattr(part, "_handle")), key=_name_of)
    types = [walk.encode(value.restype), walk.encode(value.argtypes)]
    name = text(getattr(value, "__name__", ""))
    return walk.leave(value, named("function of a library", name, *types, *map(walk.encode, held)))


def _name_of(part: Any) -> str:
    return str(part._name)


def script(walk: Walk, value: Any) -> bytes:
    """A TorchScript function by its graph, which includes the functions that it calls."""
    if walk.classes is not None:
        walk.classes.add(type(value))
    return named("torch script", walk.encode(value.inlined_graph.str(False)))
