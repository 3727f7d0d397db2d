"""A KV store in one JSON file, which each operation reads and writes as a whole, under a lock."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from expops_prefect.errors import KVError
from expops_prefect.stores.kv.base import JSON, MetricPoint, Versioned
from expops_prefect.stores.kv.encoding import check_counter, check_key, check_series, dump, load, merge_points


@dataclass
class Content:
    """JSON texts by key, and the tokens of additions by key."""

    values: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, list[str]] = field(default_factory=dict)

    def get(self, key: str) -> JSON | None:
        text = self.values.get(check_key(key))
        return None if text is None else load(key, text)

    def put(self, key: str, value: JSON) -> None:
        self.values[check_key(key)] = dump(value)


class ShelfKV:
    """The store.

    Args:
        folder: where its two files are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def file(self) -> Path:
        return self.folder / "kv.json"

    @contextmanager
    def _locked(self, *, write: bool = False) -> Iterator[Content]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / "lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX if write else fcntl.LOCK_SH)
                content = Content(**json.loads(self.file.read_text())) if self.file.exists() else Content()
                yield content
                if write:
                    new = self.file.with_suffix(".new")
                    new.write_text(json.dumps({"values": content.values, "tokens": content.tokens}))
                    new.replace(self.file)
        except OSError as error:
            raise KVError(f"the shelf {self.folder} cannot be used: {error}; is it mounted?") from error

    def get(self, key: str) -> JSON | None:
        return self.get_many([key]).get(key)

    def get_many(self, keys: Sequence[str]) -> dict[str, JSON]:
        with self._locked() as content:
            found = {key: content.get(key) for key in keys}
        return {key: value for key, value in found.items() if value is not None}

    def get_versioned(self, key: str) -> Versioned | None:
        with self._locked() as content:
            value = content.get(key)
            return None if value is None else Versioned(value, content.values[key])

    def put(self, key: str, value: JSON) -> None:
        self.put_many({key: value})

    def put_many(self, values: Mapping[str, JSON]) -> None:
        with self._locked(write=True) as content:
            for key, value in values.items():
                content.put(key, value)

    def create(self, key: str, value: JSON) -> bool:
        with self._locked(write=True) as content:
            if check_key(key) in content.values:
                dump(value)
                return False
            content.put(key, value)
            return True

    def compare_and_set(self, key: str, version: str, value: JSON) -> bool:
        text = dump(value)
        with self._locked(write=True) as content:
            same = content.values.get(check_key(key)) == version
            if same:
                content.values[key] = text
            return same

    def update(self, key: str, change: Callable[[JSON | None], JSON]) -> JSON:
        with self._locked(write=True) as content:
            value = change(content.get(key))
            content.put(key, value)
            return value

    def delete(self, key: str) -> bool:
        return self.delete_many([key]) == 1

    def delete_many(self, keys: Sequence[str]) -> int:
        with self._locked(write=True) as content:
            return sum(content.values.pop(check_key(key), None) is not None for key in keys)

    def increment(self, key: str, amount: int = 1, *, token: str | None = None) -> int:
        with self._locked(write=True) as content:
            value = check_counter(key, content.get(key))
            known = content.tokens.setdefault(key, [])
            if token is not None and token in known:
                return value
            known += [] if token is None else [token]
            content.put(key, value + amount)
            return value + amount

    def append_metrics(self, key: str, points: Iterable[MetricPoint]) -> None:
        batch = list(points)
        if batch:
            self.update(key, lambda value: merge_points(check_series(key, value), batch))

    def scan(self, prefix: str, *, after: str | None = None, limit: int | None = None) -> Iterator[tuple[str, JSON]]:
        check_key(prefix)
        with self._locked() as content:
            keys = sorted(key for key in content.values if key.startswith(prefix) and (after is None or key > after))
            found = [(key, content.get(key)) for key in keys[:limit]]
        yield from found

    def ping(self) -> None:
        key = f"ping {os.getpid()}"
        self.put(key, 1)
        self.delete(key)

    def close(self) -> None:
        """Nothing stays open."""

    def describe(self) -> str:
        return f"shelf {self.folder}"
