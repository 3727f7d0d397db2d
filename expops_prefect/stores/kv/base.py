"""The contract of a KV store; it names no backend.

Keys are the texts that :mod:`expops_prefect.models.names` makes; any text that UTF-8 can express is a
key. Values are JSON values (``dict``, ``list``, ``str``, ``int`` of at most 64 bits, finite
``float``, ``bool``, ``None``). A stored ``None`` cannot be told from a missing key, so callers do
not store it. Metrics keys hold only series, ``{name: {step: value}}``. A key or value that a store
cannot keep raises :class:`~expops_prefect.errors.KVRefusedError`.

Every method is atomic, and safe to call from any thread and any process at once. A store
connects on first use, can be pickled and deep-copied before and after that (the copy
connects anew), and closes only what it opened. You can use it in a forked child. Failures raise
:class:`~expops_prefect.errors.KVError`; absence is ``None`` or ``False``. Every call ends in bounded time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

JSON: TypeAlias = Any
"""A JSON value. ``Any`` because every reader validates what it reads."""

MetricValue: TypeAlias = int | float | str
"""A finite number, or one of the texts of :data:`NOT_FINITE`."""
NOT_FINITE: Final = frozenset({"NaN", "Infinity", "-Infinity"})
"""Values that JSON cannot express as a number."""


@dataclass(frozen=True, slots=True)
class Versioned:
    """A value with an opaque version; two versions of a key are equal only if their values are."""

    value: JSON
    version: str


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """One point of a series."""

    name: str
    value: MetricValue
    step: int


class KVStore(Protocol):
    """A key-value store with atomic primitives. The module's docstring says what all methods share."""

    def get(self, key: str) -> JSON | None:
        """The value under a key, or ``None``."""

    def get_many(self, keys: Sequence[str]) -> dict[str, JSON]:
        """The values of those keys that exist."""

    def get_versioned(self, key: str) -> Versioned | None:
        """The value under a key with the version that :meth:`compare_and_set` takes, or ``None``."""

    def put(self, key: str, value: JSON) -> None:
        """Write a value, replacing any other."""

    def put_many(self, values: Mapping[str, JSON]) -> None:
        """Write several values, at most 500: all of them or, on failure, none of them."""

    def create(self, key: str, value: JSON) -> bool:
        """Write a value only if the key is free. Of several concurrent callers exactly one gets ``True``."""

    def compare_and_set(self, key: str, version: str, value: JSON) -> bool:
        """Replace the value only if it still has this version."""

    def update(self, key: str, change: Callable[[JSON | None], JSON]) -> JSON:
        """Replace a value by ``change(value)`` atomically and return the new one.

        ``change`` gets ``None`` for a missing key, must be pure and fast, and may be called again.
        """

    def delete(self, key: str) -> bool:
        """Remove a key; return whether it existed."""

    def delete_many(self, keys: Sequence[str]) -> int:
        """Remove several keys; return how many existed."""

    def increment(self, key: str, amount: int = 1, *, token: str | None = None) -> int:
        """Add to a counter that starts at 0 and return its new value.

        Rows, cache records and metrics cannot be counters, whatever their keys hold.

        Args:
            amount: may be negative.
            token: identifies this one addition. The first call with a token counts; a later call for the
                same key changes nothing and returns the counter. If you cannot know whether an addition
                arrived, send it again with the same token.
        """

    def append_metrics(self, key: str, points: Iterable[MetricPoint]) -> None:
        """Merge points into the series under a metrics key, stored as ``{name: {"1": value}}``.

        Points of concurrent writers are kept; a point written to the same step again replaces the old one.
        """

    def scan(self, prefix: str, *, after: str | None = None, limit: int | None = None) -> Iterator[tuple[str, JSON]]:
        """Keys that start with exactly this text, ascending, with their values. No character is a wildcard.

        Args:
            after: only keys greater than this one; pass the last key of a page to get the next page.
            limit: at most this many keys.
        """

    def ping(self) -> None:
        """Raise :class:`KVError` unless the store can be reached and written."""

    def close(self) -> None:
        """Close what this object opened. The next use opens it again."""

    def describe(self) -> str:
        """One line for people: kind and location, without secrets."""


@runtime_checkable
class Erasable(Protocol):
    """A store that can remove the records of one project among those of others."""

    def erase(self) -> int:
        """Remove everything of the project; return how many documents that was. Not atomic."""


@runtime_checkable
class Announcing(Protocol):
    """A store whose readers watch a file for changes."""

    def announce(self) -> None:
        """Notify watchers of earlier writes. Never raises."""
