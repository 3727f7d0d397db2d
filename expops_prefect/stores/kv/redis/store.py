"""The KV store on Redis, in the keys that ExpOps' own adapter reads.

Every write is one script, which Redis runs as a whole. :mod:`expops_prefect.stores.kv.redis.layout` locates keys.
Records have no time to live.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from expops_prefect._internal.diagnostics import degrade
from expops_prefect.errors import KVError
from expops_prefect.stores.kv.base import JSON, MetricPoint, Versioned
from expops_prefect.stores.kv.encoding import check_counter, check_key, check_series, merge_points, successor
from expops_prefect.stores.kv.redis import scripts
from expops_prefect.stores.kv.redis.client import Target, call
from expops_prefect.stores.kv.redis.layout import Layout, Slot, from_text, to_text

if TYPE_CHECKING:
    from expops_prefect.stores.kv.base import Erasable, KVStore

_T = TypeVar("_T")
_PAGE: Final = 500
_UPDATE_SECONDS: Final = 10.0


class RedisKV:
    """A :class:`~expops_prefect.stores.kv.base.KVStore` in one database of a Redis server, 6.2 or newer.

    The version from :meth:`get_versioned` is the stored text itself, as in SQLite.

    Args:
        project_id: separates the keys of projects.
        target: the server.
    """

    def __init__(self, project_id: str, target: Target) -> None:
        self._start(project_id, target)

    def __getstate__(self) -> tuple[str, Target]:
        return self._project_id, self._target

    def __setstate__(self, state: tuple[str, Target]) -> None:
        self._start(*state)

    def _start(self, project_id: str, target: Target) -> None:
        self._project_id = project_id
        self._target = target
        self._layout = Layout(project_id)
        self._clients: dict[int, Any] = {}

    def __repr__(self) -> str:
        return f"RedisKV({self._project_id!r}, {str(self._target)!r})"

    # Reads -------------------------------------------------------------------------------------

    def get(self, key: str) -> JSON | None:
        """See :meth:`KVStore.get`."""
        return self.get_many((key,)).get(key)

    def get_many(self, keys: Sequence[str]) -> dict[str, JSON]:
        """See :meth:`KVStore.get_many`. One request."""
        return {key: from_text(key, text) for key, text in self._texts(keys).items()}

    def get_versioned(self, key: str) -> Versioned | None:
        """See :meth:`KVStore.get_versioned`."""
        text = self._texts((key,)).get(key)
        return None if text is None else Versioned(from_text(key, text), text.decode(errors="surrogateescape"))

    def scan(self, prefix: str, *, after: str | None = None, limit: int | None = None) -> Iterator[tuple[str, JSON]]:
        """See :meth:`KVStore.scan`. Reads pages."""
        check_key(prefix)
        lower = f"({after}" if after is not None and after >= prefix else f"[{prefix}"
        upper = successor(prefix)
        left = limit
        while left is None or left > 0:
            size = _PAGE if left is None else min(_PAGE, left)
            keys = self._keys(lower, "+" if upper is None else f"({upper}", size)
            found = self._texts(keys)
            yield from ((key, from_text(key, found[key])) for key in keys if key in found)
            if len(keys) < size:
                return
            lower = f"({keys[-1]}"
            # Those that Redis has evicted do not count.
            left = None if left is None else left - len(found)

    def _keys(self, lower: str, upper: str, size: int) -> list[str]:
        bounds = lower.encode(), upper.encode()
        found = self._call(
            "scan", lambda client: client.zrangebylex(self._layout.index, *bounds, start=0, num=size), again=True
        )
        return [key.decode() for key in found]

    def _texts(self, keys: Sequence[str]) -> dict[str, bytes]:
        slots = [self._layout.slot(key) for key in keys]
        if not slots:
            return {}

        more = [part for slot in slots for part in (slot.key, slot.field)]
        texts, evicted = self._run("read", scripts.READ, slots, more, again=True)
        if evicted:
            self._warn_of_evicted(evicted[0].decode())
        return {slot.key: text for slot, text in zip(slots, texts, strict=True) if text is not None}

    def _warn_of_evicted(self, key: str) -> None:
        degrade(
            "records evicted",
            f"{self._target} has removed {key} by itself (maxmemory-policy {self.eviction_policy()}): its results "
            "are computed again. Set maxmemory-policy to noeviction",
            key=str(self._target),
        )

    def eviction_policy(self) -> str:
        """What Redis removes when its memory is full; ``noeviction`` if nothing."""
        found = self._call("read", lambda client: client.info("memory"), again=True)
        return str(found.get("maxmemory_policy", "unknown"))

    # Writes ------------------------------------------------------------------------------------

    def put(self, key: str, value: JSON) -> None:
        """See :meth:`KVStore.put`."""
        self.put_many({key: value})

    def put_many(self, values: Mapping[str, JSON]) -> None:
        """See :meth:`KVStore.put_many`. One script."""
        slots = [self._layout.slot(key) for key in values]
        more = [part for slot in slots for part in (slot.key, slot.field, to_text(slot.key, values[slot.key]))]
        if slots:
            self._run("write", scripts.WRITE, slots, more, again=True)

    def create(self, key: str, value: JSON) -> bool:
        """See :meth:`KVStore.create`."""
        return self._swap(self._layout.slot(key), to_text(key, value), None)

    def compare_and_set(self, key: str, version: str, value: JSON) -> bool:
        """See :meth:`KVStore.compare_and_set`."""
        return self._swap(self._layout.slot(key), to_text(key, value), version)

    def _swap(self, slot: Slot, text: str, old: str | None) -> bool:
        condition = ("absent", "") if old is None else ("same", old)
        return bool(self._run("write", scripts.SWAP, [slot], [slot.key, slot.field, text, *condition], again=False))

    def update(self, key: str, change: Callable[[JSON | None], JSON]) -> JSON:
        """See :meth:`KVStore.update`."""
        deadline, pause = time.monotonic() + _UPDATE_SECONDS, 0.001
        while True:
            found = self.get_versioned(key)
            value = change(None if found is None else found.value)
            text = to_text(key, value)
            if self._swap(self._layout.slot(key), text, None if found is None else found.version):
                return from_text(key, text.encode())
            if time.monotonic() > deadline:
                raise KVError(f"cannot write {key}: other writers kept changing it; try again, or write it less often")
            time.sleep(random.SystemRandom().uniform(0, pause))
            pause = min(pause * 1.7, 0.2)

    def delete(self, key: str) -> bool:
        """See :meth:`KVStore.delete`."""
        return self.delete_many((key,)) == 1

    def delete_many(self, keys: Sequence[str]) -> int:
        """See :meth:`KVStore.delete_many`. One script for up to 500 keys."""
        left = list(dict.fromkeys(keys))
        count = 0
        for start in range(0, len(left), _PAGE):
            slots = [self._layout.slot(key) for key in left[start : start + _PAGE]]
            more = [part for slot in slots for part in (slot.key, slot.field)]
            count += int(self._run("delete", scripts.DELETE, slots, more, again=False))
        return count

    def increment(self, key: str, amount: int = 1, *, token: str | None = None) -> int:
        """See :meth:`KVStore.increment`. Tokens are a set beside each counter."""
        slot = self._layout.slot(key)
        tokens = Slot(key, self._layout.tokens_prefix + key)
        more = [slot.key, slot.field, str(amount), check_key(token or "")]
        found = self._run("count", scripts.ADD, [slot, tokens], more, again=token is not None)
        if found == b"no number":
            return check_counter(key, self.get(key))
        return int(found)

    def append_metrics(self, key: str, points: Iterable[MetricPoint]) -> None:
        """See :meth:`KVStore.append_metrics`. One text holds all series of a path: ExpOps reads it whole."""
        batch = list(points)
        if batch:
            self.update(key, lambda value: merge_points(check_series(key, value), batch))

    # Life --------------------------------------------------------------------------------------

    def ping(self) -> None:
        """See :meth:`KVStore.ping`."""
        key = f"expops_prefect:ping:{secrets.token_hex(8)}"
        self.put(key, 1)
        if self.get(key) != 1 or not self.delete(key):
            raise KVError(f"{self._target} does not keep what is written to it")

    def erase(self) -> int:
        """See :meth:`Erasable.erase`."""
        count = 0
        while keys := self._keys("-", "+", _PAGE):
            self.delete_many(keys)
            count += len(keys)

        def rest(client: Any) -> None:
            pattern = _literal(self._layout.tokens_prefix) + "*"
            for name in (*client.scan_iter(match=pattern, count=1000), self._layout.index):
                client.delete(name)

        self._call("delete", rest, again=True)
        return count

    def close(self) -> None:
        """See :meth:`KVStore.close`."""
        client = self._clients.pop(os.getpid(), None)
        if client is not None:
            client.close()

    def describe(self) -> str:
        """See :meth:`KVStore.describe`."""
        return str(self._target)

    def _run(self, verb: str, script: str, slots: Sequence[Slot], more: Sequence[str], *, again: bool) -> Any:
        keys = [self._layout.index, *(slot.name for slot in slots)]
        arguments = [part.encode(errors="surrogateescape") for part in more]
        return self._call(verb, lambda client: client.register_script(script)(keys=keys, args=arguments), again=again)

    def _call(self, verb: str, command: Callable[[Any], _T], *, again: bool) -> _T:
        # A forked child connects by itself: it shares no socket.
        pid = os.getpid()
        client = self._clients.get(pid)
        if client is None:
            client = self._clients.setdefault(pid, self._target.connect())
        return call(self._target, verb, lambda: command(client), again=again)


def _literal(text: str) -> str:
    """A text as a pattern of Redis that matches only itself."""
    return "".join(f"\\{sign}" if sign in "*?[]\\" else sign for sign in text)


if TYPE_CHECKING:
    _conforms: type[KVStore] = RedisKV
    _erasable: type[Erasable] = RedisKV
