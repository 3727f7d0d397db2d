"""What the project needs of a KV store. The contract; no backend is named here.

Keys are the texts that :mod:`expops_prefect.models.names` makes; any text that UTF-8 can express is a
key. Values are JSON values (``dict``, ``list``, ``str``, ``int`` of at most 64 bits, finite
``float``, ``bool``, ``None``). A stored ``None`` cannot be told from a missing key, so callers do
not store it. Under metrics keys stand series, ``{name: {step: value}}``, and nothing else. Keys
and values that cannot be kept raise :class:`~expops_prefect.errors.KVRefusedError`.

Every method is atomic, and safe to call from any thread and any process at once. A store
connects when it is first used, can be pickled and deep-copied before and after that (the copy
connects anew), and closes only what it opened. It may be used in a forked child. Failures raise
:class:`~expops_prefect.errors.KVError`; absence is ``None`` or ``False``. No call waits for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

JSON: TypeAlias = Any
"""A JSON value. ``Any`` because every reader validates what it takes out."""

MetricValue: TypeAlias = int | float | str
"""A finite number, or one of the texts of :data:`NOT_FINITE`."""
NOT_FINITE: Final = frozenset({"NaN", "Infinity", "-Infinity"})
"""JSON has no number for these."""


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
    """A key-value store with atomic primitives. See the module's text for what all methods share."""

    def get(self, key: str) -> JSON | None:
        """The value under a key, or ``None``."""

    def get_many(self, keys: Sequence[str]) -> dict[str, JSON]:
        """The values of those keys that exist."""

    def get_versioned(self, key: str) -> Versioned | None:
        """The value under a key with the version that :meth:`compare_and_set` takes, or ``None``."""

    def put(self, key: str, value: JSON) -> None:
        """Write a value, whatever was there."""

    def put_many(self, values: Mapping[str, JSON]) -> None:
        """Write several values, at most 500: all of them or, on failure, none."""

    def create(self, key: str, value: JSON) -> bool:
        """Write a value only if the key is free. Of any number of callers one gets ``True``."""

    def compare_and_set(self, key: str, version: str, value: JSON) -> bool:
        """Replace the value only if it still has that version."""

    def update(self, key: str, change: Callable[[JSON | None], JSON]) -> JSON:
        """Replace a value by ``change(value)`` in one step and return the new one.

        ``change`` gets ``None`` for a missing key, must be pure and fast, and may be called again.
        """

    def delete(self, key: str) -> bool:
        """Remove a key; whether it was there."""

    def delete_many(self, keys: Sequence[str]) -> int:
        """Remove several keys; how many were there."""

    def increment(self, key: str, amount: int = 1, *, token: str | None = None) -> int:
        """Add to a counter that starts at 0 and return what it is then.

        Rows, cache records and metrics are no counters, whatever stands under their keys.

        Args:
            amount: may be negative.
            token: names this one addition. The first call with a token counts; every later one for
                the same key changes nothing and returns the counter, so that whoever cannot know
                whether an addition arrived may send it again.
        """

    def append_metrics(self, key: str, points: Iterable[MetricPoint]) -> None:
        """Merge points into the series under a metrics key, in the form ``{name: {"1": value}}``.

        No concurrent writer's point is lost; a point written to the same step again replaces it.
        """

    def scan(self, prefix: str, *, after: str | None = None, limit: int | None = None) -> Iterator[tuple[str, JSON]]:
        """Keys that start with exactly this text (no character is a wildcard), ascending, with values.

        Args:
            after: only keys greater than this one; the last key of a page asks for the next page.
            limit: at most so many.
        """

    def ping(self) -> None:
        """Raise :class:`KVError` unless the store can be reached and written."""

    def close(self) -> None:
        """Close what this object opened. Using it again opens it again."""

    def describe(self) -> str:
        """One line for people: kind and place, no secret."""


@runtime_checkable
class Erasable(Protocol):
    """What a store also does that holds the records of one project among those of others."""

    def erase(self) -> int:
        """Remove everything of the project, whoever wrote it; how many documents that were. Not atomic."""


@runtime_checkable
class Announcing(Protocol):
    """What a store also does whose readers watch a file instead of being told."""

    def announce(self) -> None:
        """Let who watches notice what was written before. Never raises."""
