"""A part of a result that is stored separately, and loaded only when its value is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar, cast

from expops_prefect.errors import FingerprintError
from expops_prefect.fingerprint.identity import class_name
from expops_prefect.fingerprint.values import fingerprint

T = TypeVar("T")


class Deferred(Generic[T]):
    """A value, or a reference to it; through its fingerprint it can enter a cache key without being loaded.

    In a result's dictionaries, lists and tuples each one becomes a separate payload. A hit only checks
    that the payload exists; :meth:`value` reads, verifies and unpickles it.

    Attributes:
        fingerprint: the fingerprint of the value; empty if it cannot be fingerprinted.
        classes: the names of the classes of the objects in it, whose code is part of the key too.
    """

    __slots__ = ("_held", "_load", "classes", "fingerprint")

    def __init__(
        self,
        fingerprint: str,
        classes: tuple[str, ...],
        *,
        held: tuple[T] | None = None,
        load: Callable[[], object] | None = None,
    ) -> None:
        self.fingerprint = fingerprint
        self.classes = classes
        self._held = held
        self._load = load

    @classmethod
    def of(cls, value: T) -> Deferred[T]:
        """Defer a value in memory; its fingerprint is computed now."""
        classes: set[type] = set()
        try:
            digest = fingerprint(value, classes=classes)
        except FingerprintError:
            digest = ""
        return cls(digest, tuple(sorted(map(class_name, classes))), held=(value,))

    def value(self) -> T:
        """The value; a stored one is loaded again each time, so that callers do not see each other's changes.

        Raises:
            IntegrityError: it is missing or damaged.
        """
        if self._held is not None:
            return self._held[0]
        assert self._load is not None
        return cast("T", self._load())

    def __expops_fingerprint__(self) -> str:
        if not self.fingerprint:
            raise TypeError("a part of it cannot be fingerprinted")
        return self.fingerprint

    def __repr__(self) -> str:
        return f"Deferred({self.fingerprint[:8] or 'no fingerprint'})"
