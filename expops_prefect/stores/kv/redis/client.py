"""The connection to Redis, with a time limit, and its errors translated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from expops_prefect._internal.diagnostics import suppress_repeats
from expops_prefect.errors import KVError, KVRefusedError

if TYPE_CHECKING:
    from pathlib import Path

_T = TypeVar("_T")
SECONDS: Final = 5.0
"""How long to wait for a connection, and for an answer."""
_IDLE: Final = 10
"""A connection that was idle for so many seconds is tried before it is used."""


@dataclass(frozen=True)
class Target:
    """A Redis server.

    Attributes:
        host: its host.
        port: its port.
        db: the number of the database.
        username: the user of an access list.
        password: the password.
        tls: whether to encrypt.
        ca_file: the certificates to trust, in place of the system's.
        sentinels: the addresses of sentinels, which know the server; ``host`` and ``port`` are not used then.
        service: the name under which the sentinels know it.
    """

    host: str = "localhost"
    port: int = 6379
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    ca_file: Path | None = None
    sentinels: tuple[tuple[str, int], ...] = ()
    service: str = ""

    def __str__(self) -> str:
        if self.sentinels:
            return f"Redis {self.service} (by sentinels), database {self.db}"
        return f"Redis {self.host}:{self.port}, database {self.db}"

    def connect(self) -> Any:
        """A client; it connects with its first command."""
        options: dict[str, Any] = {
            "db": self.db,
            "username": self.username,
            "password": self.password,
            "socket_timeout": SECONDS,
            "socket_connect_timeout": SECONDS,
            "health_check_interval": _IDLE,
            # Whether a command may be sent again depends on the command.
            "retry": Retry(NoBackoff(), 0),
        }
        if self.tls:
            options |= {"ssl": True, "ssl_ca_certs": None if self.ca_file is None else str(self.ca_file)}
        if self.sentinels:
            finder = redis.Sentinel(list(self.sentinels), sentinel_kwargs={"socket_timeout": SECONDS})
            return finder.master_for(self.service, **options)
        return redis.Redis(host=self.host, port=self.port, **options)


def call(target: Target, verb: str, command: Callable[[], _T], *, again: bool) -> _T:
    """Run a command.

    Args:
        target: the server, for messages.
        verb: what the command does, for messages.
        command: sends the command.
        again: send it a second time if the connection broke, because twice is the same as once.

    Raises:
        KVError: it failed.
    """
    try:
        return command()
    except (redis.ConnectionError, redis.TimeoutError) as error:
        if not again or isinstance(error, _DENIED):
            raise _translated(target, verb, error) from error
    except redis.RedisError as error:
        raise _translated(target, verb, error) from error
    try:
        return command()
    except redis.RedisError as error:
        raise _translated(target, verb, error) from error


_DENIED: Final = (redis.AuthenticationError, redis.exceptions.AuthorizationError)


def _translated(target: Target, verb: str, error: redis.RedisError) -> KVError:
    text = str(error).rstrip(".")
    what = f"cannot {verb} in {target}: {text}"
    if "overflow" in text:
        return KVRefusedError(f"{what}. A counter has 64 bits.")
    if isinstance(error, (*_DENIED, redis.exceptions.NoPermissionError)) or text.startswith(("NOAUTH", "WRONGPASS")):
        advice = "Check backend.username and backend.password, or MLOPS_REDIS_PASSWORD, and what the user may do."
        suppress_repeats(f"{text}. {advice}")
        return KVError(f"{what}. {advice}").for_long()
    if isinstance(error, redis.ReadOnlyError):
        return KVError(f"{what}. It is a replica that only reads: name the primary, or its sentinels.")
    if isinstance(error, redis.exceptions.OutOfMemoryError) or text.startswith("OOM"):
        return KVError(f"{what}. Give it more memory, or remove old records: expops-prefect cache gc.")
    if isinstance(error, redis.exceptions.ClusterError) or text.startswith(("MOVED", "CROSSSLOT")):
        advice = "A Redis Cluster cannot write several keys at once; use a single server, or sentinels."
        return KVError(f"{what}. {advice}").for_long()
    if isinstance(error, (redis.ConnectionError, redis.TimeoutError)):
        return KVError(f"{what}. Is the server running, and can this machine reach it?")
    return KVError(what)
