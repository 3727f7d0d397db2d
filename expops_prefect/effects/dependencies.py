"""Dependencies of a result: files, folders, environment variables and Prefect Variables.

They are found while a body runs, or in its code, so they are not part of the key. The record of the
result keeps a digest of each. A lookup compares the digests; a difference is a miss.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import orjson

from expops_prefect.effects.hearing import link_stamp
from expops_prefect.effects.record import Stamp
from expops_prefect.errors import ExpOpsPrefectError, FormatError
from expops_prefect.fingerprint.files import USUAL, DataRules, file_digest
from expops_prefect.models.effects import CodeEffects, Read

Kind = Literal["file", "folder", "link", "current folder", "environment", "variable"]
ABSENT: Final = "absent"
_THERE: Final = "there"
"""The digest of a path of which only its existence counts, because the body then wrote it."""
_DATED: Final = " of "
"""The separator between a digest and the time of the last change, if a body read that time."""
_SIFTED: Final = " sifted"
"""The suffix of a digest of the names in a data folder without the ignored ones."""
_LABELS: Final = {
    "environment": "the environment variable ",
    "variable": "the Prefect Variable ",
    "folder": "the folder ",
    "link": "the link ",
    "current folder": "the current folder",
}
_SETTLED_NS: Final = 2_000_000_000
"""A file that was written this recently may be written again without a change of its times."""


class ChangedMeanwhileError(ExpOpsPrefectError):
    """A dependency of a body was changed before its result could be stored."""


@dataclass(frozen=True, slots=True)
class Dependency:
    """One dependency of a result.

    Attributes:
        kind: the kind of dependency.
        name: a path, relative if it is below the project's root; or the name of the variable.
        digest: of the content, the names in a folder, or the value; ``absent`` if it did not exist. Never a value.
        stamp: size, times and inode of a file; while they are unchanged, so is the content. Empty if unknown.
    """

    kind: Kind
    name: str
    digest: str
    stamp: str = ""


@dataclass(frozen=True, slots=True)
class Named:
    """Digests of the variables that the code names, computed before its body runs."""

    environment: tuple[tuple[str, str], ...]
    variables: tuple[tuple[str, str], ...]


def named(code: CodeEffects) -> Named:
    """Compute the digests of the environment variables and the Prefect Variables that the code names."""
    return Named(
        tuple((name, _environment(name)) for name in code.environment),
        tuple((name, _variable(name)) for name in code.variables),
    )


def taken(before: Named, reads: Iterable[Read], root: Path, rules: DataRules = USUAL) -> tuple[Dependency, ...]:
    """The dependencies of a body that has run.

    Args:
        before: the variables before the body ran.
        reads: the files and folders that it read.
        root: the project's root.
        rules: the data folders of its key, and the names to ignore in them.

    Raises:
        ChangedMeanwhileError: one of them was changed since the body read it.
    """
    found: dict[tuple[str, str], Dependency] = {}
    for kind, entries in (("environment", before.environment), ("variable", before.variables)):
        for name, digest in entries:
            current = _environment(name) if kind == "environment" else _variable(name)
            if current != digest:
                raise ChangedMeanwhileError(f"{_label(kind, name)} was changed while it ran")
            found[kind, name] = Dependency("environment" if kind == "environment" else "variable", name, digest)
    for read in reads:
        if read.link and f"{root}{os.sep}".startswith(f"{read.path.rstrip(os.sep)}{os.sep}"):
            continue  # the project's own folder differs on each machine
        if read.current:
            made = Dependency("current folder", "", _digest(relative(read.path, root)))
        else:
            made = _of_read(read, root, rules)
        found[made.kind, made.name] = made
    return tuple(found.values())


def changed(dependencies: Sequence[Dependency], root: Path, rules: DataRules = USUAL) -> str | None:
    """Describe the first dependency that has changed since a result was computed; ``None`` if none has.

    Args:
        dependencies: the dependencies of the result.
        root: the project's root.
        rules: the names to ignore in data folders.
    """
    for dependency in dependencies:
        if dependency.kind == "environment":
            current = _environment(dependency.name)
        elif dependency.kind == "variable":
            current = _variable(dependency.name)
        elif dependency.kind == "current folder":
            current = _digest(relative(os.getcwd(), root))  # noqa: PTH109 - text
        else:
            path = os.path.join(root, dependency.name)  # noqa: PTH118 - on the path of every hit
            if dependency.kind == "link":
                if (current := _link(path)) != dependency.digest:
                    return f"{_label('link', dependency.name)} {_change(dependency.digest, current)}"
                continue
            if dependency.stamp and _stamp(path) == dependency.stamp:
                continue
            sifting = rules if dependency.digest.endswith(_SIFTED) else None
            listing = dependency.kind == "folder"
            if dependency.digest == _THERE:
                if not os.path.lexists(path):
                    return f"{_label(dependency.kind, dependency.name)} {_change(_THERE, ABSENT)}"
                continue
            current = _content(path, listing=listing, dated=_DATED in dependency.digest, sifting=sifting)
        if current != dependency.digest:
            return f"{_label(dependency.kind, dependency.name)} {_change(dependency.digest, current)}"
    return None


def dump(dependencies: Sequence[Dependency]) -> str:
    """The JSON text that a record keeps; empty for none."""
    if not dependencies:
        return ""
    return orjson.dumps([[item.kind, item.name, item.digest, item.stamp] for item in dependencies]).decode()


def load(text: str) -> tuple[Dependency, ...]:
    """Read the text of :func:`dump`.

    Raises:
        FormatError: it is damaged.
    """
    if not text:
        return ()
    try:
        return tuple(Dependency(*map(_text, entry)) for entry in orjson.loads(text))  # type: ignore[arg-type]
    except (ValueError, TypeError) as error:
        raise FormatError(f"a damaged cache record: its dependencies cannot be read ({error})") from error


def described(dependencies: Iterable[Dependency]) -> Iterator[str]:
    """Describe each dependency for people."""
    for dependency in dependencies:
        yield _label(dependency.kind, dependency.name)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} instead of a string")
    return value


def _label(kind: str, name: str) -> str:
    return f"{_LABELS.get(kind, '')}{name}"


def _change(before: str, now: str) -> str:
    if before == ABSENT:
        return "exists now"
    return "no longer exists" if now == ABSENT else "changed"


def _of_read(read: Read, root: Path, rules: DataRules) -> Dependency:
    name = relative(read.path, root)
    if read.rewritten:
        return Dependency("file", name, ABSENT if read.stamp is None else _THERE)
    if read.link:
        digest = _link(read.path)
        if _link_stamp(read.path) != read.stamp:
            raise ChangedMeanwhileError(f"{name} was changed while it ran")
        return Dependency("link", name, digest)
    kind: Kind = "folder" if read.listing else "file"
    if not read.listing and not read.dated and read.stamp is not None and os.path.isdir(read.path):  # noqa: PTH112
        return Dependency(kind, name, _content(read.path, listing=False))  # only its existence matters
    stamp = _stamp(read.path)
    if _identity(stamp) != _identity("" if read.stamp is None else " ".join(map(str, read.stamp))):
        raise ChangedMeanwhileError(f"{name} was changed while it ran")
    sifting = rules if read.listing and _is_below(read.path, rules.folders or ()) else None
    digest = _content(read.path, listing=read.listing, dated=read.dated, sifting=sifting)
    if _stamp(read.path) != stamp:
        raise ChangedMeanwhileError(f"{name} was changed while it ran")
    return Dependency(kind, name, digest, stamp if _settled(stamp) else "")


def _is_below(path: str, folders: Sequence[str]) -> bool:
    real = os.path.realpath(path) + os.sep
    return any(real.startswith(folder.rstrip(os.sep) + os.sep) for folder in folders)


def relative(path: str, root: Path) -> str:
    """A path as it is recorded: relative below the root, so that it is the same in every checkout."""
    for base in (str(root), os.path.realpath(root)):
        if path.startswith(f"{base}{os.sep}"):
            return path.removeprefix(f"{base}{os.sep}")  # with links unresolved, because they may lead elsewhere later
    below = os.path.relpath(os.path.realpath(path), os.path.realpath(root))
    return path if below.startswith(os.pardir) else below


def _stamp(path: str) -> str:
    """Size, modification time, inode and change time; empty if the path does not exist."""
    try:
        status = os.stat(path)  # noqa: PTH116 - on the path of every hit
    except (OSError, ValueError):
        return ""
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ino} {status.st_ctime_ns}"


def _identity(stamp: str) -> list[str]:
    return stamp.split(" ")[:3]


def _settled(stamp: str) -> bool:
    if not stamp:
        return False
    times = [int(part) for place, part in enumerate(stamp.split(" ")) if place in (1, 3)]
    return time.time_ns() - max(times) > _SETTLED_NS


def _content(path: str, *, listing: bool, dated: bool = False, sifting: DataRules | None = None) -> str:
    try:
        if listing:
            found = os.listdir(path)  # noqa: PTH208 - only names are needed
            kept = sorted(found if sifting is None else (name for name in found if not sifting.ignores(name)))
            sifted = "" if sifting is None else _SIFTED
            if dated:
                return _digest("\0".join(_entry(path, name) for name in kept)) + f"{_DATED}its entries" + sifted
            return _digest("\0".join(kept)) + sifted
        status = os.stat(path)  # noqa: PTH116 - asked whether it is there
        # Reading a pipe would wait for a writer.
        regular = stat.S_ISREG(status.st_mode)
        content = file_digest(path) if regular else f"no file: {stat.S_IFMT(status.st_mode):o}"
        return f"{content}{_DATED}{status.st_mtime_ns}" if dated else content
    except FileNotFoundError:
        return ABSENT
    except NotADirectoryError:
        return ABSENT
    except (OSError, ValueError) as error:
        return f"unreadable: {type(error).__name__}"


def _link(path: str) -> str:
    """The digest of a link's target; the same text for everything that is not a link."""
    try:
        return _digest(f"link\0{os.readlink(path)}")  # noqa: PTH115 - text
    except (FileNotFoundError, NotADirectoryError):
        return ABSENT
    except (OSError, ValueError) as error:
        return "no link" if getattr(error, "errno", None) == errno.EINVAL else f"unreadable: {type(error).__name__}"


def _link_stamp(path: str) -> Stamp | None:
    try:
        return link_stamp(os.lstat(path))
    except (OSError, ValueError):
        return None


def _entry(folder: str, name: str) -> str:
    """A name in a folder with the fields of ``DirEntry.stat``."""
    try:
        status = os.lstat(f"{folder}{os.sep}{name}")
    except OSError:
        return name
    return f"{name} {status.st_mode} {status.st_size} {status.st_mtime_ns}"


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=32).hexdigest()


def _environment(name: str) -> str:
    value = os.environ.get(name)
    return ABSENT if value is None else _digest(f"environment\0{name}\0{value}")


def _variable(name: str) -> str:
    """The digest of a Prefect Variable's value, read through Prefect's API."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        found = client.read_variable_by_name(name)
    if found is None:
        return ABSENT
    return _digest(f"variable\0{name}\0" + orjson.dumps(found.value, option=orjson.OPT_SORT_KEYS).decode())
