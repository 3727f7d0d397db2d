"""The exception tree.

    ExpOpsPrefectError
    ├── ConfigurationError        the project's settings are wrong; raised before a run's first task
    ├── NameRefusedError          a name or key that may not be used (also a ValueError)
    ├── BackendError              a backend cannot do what it was asked
    │   ├── KVError               ... the KV store
    │   │   ├── KVRefusedError    ... and will never take this value: trying again is of no use
    │   │   └── KVDamagedError    ... and what stands under a key is no JSON
    │   └── ObjectStoreError      ... the object store
    │       └── ObjectStoreRefusedError   ... denies it for good: trying again is of no use
    ├── IntegrityError            stored bytes are missing, changed or not ours
    ├── FormatError               a persisted format or version that this release does not know
    ├── FingerprintError          a value or a function that cannot be fingerprinted
    ├── RunNotFoundError          no run of that name, or several (also a LookupError)
    ├── ProcessNotFoundError      no process or step of that name in a run (also a LookupError)
    ├── LeaseLostError            another process computes what this one was computing
    └── ResultNotStorableError    a result that cannot be pickled

Absence is never an exception: look-ups return ``None`` or ``False``. Errors of foreign
libraries are translated once, at the backend's edge, with the cause kept.
"""

from __future__ import annotations

from typing import Any, TypeVar

from expops_prefect._internal.redaction import masked_message

_B = TypeVar("_B", bound="BackendError")


class ExpOpsPrefectError(Exception):
    """Base of every error that this package raises. Its text shows no secret of what it cites."""

    def __str__(self) -> str:
        return masked_message(super().__str__())


class ConfigurationError(ExpOpsPrefectError):
    """The project's settings are wrong. The message names file, key, what was found and what is allowed."""


class NameRefusedError(ExpOpsPrefectError, ValueError):
    """A name or key that may not be used."""


class BackendError(ExpOpsPrefectError):
    """A backend cannot do what it was asked (unreachable, full, denied, damaged).

    Attributes:
        lasting: whether it will fail as long as nobody does something about it: a disk that is full, a file that
            is no database, a permission that is missing. Then there is nothing to wait for.
    """

    lasting: bool = False

    def for_long(self: _B, lasting: bool = True) -> _B:
        """The same, :attr:`lasting`."""
        self.lasting = lasting
        return self


class KVError(BackendError):
    """The KV store failed."""


class KVRefusedError(KVError):
    """The KV store will never take this key or value."""


class KVDamagedError(KVError):
    """What stands under a key is no JSON.

    Attributes:
        key: the key.
    """

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message, key)
        self.key = key

    def __str__(self) -> str:
        return masked_message(str(self.args[0]))


class ObjectStoreError(BackendError):
    """The object store failed."""


class ObjectStoreRefusedError(ObjectStoreError):
    """The object store denies this for good: no permission, no such bucket, no valid credentials."""

    lasting = True


class IntegrityError(ExpOpsPrefectError):
    """Stored bytes are missing, differ from what was written, or are malformed."""


class FormatError(ExpOpsPrefectError):
    """A persisted format or version that this release does not know."""


class FingerprintError(ExpOpsPrefectError, TypeError):
    """A value or a function that cannot be fingerprinted.

    Attributes:
        path: where in the value the offending part sits, for example ``config['lock']``.
        type_name: its qualified type.
        unread: where a file is part of it, and could not be read: which one, and why. Else empty.
    """

    def __init__(self, message: str, *, path: str = "", type_name: str = "", unread: str = "") -> None:
        super().__init__(message)
        self.path = path
        self.type_name = type_name
        self.unread = unread


class RunNotFoundError(ExpOpsPrefectError, LookupError):
    """No run is meant by a name, or several are.

    Attributes:
        near: records of the runs that come near, or of those that are meant.
    """

    def __init__(self, message: str, near: tuple[Any, ...] = ()) -> None:
        super().__init__(message)
        self.near = near


class ProcessNotFoundError(ExpOpsPrefectError, LookupError):
    """A run has no process or step of a name."""


class LeaseLostError(ExpOpsPrefectError):
    """A lease was taken over, or removed, while its holder did not renew it."""


class ResultNotStorableError(ExpOpsPrefectError):
    """A result that cannot be pickled."""
