"""The files and folders of a result: which there are, and where their contents are stored.

A list is kept in the record of the result, as JSON, or in a payload of its own if it is long. Contents are objects
that are named by their digest, so equal files are stored once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from blake3 import blake3

from expops_prefect.errors import FormatError, IntegrityError
from expops_prefect.models import names
from expops_prefect.record.cache_records import CacheRecord

Kind = Literal["file", "folder", "link"]
LIST_SUFFIX: Final = ".files"
"""The suffix of a payload that holds a list."""
FILE_SUFFIX: Final = ".file"
"""The suffix of an object with the content of a file."""
_VERSION: Final = 1
_MODES: Final = 0o777
_LETTERS: Final[dict[str, Kind]] = {"f": "file", "d": "folder", "l": "link"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, folder or symbolic link.

    Attributes:
        name: its path relative to that of the result, with ``/``; empty for the result itself.
        kind: which of them it is.
        mode: its permissions; 0 for a link.
        digest: BLAKE3 of a file's content, 64 hexadecimal digits; empty for others.
        size: bytes of a file.
        target: where a link leads.
    """

    name: str
    kind: Kind
    mode: int = 0
    digest: str = ""
    size: int = 0
    target: str = ""

    @property
    def key(self) -> str:
        """The object key of a file's content."""
        return names.payload_key(self.digest, FILE_SUFFIX)


@dataclass(frozen=True, slots=True)
class StoredPath:
    """A file or folder of a result.

    Attributes:
        path: relative to the project's root if it is below it, else absolute.
        entries: itself, and for a folder everything below it; a folder comes before its content.
    """

    path: str
    entries: tuple[Entry, ...]

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.entries[0].kind == "folder"


def dump(paths: tuple[StoredPath, ...]) -> str:
    """The JSON text of a list."""
    return json.dumps(
        {"version": _VERSION, "paths": [[item.path, [_dump(entry) for entry in item.entries]] for item in paths]},
        separators=(",", ":"),
    )


def load(text: str) -> tuple[StoredPath, ...]:
    """Read the text of :func:`dump`.

    Raises:
        FormatError: it is damaged, of another release, or would lead outside of a result's own path.
    """
    try:
        known = json.loads(text)
        if known["version"] != _VERSION:
            raise FormatError(f"a list of files of another expops-prefect (version {known['version']})")
        found = tuple(StoredPath(path, tuple(map(_load, entries))) for path, entries in known["paths"])
        for item in found:
            _check(item)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise FormatError(f"a damaged list of files: {error!r}") from error
    return found


def of_record(record: CacheRecord, get: Callable[[str], bytes | None]) -> tuple[StoredPath, ...]:
    """The files of a result, as its record lists them.

    Args:
        record: the record.
        get: returns an object by its key.

    Raises:
        IntegrityError: the list is missing or was changed.
        FormatError: it is damaged, or of another release.
    """
    if not record.file_list.startswith(names.CACHE_PREFIX):
        return load(record.file_list) if record.file_list else ()
    data = get(record.file_list)
    if data is None:
        raise IntegrityError(f"the list of its files {record.file_list} is gone")
    if names.content_digest(record.file_list) != blake3(data).hexdigest():
        raise IntegrityError(f"the list of its files {record.file_list} was changed after it was written")
    return load(data.decode())


def contents(paths: tuple[StoredPath, ...]) -> Iterator[Entry]:
    """The files in a list, each content once."""
    yield from {entry.digest: entry for item in paths for entry in item.entries if entry.kind == "file"}.values()


def leads_outside(name: str, target: str) -> bool:
    """Whether a link leads out of the folder that contains it.

    Args:
        name: the link's path, relative to the folder.
        target: where it leads.
    """
    if os.path.isabs(target):  # noqa: PTH117 - text
        return True
    found = os.path.normpath(os.path.join(os.path.dirname(name), target))  # noqa: PTH118, PTH120 - text
    return found == os.pardir or found.startswith(f"{os.pardir}{os.sep}")


def _dump(entry: Entry) -> list[Any]:
    if entry.kind == "link":
        return ["l", entry.name, entry.target]
    if entry.kind == "folder":
        return ["d", entry.name, entry.mode]
    return ["f", entry.name, entry.mode, entry.digest, entry.size]


def _load(entry: list[Any]) -> Entry:
    kind, name, *more = _LETTERS[entry[0]], *entry[1:]
    if kind == "link":
        return Entry(_text(name), kind, target=_text(more[0]))
    mode = int(more[0]) & _MODES
    if kind == "folder":
        return Entry(_text(name), kind, mode)
    return Entry(_text(name), kind, mode, _text(more[1]), int(more[2]))


def _check(item: StoredPath) -> None:
    """Refuse what would write outside of the path, also through a link.

    Raises:
        ValueError: an entry does so.
    """
    if not item.entries or item.entries[0].name or item.entries[0].kind == "link":
        raise ValueError(f"{item.path!r} has no file or folder")
    kinds: dict[str, Kind] = {"": item.entries[0].kind}
    for entry in item.entries[1:]:
        parent, _, last = entry.name.rpartition("/")
        unsafe = last in ("", ".", "..") or entry.name.startswith("/") or "\0" in entry.name or entry.name in kinds
        if unsafe or kinds.get(parent) != "folder":
            raise ValueError(f"{entry.name!r} is not below a folder of the list")
        if entry.kind == "link" and leads_outside(entry.name, entry.target):
            raise ValueError(f"{entry.name!r} leads outside")
        kinds[entry.name] = entry.kind
    if any(names.content_digest(entry.key) != entry.digest for entry in item.entries if entry.kind == "file"):
        raise ValueError("a digest is not one")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} instead of a string")
    return value
