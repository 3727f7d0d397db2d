"""The format of cache records, and which of two records under one key counts."""

from __future__ import annotations

from functools import cache
from typing import Any, Final, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from expops_prefect.errors import FormatError

_T = TypeVar("_T")
PLAIN_FORMAT: Final = 1
"""The version of records that earlier releases may use, too."""
RECORD_FORMAT: Final = 2
"""The newest version of cache and run records that can be read; a record of a newer one is not used."""


@cache
def _checks(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def load(kind: type[_T], value: Any, what: str, newest: int = RECORD_FORMAT) -> _T:
    """Read the JSON form of a record. Fields that this release does not know are left out.

    Args:
        kind: its class, a dataclass.
        value: what is stored.
        what: what it is, for messages.
        newest: the newest version that can be read.

    Raises:
        FormatError: it is damaged, no such record, or one of a newer release.
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
    """Whether a newer release wrote a record, which this one neither uses nor replaces."""
    known = value.get("format") if isinstance(value, dict) else None
    return isinstance(known, int) and known > RECORD_FORMAT


def later(before: Any, value: Any) -> Any:
    """Which of two cache records counts, where one was delayed: that of the later computation.

    Args:
        before: the record that is stored; ``None`` if there is none.
        value: the record that arrives late.
    """
    return before if is_newer(before) or _ended_at(before) > _ended_at(value) else value


def _ended_at(value: Any) -> float:
    ended = value.get("ended_at") if isinstance(value, dict) else None
    return ended if isinstance(ended, (int, float)) else float("-inf")
