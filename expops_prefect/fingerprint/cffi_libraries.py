"""Encoders for libraries that cffi has loaded or built: by their bytes and the text of their declarations."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Any, Final

from expops_prefect.fingerprint.canonical import Encoder, Walk
from expops_prefect.fingerprint.compiled import bytes_of, compiled_form, note_foreign
from expops_prefect.fingerprint.encoding_primitives import named, text
from expops_prefect.fingerprint.identity import class_name
from expops_prefect.fingerprint.third_party import version_of


def _declared(_walk: Walk, value: Any) -> bytes:
    """An ``FFI`` created in this process, by its declarations."""
    return named("ffi", *map(text, map(str, value._cdefsources)))


def _compiled(_walk: Walk, value: Any) -> bytes:
    """An ``FFI`` of a built module, by the file of that module."""
    modules = list(sys.modules.items())
    owner = next((name for name, module in modules if getattr(module, "__dict__", {}).get("ffi") is value), "")
    return named("ffi", _of_module(owner))


def _opened(walk: Walk, value: Any) -> bytes:
    """A library that an ``FFI`` of this process has opened; only its own methods tell which."""
    close = vars(type(value))["__cffi_close__"]
    held = dict(zip(close.__code__.co_freevars, close.__closure__, strict=True))
    file = _quoted(held["backendlib"].cell_contents)
    note_foreign(walk, value, file)
    return named("library", _of_file(file))


def _built(walk: Walk, value: Any) -> bytes:
    """A library that a built module has opened or contains, by the file or by the module."""
    name = _quoted(value)
    if name in sys.modules:
        return named("library", _of_module(name))
    note_foreign(walk, value, name)
    return named("library", _of_file(name))


def _data(walk: Walk, value: Any) -> bytes:
    """A function by its library; arrays and numbers by value. Other data are addresses and are refused."""
    import _cffi_backend as backend  # type: ignore[import-untyped, unused-ignore]

    if not walk.lenient:
        return walk.refuse(value, "it is memory that cffi manages; pass bytes(ffi.buffer(…)) or a number")
    kind = backend.typeof(value)
    if kind.kind == "function":
        place = int(backend.cast(backend.new_primitive_type("uintptr_t"), value))
        file, offset = _at_address(place)
        note_foreign(walk, value, file)
        return named("function of a library", text(kind.cname), *((_of_file(file), text(str(offset))) if file else ()))
    if kind.kind == "array" and kind.item.kind == "primitive":
        return named("array of C", text(kind.cname), walk.encode(bytes(backend.buffer(value))))
    if kind.kind == "primitive":
        return named("number of C", text(kind.cname), text(str(value)))
    return named("opaque", text(class_name(type(value))), text(kind.cname))


class _Place(ctypes.Structure):
    """The result of ``dladdr`` for an address."""

    _fields_ = (
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


def _at_address(place: int) -> tuple[str, int]:
    """The file of the library that has a function there, and how far in; an empty name if it cannot be told."""
    found = _Place()
    try:
        known = ctypes.CDLL(None).dladdr(ctypes.c_void_p(place), ctypes.byref(found))
    except (AttributeError, TypeError):  # Windows
        known = 0
    if not known or not found.file:
        return "", 0
    return found.file.decode(errors="replace"), place - (found.base or 0)


def _quoted(value: Any) -> str:
    """The quoted part of a library's ``repr``."""
    return repr(value).partition("'")[2].rpartition("'")[0]


def _of_file(name: str) -> bytes:
    return bytes_of(name) if Path(name).is_file() else text(name)


def _of_module(name: str) -> bytes:
    """A module of the project by its bytes, another by its version."""
    file = getattr(sys.modules.get(name), "__file__", None)
    version = version_of(name)
    if version or not file:
        return named("external", text(name), text(version))
    return compiled_form(name) or bytes_of(file)


ENCODERS: Final[dict[str, Encoder]] = {
    "_cffi_backend:FFI": _compiled,
    "_cffi_backend:Lib": _built,
    "_cffi_backend:_CDataBase": _data,
    "cffi.api:FFI": _declared,
    "cffi.api:_make_ffi_library.<locals>.FFILibrary": _opened,
}
"""Encoders by module and name of the class."""
