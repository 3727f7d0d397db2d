"""What differs between the clouds: how to open a client, what a stamp holds, what an error means."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar, Final

from expops_prefect.errors import ObjectStoreError

_PAUSE: Final = {"init_backoff": timedelta(seconds=0.25), "max_backoff": timedelta(seconds=3), "base": 2}
_CONNECTING: Final = 10.0
_RETRIES: Final = 20


@dataclass(frozen=True)
class Service(ABC):
    """A bucket or container, with everything that is needed to reach it.

    Attributes:
        bucket: its name.
        endpoint: the URL of a server other than the cloud's own.
        title: the service's name in messages.
        noun: what the service calls a bucket.
        scheme: the start of the addresses of its objects.
        needs: the permissions that the store needs, for messages.
        tags_are_unique: each write makes a new entity tag. Otherwise the tag depends on the bytes alone.
        copies_onto_itself: an object can be its own copy.
    """

    title: ClassVar[str]
    noun: ClassVar[str]
    scheme: ClassVar[str]
    needs: ClassVar[str]
    tags_are_unique: ClassVar[bool]
    copies_onto_itself: ClassVar[bool]

    bucket: str
    endpoint: str | None = field(default=None, kw_only=True)

    def open(self, timeout: float, *, again: float) -> Any:
        """A client of obstore.

        Args:
            timeout: seconds for a request.
            again: seconds for which a request that failed is sent again.

        Raises:
            ObjectStoreError: the credentials cannot be used.
        """
        client = {
            "timeout": timedelta(seconds=timeout),
            "connect_timeout": timedelta(seconds=min(timeout, _CONNECTING)),
            "allow_http": self.endpoint is not None and self.endpoint.startswith("http://"),
        }
        retries = {
            "max_retries": _RETRIES if again else 0,
            "retry_timeout": timedelta(seconds=again),
            "backoff": _PAUSE,
        }
        options: dict[str, Any] = {"client_options": client, "retry_config": retries}
        failure = None
        try:
            return self._client(options)
        except ObjectStoreError:
            raise
        except Exception as error:  # noqa: BLE001 - obstore's, boto3's; their texts may hold what was configured
            failure = type(error).__name__
        raise ObjectStoreError(f"the {self.noun} {self} cannot be opened ({failure}); {self.login()}")

    @abstractmethod
    def _client(self, options: dict[str, Any]) -> Any:
        """Make a client with these options."""

    @abstractmethod
    def login(self) -> str:
        """How to give the store credentials."""

    @abstractmethod
    def explained(self, status: int | None, code: str, text: str) -> tuple[str, bool] | None:
        """What an error of this cloud means and what to do, and whether it stays until somebody changes something.

        Args:
            status: the HTTP status.
            code: the cloud's own name of the error.
            text: the whole error, which must not be shown.
        """

    def __str__(self) -> str:
        return self.bucket
