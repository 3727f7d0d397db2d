"""The configuration of the KV store on Redis."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from expops_prefect.errors import ConfigurationError, KVError
from expops_prefect.stores.kv.base import KVStore
from expops_prefect.stores.section import Section
from expops_prefect.stores.settings import Check, ForExpOps, KVSettings, Place

if TYPE_CHECKING:
    from expops_prefect.stores.kv.redis.client import Target

HOST = "MLOPS_REDIS_HOST"
PORT = "MLOPS_REDIS_PORT"
DB = "MLOPS_REDIS_DB"
PASSWORD = "MLOPS_REDIS_PASSWORD"  # noqa: S105 - the name of a variable
_KEYS = ("host", "port", "db", "username", "password", "tls", "ca_file", "sentinels", "service")
# Keys of other types, which may stay when the type is changed; Cloud Storage uses the first.
_OTHERS = ("credentials_json", "gcp_project", "emulator_host", "path", "db_path")
_WEB = ("firebase_api_key", "firebase_api_key_file")


class RedisSettings(KVSettings):
    """``type: redis``: a server of version 6.2 or newer, or sentinels that know one.

    Attributes:
        host: the server's host.
        port: its port.
        db: the number of the database.
        username: the user of an access list.
        password: the password.
        tls: whether to encrypt.
        ca_file: the certificates to trust, in place of the system's.
        sentinels: ``host:port`` of each sentinel.
        service: the name under which the sentinels know the server.
    """

    kind: ClassVar[str] = "redis"
    title: ClassVar[str] = "Redis"
    environment: ClassVar[tuple[str, ...]] = (HOST, PORT, DB, PASSWORD)

    host: str = "localhost"
    port: int = 6379
    db: int = 0
    username: str | None = None
    password: str | None = Field(default=None, repr=False)
    tls: bool = False
    ca_file: Path | None = None
    sentinels: tuple[tuple[str, int], ...] = ()
    service: str = ""

    @classmethod
    def configured(cls, section: Section) -> RedisSettings:
        """See :meth:`StoreSettings.configured`. As with ExpOps, what the section names precedes the environment."""
        unknown = next((name for name in section.values if name not in (*_KEYS, *_OTHERS, *_WEB)), None)
        if unknown is not None:
            raise section.wrong(unknown, section.values[unknown], f"only {', '.join(_KEYS)}")
        tls = section.values.get("tls", False)
        if not isinstance(tls, bool):
            raise section.wrong("tls", tls, "true, false")
        host, ca_file = section.get("host") or section.environment(HOST), section.get("ca_file")
        username, service = section.get("username"), section.get("service")
        password = section.get("password") or section.environment(PASSWORD)
        sentinels = _addresses(section)
        if bool(sentinels) != (service is not None):
            raise section.wrong("service", None if service is None else service.value, "together with sentinels")
        return cls(
            host=host.value if host else "localhost",
            port=_number(section, "port", PORT, 6379, 65535),
            db=_number(section, "db", DB, 0, 1 << 20),
            username=username.value if username else None,
            password=password.value if password else None,
            tls=tls,
            ca_file=ca_file.below(section.root) if ca_file else None,
            sentinels=sentinels,
            service=service.value if service else "",
        )

    def open(self, place: Place) -> KVStore:
        """See :meth:`KVSettings.open`."""
        if find_spec("redis") is None:
            raise ConfigurationError(
                f"{place.config_file}: experiment.cache.backend.type is redis, which needs the package redis: "
                "pip install 'expops-prefect[redis]'"
            )
        from expops_prefect.stores.kv.redis.store import RedisKV

        return RedisKV(place.project_id, self._target())

    def _target(self) -> Target:
        from expops_prefect.stores.kv.redis.client import Target

        named = {name: getattr(self, name) for name in _KEYS}
        return Target(**named)

    def checks(self) -> Iterator[Check]:
        """See :meth:`StoreSettings.checks`: whether Redis keeps what is written to it."""
        from expops_prefect.stores.kv.redis.store import RedisKV

        store = RedisKV("", self._target())
        try:
            policy = store.eviction_policy()
        except KVError:
            return  # the entry that doctor writes says so
        finally:
            store.close()
        kept = policy == "noeviction"
        advice = "" if kept else "set maxmemory-policy to noeviction, or results are computed again when memory is full"
        yield Check("Redis memory", "ok" if kept else "warning", f"maxmemory-policy is {policy}", advice)

    def for_expops(self) -> ForExpOps | None:
        """See :meth:`StoreSettings.for_expops`. ExpOps knows neither users, nor encryption, nor sentinels."""
        if self.username or self.tls or self.sentinels:
            return None
        section = {"type": "redis", "host": self.host, "port": self.port, "db": self.db}
        return ForExpOps(section, {PASSWORD: self.password} if self.password else {})


def _number(section: Section, name: str, variable: str, default: int, most: int) -> int:
    value, given = section.values.get(name), section.environment(variable)
    if value is None and given is not None:
        if not given.value.isdecimal() or int(given.value) > most:
            raise given.wrong(f"a number up to {most}")
        return int(given.value)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise section.wrong(name, value, f"a number up to {most}")
    return value


def _addresses(section: Section) -> tuple[tuple[str, int], ...]:
    value = section.values.get("sentinels")
    if value is None:
        return ()
    found = []
    for address in value if isinstance(value, list) else [None]:
        host, _, port = str(address).rpartition(":")
        if not isinstance(address, str) or not host or not port.isdecimal():
            raise section.wrong("sentinels", value, "a list of host:port")
        found.append((host, int(port)))
    return tuple(found)
