"""Which files and folders of a task's result its body has written, and what else it did to files."""

# Paths are str: a body may write many thousand files.
# ruff: noqa: PTH100, PTH109, PTH110, PTH113, PTH114, PTH116, PTH117, PTH118, PTH120

from __future__ import annotations

import dataclasses
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from expops_prefect.cache.files.tree import NotStorableError, Scanned, scan
from expops_prefect.effects.hearing import link_stamp, stamp_of
from expops_prefect.effects.record import MOST_READS
from expops_prefect.fingerprint.canonical import ATOMS
from expops_prefect.fingerprint.files import DataFile, DataRules
from expops_prefect.fingerprint.ownership import Owner
from expops_prefect.fingerprint.third_party import owner_of_callable
from expops_prefect.models.effects import Effect, Read, Seen, Write

_MOST: Final = 100_000
"""Parts of a result that are searched for files at most; what is not found is not stored."""
_FEW: Final = 3
_COARSE: Final = 20_000_000
"""Nanoseconds by which times of files may lag behind the clock."""
_NO_LINK: Final = (None, (0, 0, 0))
"""The stamps of a link that says that there was none."""


@dataclass(frozen=True, slots=True)
class Produced:
    """The files of a result, and what remains of what was seen of the body.

    Attributes:
        paths: the absolute path of each file or folder that the body wrote, with what was there when it returned.
        effects: its effects, without the writing of these files.
        reads: what it read, with the files that it returned and did not write.
    """

    paths: tuple[tuple[str, tuple[Scanned, ...]], ...]
    effects: tuple[Effect, ...]
    reads: tuple[Read, ...]


@dataclass(frozen=True, slots=True)
class Declared:
    """What a task declares to write.

    Attributes:
        paths: files and folders.
        began: when its body began, in nanoseconds since the epoch: what was changed since is its own, even if nobody
            observed that.
    """

    paths: tuple[str, ...] = ()
    began: int = 0


def produced(result: Any, declared: Declared, seen: Seen, root: Path, rules: DataRules) -> Produced:
    """The files of a result.

    Args:
        result: what the body returned.
        declared: what the task declares to write.
        seen: what the body did.
        root: the project's root.
        rules: the names to ignore in folders.

    Raises:
        NotStorableError: one of the files cannot be part of a result.
        OSError: one of them cannot be read.
    """
    returned = list(dict.fromkeys(data.path for data in data_files(result)))
    if not returned and not declared.paths:
        return Produced((), seen.effects, seen.reads)
    changes = _Changes(seen.writes)
    found: dict[str, tuple[Scanned, ...]] = {}
    reads: list[Read] = []
    for path in map(os.path.abspath, returned):
        if changes.touched(path):
            found[path] = scan(path, rules)
            _check_whole(path, found[path], changes)
        else:
            reads += _as_reads(path)
    for path in declared.paths:
        found |= _declared(os.path.abspath(path), declared.began, changes, rules)
    for path in found:
        _check_place(path, root, rules)
    if any(not os.path.isabs(path) for path in (*returned, *declared.paths)):
        reads.append(Read(os.getcwd(), listing=False, stamp=None, current=True))
    results = _Results(map(changes.real, found))
    return Produced(
        paths=tuple(item for item in found.items() if not results.contains(os.path.dirname(changes.real(item[0])))),
        effects=_effects(seen, changes, results),
        reads=(*_other_reads(seen.reads, changes, results), *reads),
    )


def data_files(result: Any) -> Iterator[DataFile]:
    """The files in a result, also in containers, dataclasses, models and other objects of the project."""
    waiting, known = [result], set[int]()
    while waiting and len(known) < _MOST:
        value = waiting.pop()
        kind = type(value)
        if kind in ATOMS or id(value) in known:
            continue
        known.add(id(value))
        if isinstance(value, DataFile):
            yield value
        elif isinstance(value, dict):
            waiting += (part for pair in value.items() for part in pair if type(part) not in ATOMS)
        elif isinstance(value, (list, tuple, set, frozenset)):
            waiting += (part for part in value if type(part) not in ATOMS)
        elif _has_fields(kind):
            held = getattr(value, "__dict__", None)
            waiting += held.values() if type(held) is dict else ()
            slots = [name for base in kind.__mro__ for name in vars(base).get("__slots__", ()) if isinstance(name, str)]
            waiting += (getattr(value, name, None) for name in slots)


def _has_fields(kind: Any) -> bool:
    """Whether the attributes of objects of a class are searched."""
    if dataclasses.is_dataclass(kind) or hasattr(kind, "model_fields"):
        return True
    return owner_of_callable(kind) is Owner.PROJECT


class _Results:
    """The real paths of the files and folders of a result."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = set(paths)
        self._parents = {parent for path in self._paths for parent in _upwards(os.path.dirname(path))}

    def contains(self, path: str) -> bool:
        """Whether a path is one of them, or below one."""
        return any(parent in self._paths for parent in _upwards(path))

    def is_above(self, path: str) -> bool:
        """Whether a path is a folder around one of them."""
        return path in self._parents


class _Changes:
    """What a body changed, by real path; each with its first change."""

    def __init__(self, writes: Iterable[Write]) -> None:
        self._folders: dict[str, str] = {}
        self.by_path = {self.real(write.path): write for write in writes if write.path is not None}
        self.unknown = [write for write in writes if write.path is None]
        self._above = {parent for path in self.by_path for parent in _upwards(os.path.dirname(path))}

    def real(self, path: str) -> str:
        """A path with the links around it resolved, but not itself."""
        folder, name = os.path.split(path.rstrip(os.sep))
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        return os.path.join(self._folders[folder], name)

    def made(self, path: str) -> bool:
        """Whether the body made all that is at a path: created or replaced it, or a folder around it."""
        return any(parent in self.by_path and not self.by_path[parent].partial for parent in _upwards(self.real(path)))

    def touched(self, path: str) -> bool:
        """Whether it changed something at a path or below it."""
        real = self.real(path)
        return real in self.by_path or real in self._above or self.made(path)

    def below(self, path: str) -> list[str]:
        """What it changed below a folder."""
        start = self.real(path) + os.sep
        return sorted(known for known in self.by_path if known.startswith(start))


def _upwards(path: str) -> Iterator[str]:
    """A path and the folders around it."""
    while path not in ("/", ""):
        yield path
        path = os.path.dirname(path)


def _check_whole(path: str, entries: tuple[Scanned, ...], changes: _Changes) -> None:
    """Refuse a folder with files of earlier calls: they are not part of what this call computed."""
    if entries[0].kind == "folder":
        for entry in entries:
            if entry.kind == "file" and not changes.made(os.path.join(path, entry.name)):
                raise NotStorableError(
                    f"the folder {path} contains {entry.name}, which it did not write; have it remove the folder first"
                )


def _check_place(path: str, root: Path, rules: DataRules) -> None:
    real, around = os.path.realpath(path) + os.sep, os.path.realpath(root) + os.sep
    if around.startswith(real):
        raise NotStorableError(f"{path} contains the project itself")
    if rules.without is not None and real.startswith(os.path.realpath(rules.without) + os.sep):
        raise NotStorableError(f"{path} is in the runtime folder, whose files belong to the cache")


def _declared(path: str, began: int, changes: _Changes, rules: DataRules) -> dict[str, tuple[Scanned, ...]]:
    """What the body wrote at a declared path: of a folder with other files, only its own ones."""
    if not os.path.lexists(path):
        return {}
    entries = scan(path, rules)
    if changes.made(path):
        return {path: entries}
    own = {}
    for entry in entries:
        each = os.path.join(path, entry.name) if entry.name else path
        newer = entry.stamp is not None and max(entry.stamp[1:3]) >= began - _COARSE
        if entry.kind != "folder" and (newer or changes.touched(each)):
            own[each] = scan(each, rules)
    return own


def _effects(seen: Seen, changes: _Changes, results: _Results) -> tuple[Effect, ...]:
    """The effects without those that only write the result."""
    left = [write for path, write in changes.by_path.items() if not _is_result(path, write, changes, results)]
    lines = {(write.effect.file, write.effect.line): write.effect for write in (*left, *changes.unknown)}
    return (*(effect for effect in seen.effects if effect.kind != "file write"), *lines.values())


def _is_result(path: str, write: Write, changes: _Changes, results: _Results) -> bool:
    """Whether a change only makes the result, or a temporary file that is gone."""
    if results.contains(path):
        return not write.partial or changes.made(os.path.dirname(path))
    if write.folder and results.is_above(path):
        return True
    return write.absent and not os.path.lexists(path)


def _other_reads(reads: Iterable[Read], changes: _Changes, results: _Results) -> Iterator[Read]:
    """The reads that count, without questions whether a part of the result, or a folder around it, exists.

    If the project's code asked for the result itself, the answer counts: it might have read what was there.
    """
    for read in reads:
        if read.asked or (read.link and read.stamp in _NO_LINK):
            real = changes.real(read.path)
            if results.is_above(real):
                continue
            if results.contains(real) and changes.touched(read.path):
                if read.decides:
                    yield dataclasses.replace(read, rewritten=True)
                continue
        yield read


def _as_reads(path: str) -> Iterator[Read]:
    """A file or folder that the body returned but did not write, as what it read."""
    try:
        status = os.stat(path)
    except OSError:
        yield Read(path, listing=False, stamp=None)
        return
    if not stat.S_ISDIR(status.st_mode):
        yield Read(path, listing=False, stamp=stamp_of(status))
        return
    count = 0
    for folder, folders, names in os.walk(path):
        yield Read(folder, listing=True, stamp=stamp_of(os.stat(folder)))
        for name in (*folders, *names):
            each = os.path.join(folder, name)
            if os.path.islink(each):
                yield Read(each, listing=False, stamp=link_stamp(os.lstat(each)), link=True)
            if name in names and os.path.exists(each):
                yield Read(each, listing=False, stamp=stamp_of(os.stat(each)))
            count += 1
        if count > MOST_READS:
            raise NotStorableError(f"the folder {path} has more than {MOST_READS} files, which it did not write")


def worth_declaring(writes: Iterable[Write]) -> list[str]:
    """The files that a body left behind, as ``outputs`` would name them; for many in a new folder, the folder."""
    changes = _Changes(tuple(writes))
    files = [path for path, write in changes.by_path.items() if not write.partial and os.path.isfile(path)]
    folders = Counter(map(os.path.dirname, files))
    here = os.getcwd() + os.sep
    found: dict[str, None] = {}
    for path in files:
        folder = os.path.dirname(path)
        is_new = folder in changes.by_path and changes.by_path[folder].folder
        found[(f"{folder}/" if is_new and folders[folder] > _FEW else path).removeprefix(here)] = None
    return list(found)
