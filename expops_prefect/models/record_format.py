"""The format of cache records, and which of two records under one key takes precedence."""

from __future__ import annotations

from functools import cache
from typing import Any, Final, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from expops_prefect.errors import FormatError

_T = TypeVar("_T")
PLAIN_FORMAT: Final = 1
"""The version of records that earlier releases may also use."""
DEPENDENCIES_FORMAT: Final = 2
"""The version of records with dependencies."""
FILES_FORMAT: Final = 3
"""The version of records with files."""
RECORD_FORMAT: Final = 3
"""The newest readable version of cache and run records; a newer record is not used."""


@cache
def _checks(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def load(kind: type[_T], value: Any, what: str, newest: int = RECORD_FORMAT) -> _T:
    """Read the JSON form of a record. Unknown fields are ignored.

    Args:
        kind: its class, a dataclass.
        value: what is stored.
        what: its kind, for messages.
        newest: the newest version that can be read.

    Raises:
        FormatError: it is damaged, not such a record, or of a newer release.
    """
    version = value.get("format") if isinstance(value, dict) else None
    if not isinstance(version, int):
        raise FormatError(f"not a {what} of expops-prefect")
    if version > newest:
        raise FormatError(f"a {what} of a newer expops-prefect (format {version}); upgrade to read it")
    try:
        return cast("_T", _checks(cast("Any", kind)).validate_python(value))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise FormatError(f"a damaged {what}: {place}: {first['msg']}") from None


def is_newer(value: Any) -> bool:
    """Whether a newer release wrote a record; this release neither uses nor replaces it."""
    known = value.get("format") if isinstance(value, dict) else None
    return isinstance(known, int) and known > RECORD_FORMAT


def later(before: Any, value: Any) -> Any:
    """Which of two cache records takes precedence, if one was delayed: that of the later computation.

    Args:
        before: the record that is stored; ``None`` if there is none.
        value: the record that arrives late.
    """
    return before if is_newer(before) or _ended_at(before) > _ended_at(value) else value


def _ended_at(value: Any) -> float:
    ended = value.get("ended_at") if isinstance(value, dict) else None
    return ended if isinstance(ended, (int, float)) else float("-inf")
