"""Whether a body has changed its arguments: they are looked at once more after it, and no oftener than that.

What nothing can change is not looked at. Of plain data a glance is taken, which costs a tenth of a fingerprint; the
fingerprint is made only where that tells of a change.
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
"""Classes, by package and name, whose objects no method changes."""
_PLAIN: Final = frozenset({list, dict, set, tuple, bytearray})


@dataclass(frozen=True, slots=True)
class Changes:
    """What became of a call's arguments.

    Attributes:
        changed: the parameters whose arguments the body changed.
        unstable: those whose arguments count as another value at each look, whatever a body does.
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
        """Look at them again, after the body.

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
            # It is looked at a third time only where that can tell why.
            (changed if digest == _digest(name, value, root) else unstable).append(name)
        return Changes(tuple(changed), tuple(unstable))


def is_constant(value: Any) -> bool:
    """Whether nothing can change a value in place.

    Objects of classes that only ask not to be changed, such as frozen dataclasses, can be.
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
"""Those of numpy; a ``void`` can be changed."""


class _Glance(pickle.Pickler):
    """A pickler that takes nothing but plain data."""

    def reducer_override(self, value: Any) -> Any:
        raise pickle.PicklingError(type(value))


class _Digest:
    """A file of which the digest is kept."""

    def __init__(self) -> None:
        self._hasher = blake3()

    def write(self, data: Any) -> int:
        self._hasher.update(data)
        return len(data)

    def digest(self) -> bytes:
        return self._hasher.digest()


def glance(value: Any) -> bytes | None:
    """A digest that stays the same only if plain data, and what in it is one object, does; ``None`` for other data.

    It may become another one although nothing has changed, and means nothing in another process.
    """
    if type(value) not in _PLAIN:
        return None
    found = _Digest()
    with suppress(Exception):  # other objects, another thread that changes it, data that is nested too deeply
        _Glance(found, protocol=5).dump(value)
        return found.digest()
    return None


def _digest(name: str, value: Any, root: Path) -> str | None:
    try:
        return fingerprint(value, name=name, root=root)
    except (FingerprintError, ExpOpsPrefectError):
        return None  # it could be walked before
