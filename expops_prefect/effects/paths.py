"""Tells data from other files: those of Python, of installed packages, of the system, and caches."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from functools import lru_cache
from pathlib import Path
from typing import Final

from expops_prefect.config.library_caches import library_caches

_INSTALLED: Final = re.compile(r"[\\/](?:(?:site|dist)-packages|__pycache__|\.git)(?:[\\/]|$)|\.(?:pyc|pyo)$")
_OF_A_PREFIX: Final = ("lib", "lib64", "share", "etc", "bin", "include", "pyvenv.cfg", "Lib", "DLLs", "Scripts")
_SYSTEM: Final = (
    *("/proc", "/sys", "/dev/null", "/dev/full", "/dev/zero", "/dev/stdout", "/dev/stderr", "/dev/fd"),
    *("/etc/localtime", "/etc/timezone", "/etc/hosts", "/etc/host.conf", "/etc/hostname", "/etc/resolv.conf"),
    *("/etc/nsswitch.conf", "/etc/gai.conf", "/etc/services", "/etc/protocols", "/etc/os-release"),
    *("/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/fonts", "/etc/ld.so.cache", "/etc/ld.so.conf"),
    *("/etc/locale.alias", "/etc/lsb-release", "/etc/debian_version", "/etc/passwd", "/etc/group"),
    *("/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/usr/share/lib/zoneinfo", "/usr/share/locale", "/usr/lib/locale"),
    *("/usr/share/i18n", "/usr/share/fonts", "/usr/local/share/fonts", "/usr/share/mime", "/usr/local/share/mime"),
    *("/usr/share/ca-certificates", "/usr/lib/os-release", "/usr/share/terminfo", "/usr/share/X11"),
    *("/Library/Fonts", "/System"),
)
_RANDOM: Final = ("/dev/random", "/dev/urandom", "/dev/hwrng")


@lru_cache(maxsize=1)
def _own() -> tuple[str, ...]:
    """Python's own folders."""
    found = {sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")}
    for prefix in {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix}:
        found |= {str(Path(prefix) / part) for part in _OF_A_PREFIX}
    found |= {str(Path(path).resolve()) for path in found}
    return tuple(found)


@lru_cache(maxsize=1)
def _always() -> tuple[frozenset[str], tuple[str, ...]]:
    return _split((*_own(), *_SYSTEM, *_fonts()))


@lru_cache(maxsize=1)
def _caches() -> tuple[frozenset[str], tuple[str, ...]]:
    return _split(library_caches())


def _fonts() -> tuple[str, ...]:
    home = Path.home()
    return str(home / ".fonts"), str(home / ".local" / "share" / "fonts")


def _split(paths: tuple[str, ...]) -> tuple[frozenset[str], tuple[str, ...]]:
    """The paths themselves, and as prefixes of paths below them."""
    return frozenset(paths), tuple(path.rstrip(os.sep) + os.sep for path in paths)


@lru_cache(maxsize=8192)
def is_no_data(path: str, *, direct: bool) -> bool:
    """Whether this file is not an input of a task.

    Args:
        path: absolute.
        direct: whether the project's code itself opens it; then files in the user's cache folder and of the kernel are
            data.
    """
    exact, below = _always()
    if path in exact or path.startswith(below):
        return not (direct and path.startswith(("/proc/", "/sys/")))
    return bool(_INSTALLED.search(path)) or (not direct and is_cache(path))


def is_cache(path: str) -> bool:
    """Whether this file is a library's own cache."""
    exact, below = _caches()
    return path in exact or path.startswith(below) or f"{os.sep}__pycache__" in path


def is_kernel(path: str) -> bool:
    """Whether the system generates the content from its current state."""
    return path.startswith(("/proc/", "/sys/"))


def is_random(path: str) -> bool:
    """Whether reading it draws random bytes."""
    return path in _RANDOM


def is_sink(path: str) -> bool:
    """Whether written data is discarded or printed."""
    return path in ("/dev/null", "/dev/full", "/dev/zero", "/dev/stdout", "/dev/stderr", "nul", "NUL")


def is_around(path: str) -> bool:
    """Whether a folder contains the current folder or Python's own, whose links are not data."""
    start = path.rstrip(os.sep) + os.sep
    return any(f"{folder}{os.sep}".startswith(start) for folder in (os.getcwd(), *_own()))  # noqa: PTH109 - text


def absolute(path: object, folder: int | None = None) -> str | None:
    """The absolute path that an event names; ``None`` if unknown.

    Args:
        path: a string, bytes or a file descriptor.
        folder: the descriptor of an open folder that the path is relative to.
    """
    if path is None:
        return os.getcwd()  # noqa: PTH109 - text
    if isinstance(path, int):
        return _of_descriptor(path)
    if not isinstance(path, str | bytes | os.PathLike):
        return None
    text = os.fsdecode(path)
    if folder is not None and folder >= 0 and not text.startswith(os.sep):
        parent = _of_descriptor(folder)
        return os.path.normpath(os.path.join(parent, text)) if parent else None  # noqa: PTH118
    return os.path.abspath(text)  # noqa: PTH100


def _of_descriptor(number: int) -> str | None:
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            return os.readlink(f"{folder}/{number}")  # noqa: PTH115
        except OSError:
            continue
    return None


def shown(path: str) -> str:
    """A path for people, relative to the current folder or the home folder."""
    try:
        here, home = os.getcwd(), str(Path.home())  # noqa: PTH109
    except (OSError, RuntimeError):
        return path
    if path.startswith(here + os.sep):
        return path[len(here) + 1 :]
    return f"~{path[len(home) :]}" if path.startswith(home + os.sep) else path
