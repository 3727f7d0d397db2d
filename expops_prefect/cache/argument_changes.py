"""Detects whether a body changed its arguments, by checking them once more after it has run.

Immutable arguments are skipped. Plain data is compared by its pickled bytes first, at a tenth of the cost of a
fingerprint; the fingerprint is computed only if they differ.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePath
from typing import Any, Final
from uuid import UUID

from blake3 import blake3

from expops_prefect.errors import ExpOpsPrefectError, FingerprintError
from expops_prefect.fingerprint.canonical import ATOMS
from expops_prefect.fingerprint.files import DataFile
from expops_prefect.fingerprint.values import fingerprint

_IMMUTABLE: Final = ATOMS | {date, datetime, time, timedelta, timezone, Decimal, Fraction, UUID, range, DataFile}
_OF_LIBRARIES: Final = frozenset(
    {
        *("pyarrow.Table", "pyarrow.RecordBatch", "pyarrow.ChunkedArray", "pyarrow.Schema", "pyarrow.DataType"),
        *("pyarrow.Array", "pyarrow.Scalar"),
    }
)
"""Classes, by package and name, whose objects are immutable."""
_PLAIN: Final = frozenset({list, dict, set, tuple, bytearray})


@dataclass(frozen=True, slots=True)
class Changes:
    """How a call's arguments differ after its body.

    Attributes:
        changed: the parameters whose arguments the body changed.
        unstable: those whose arguments have another fingerprint each time, whatever the body does.
    """

    changed: tuple[str, ...] = ()
    unstable: tuple[str, ...] = ()


class Given:
    """The arguments of a call that can be changed in place, as they were before its body.

    Args:
        values: all arguments, by parameter.
        digests: their fingerprints.
    """

    def __init__(self, values: Mapping[str, Any], digests: Mapping[str, str]) -> None:
        self.values = {name: value for name, value in values.items() if not is_constant(value)}
        self._digests = {name: digests.get(name) for name in self.values}
        self._glances = {name: glance(value) for name, value in self.values.items()}

    def changes(self, root: Path) -> Changes:
        """Compare the arguments with what they were, after the body.

        Args:
            root: the project's folder.
        """
        changed: list[str] = []
        unstable: list[str] = []
        for name, value in self.values.items():
            known = self._glances[name]
            if known is not None and glance(value) == known:
                continue
            digest = _digest(name, value, root)
            if digest == self._digests[name]:
                continue
            # A third fingerprint tells an unstable argument from one that was changed.
            (changed if digest == _digest(name, value, root) else unstable).append(name)
        return Changes(tuple(changed), tuple(unstable))


def is_constant(value: Any) -> bool:
    """Whether nothing can change a value in place.

    Frozen dataclasses and the like are not constant: their protection can be bypassed.
    """
    kind = type(value)
    if kind in _IMMUTABLE:
        return True
    if kind in (tuple, frozenset):
        return set(map(type, value)) <= ATOMS or all(map(is_constant, value))
    if issubclass(kind, tuple):
        return hasattr(kind, "_fields") and not hasattr(value, "__dict__") and all(map(is_constant, value))
    if issubclass(kind, PurePath):
        return kind.__module__.partition(".")[0] == "pathlib"
    return any(_is_immutable(base) for base in kind.__mro__) and not hasattr(value, "__dict__")


def _is_immutable(kind: type) -> bool:
    package = kind.__module__.partition(".")[0]
    if package == "numpy":
        return kind.__name__ in _SCALARS
    return f"{package}.{kind.__name__}" in _OF_LIBRARIES


_SCALARS: Final = frozenset({"number", "bool", "bool_", "datetime64", "str_", "bytes_"})
"""Immutable scalars of numpy; a ``void`` can be changed."""


class _Glance(pickle.Pickler):
    """A pickler that accepts only plain data."""

    def reducer_override(self, value: Any) -> Any:
        raise pickle.PicklingError(type(value))


class _Digest:
    """A write-only file that hashes its content."""

    def __init__(self) -> None:
        self._hasher = blake3()

    def write(self, data: Any) -> int:
        self._hasher.update(data)
        return len(data)

    def digest(self) -> bytes:
        return self._hasher.digest()


def glance(value: Any) -> bytes | None:
    """A cheap digest of plain data and of which of its parts are the same object; ``None`` for other data.

    If it is unchanged, so is the data. It may differ for unchanged data, and is valid in this process only.
    """
    if type(value) not in _PLAIN:
        return None
    found = _Digest()
    with suppress(Exception):  # other objects, a change by another thread, data that is nested too deeply
        _Glance(found, protocol=5).dump(value)
        return found.digest()
    return None


def _digest(name: str, value: Any, root: Path) -> str | None:
    try:
        return fingerprint(value, name=name, root=root)
    except (FingerprintError, ExpOpsPrefectError):
        return None  # it could be fingerprinted before the body
