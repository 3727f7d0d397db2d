"""The conditions under which a code fingerprint stays valid, checked without following all references again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from operator import is_
from types import CellType, FunctionType
from typing import Any, Final

_MISSING: Final = object()


class Guards:
    """Bindings and values that a fingerprint was computed from; while they are unchanged, it is valid.

    They keep the objects alive, so that an object with the same id is the same object.
    """

    __slots__ = ("_cells", "_files", "_forms", "_functions", "_names", "_tables")

    def __init__(self) -> None:
        self._names: dict[tuple[int, str], tuple[Mapping[str, Any], str, Any]] = {}
        self._tables: list[tuple[Mapping[str, Any], tuple[Any, ...]]] = []
        self._cells: list[tuple[CellType, Any]] = []
        self._functions: list[tuple[FunctionType, Any, Any, Any, Any]] = []
        self._forms: list[tuple[Callable[[Any], bytes], Any, bytes]] = []
        self._files: dict[str, tuple[int, int]] = {}

    def name(self, namespace: Mapping[str, Any], name: str) -> None:
        """Require that a name stays bound to the same object, or unbound."""
        self._names[id(namespace), name] = namespace, name, namespace.get(name, _MISSING)

    def table(self, namespace: Mapping[str, Any]) -> None:
        """Require that all names of a class or module stay bound to the same objects."""
        self._tables.append((namespace, tuple(namespace.values())))

    def cell(self, cell: CellType) -> None:
        """Require that a closure's variable keeps the same object."""
        self._cells.append((cell, _content(cell)))

    def function(self, function: FunctionType) -> None:
        """Require that a function's code and defaults stay the same objects."""
        self._functions.append((function, *_function_state(function)))

    def form(self, encode: Callable[[Any], bytes], value: Any, form: bytes) -> None:
        """Require that a mutable value keeps this form."""
        self._forms.append((encode, value, form))

    def file(self, file: str, stamp: tuple[int, int]) -> None:
        """Require that a file keeps its time and size."""
        self._files[file] = stamp

    def values(self) -> Iterator[tuple[str, Any]]:
        """The objects that the code refers to by a global name, a closure or a class, with the name."""
        yield from ((name, value) for _, name, value in self._names.values())
        yield from (("a closure's variable", value) for _, value in self._cells)
        for namespace, values in self._tables:
            yield from zip(namespace, values, strict=False)

    def hold(self) -> bool:
        """Whether all conditions hold; the cheap checks come first."""
        for namespace, name, value in self._names.values():
            if namespace.get(name, _MISSING) is not value:
                return False
        for cell, value in self._cells:
            if _content(cell) is not value:
                return False
        for function, *state in self._functions:
            if not all(map(is_, _function_state(function), state)):
                return False
        for namespace, values in self._tables:
            current = tuple(namespace.values())  # a copy: another thread may be importing
            if len(current) != len(values) or not all(map(is_, current, values)):
                return False
        for file, stamp in self._files.items():
            if file_stamp(file) != stamp:
                return False
        return all(encode(value) == form for encode, value, form in self._forms)


def file_stamp(file: str) -> tuple[int, int]:
    """Modification time and size; ``(0, 0)`` for a file that does not exist."""
    try:
        status = os.stat(file)  # noqa: PTH116 - on a hot path
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not bound yet
        return _MISSING


def _function_state(function: FunctionType) -> tuple[Any, Any, Any, Any]:
    wrapped = function.__dict__.get("__wrapped__", _MISSING)
    return function.__code__, function.__defaults__, function.__kwdefaults__, wrapped
