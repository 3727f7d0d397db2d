"""The exception tree.

    ExpOpsPrefectError
    ├── ConfigurationError        the project's settings are wrong; raised before a run's first task
    ├── NameRefusedError          a name or key that may not be used (also a ValueError)
    ├── BackendError              a backend cannot do what it was asked
    │   ├── KVError               ... the KV store
    │   │   ├── KVRefusedError    ... and will never accept this value: do not retry
    │   │   └── KVDamagedError    ... because the value under a key is not JSON
    │   └── ObjectStoreError      ... the object store
    │       └── ObjectStoreRefusedError   ... and will not until somebody changes something: do not retry
    ├── IntegrityError            stored bytes are missing, changed or unknown
    │   └── ResultNotLoadableError    ... or whole, but this process lacks what is needed to load them
    ├── FormatError               a stored format or version that this release does not support
    ├── FingerprintError          a value or a function that cannot be fingerprinted
    ├── RunNotFoundError          no run matches a name, or several do (also a LookupError)
    ├── ProcessNotFoundError      a run has no process or step of this name, or several calls (also a LookupError)
    ├── ResultNotFoundError       no stored result matches a key, or several do (also a LookupError)
    │   ├── ResultNotStoredError      ... because it was never stored in the project
    │   └── ResultRemovedError        ... because it was removed, or replaced by a later one
    ├── LeaseLostError            another process has taken over the computation
    └── ResultNotStorableError    a result that cannot be pickled

Absence is never an exception: look-ups return ``None`` or ``False``. Errors of foreign
libraries are translated once, at the backend's edge, with the cause kept.
"""

from __future__ import annotations

from typing import Any, TypeVar

from expops_prefect._internal.redaction import masked_message

_B = TypeVar("_B", bound="BackendError")


class ExpOpsPrefectError(Exception):
    """Base of every error that this package raises. Secrets in the message are masked."""

    def __str__(self) -> str:
        return masked_message(super().__str__())


class ConfigurationError(ExpOpsPrefectError):
    """The project's settings are wrong. The message names file, key, the value found and the values allowed."""


class NameRefusedError(ExpOpsPrefectError, ValueError):
    """A name or key that may not be used."""


class BackendError(ExpOpsPrefectError):
    """A backend cannot do what it was asked (unreachable, full, denied, damaged).

    Attributes:
        lasting: whether it will fail until somebody acts: on a full disk, a file that is not a database, or a
            missing permission. Retrying is useless.
    """

    lasting: bool = False

    def for_long(self: _B, lasting: bool = True) -> _B:
        """Set :attr:`lasting` and return the error."""
        self.lasting = lasting
        return self


class KVError(BackendError):
    """The KV store failed."""


class KVRefusedError(KVError):
    """The KV store will never accept this key or value."""


class KVDamagedError(KVError):
    """The value under a key is not JSON.

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
    """The object store denies this permanently: no permission, no such bucket, no valid credentials."""

    lasting = True


class IntegrityError(ExpOpsPrefectError):
    """Stored bytes are missing, differ from what was written, or are malformed."""


class ResultNotLoadableError(IntegrityError):
    """A stored result is whole, but this process lacks what is needed to load it: a package, a class, a script."""


class FormatError(ExpOpsPrefectError):
    """A stored format or version that this release does not support."""


class FingerprintError(ExpOpsPrefectError, TypeError):
    """A value or a function that cannot be fingerprinted.

    Attributes:
        path: the location of the offending part in the value, for example ``config['lock']``.
        type_name: its qualified type.
        unread: the file that could not be read, with the reason, if the value contains one; else empty.
        reason: why, and what to pass instead; empty if an exception of another package is the reason.
    """

    def __init__(
        self, message: str, *, path: str = "", type_name: str = "", unread: str = "", reason: str = ""
    ) -> None:
        super().__init__(message)
        self.path = path
        self.type_name = type_name
        self.unread = unread
        self.reason = reason


class RunNotFoundError(ExpOpsPrefectError, LookupError):
    """No run matches a name, or several runs do.

    Attributes:
        near: records of similar runs, or of the runs that match.
    """

    def __init__(self, message: str, near: tuple[Any, ...] = ()) -> None:
        super().__init__(message)
        self.near = near


class ProcessNotFoundError(ExpOpsPrefectError, LookupError):
    """A run has no process or step of this name, or several calls match it."""


class ResultNotFoundError(ExpOpsPrefectError, LookupError):
    """No stored result matches a key, or several do."""


class ResultNotStoredError(ResultNotFoundError):
    """A result that was never stored in the project: the call failed, is not cached, or Prefect keeps its result."""


class ResultRemovedError(ResultNotFoundError):
    """A result that was stored, and removed or replaced since."""


class LeaseLostError(ExpOpsPrefectError):
    """A lease was taken over or removed before its holder renewed it."""


class ResultNotStorableError(ExpOpsPrefectError):
    """A result that cannot be pickled."""
