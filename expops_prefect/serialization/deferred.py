"""A part of a result that is stored by itself, and loaded only when somebody asks for its value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar, cast

from expops_prefect.errors import FingerprintError
from expops_prefect.fingerprint.identity import class_name
from expops_prefect.fingerprint.values import fingerprint

T = TypeVar("T")


class Deferred(Generic[T]):
    """A value, or where it is to be had; by its fingerprint it can enter a cache key without being loaded.

    In a result's dictionaries, lists and tuples each one becomes a payload of its own. A hit looks
    whether the payload is there; it is read, verified and unpickled by :meth:`value`.

    Attributes:
        fingerprint: of the value; empty if it cannot be fingerprinted.
        classes: the names of the classes of the objects in it, whose code counts too.
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
        """Defer a value that is there; its fingerprint is taken now."""
        classes: set[type] = set()
        try:
            digest = fingerprint(value, classes=classes)
        except FingerprintError:
            digest = ""
        return cls(digest, tuple(sorted(map(class_name, classes))), held=(value,))

    def value(self) -> T:
        """The value; a stored one is loaded anew each time, so that nobody is given what another one has changed.

        Raises:
            IntegrityError: it is gone, or damaged.
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
