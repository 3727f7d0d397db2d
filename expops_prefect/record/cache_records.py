"""Cache records: the cached results in the KV store, and how to read and write them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import PurePath
from typing import Final, Literal

import orjson

from expops_prefect._internal.formatting import moment
from expops_prefect.errors import FormatError
from expops_prefect.models import names
from expops_prefect.models.record_format import PLAIN_FORMAT, load
from expops_prefect.stores.kv import tolerant_reads
from expops_prefect.stores.kv.base import JSON, KVStore


@dataclass(frozen=True, slots=True)
class StoredPayload:
    """One payload of a result: object key, digest and size in bytes, and its stamp at the last verification."""

    key: str
    digest: str
    size: int
    stamp: str


@dataclass(frozen=True, slots=True)
class Output:
    """Metrics or charts of a computation: a path relative to its own (``""`` is its own)."""

    path: str
    metrics: bool
    charts: bool


OWN_SERIALIZER: Final = "expops"
"""The serializer type in Prefect's metadata of a manifest."""
COMPLETED: Final = "completed"
"""The status of a result that can be a hit."""
KEPT: Final = "kept"
"""The status of a result that is never a hit, such as ``None``; it is kept for references to it."""


@dataclass(frozen=True, slots=True)
class CacheRecord:
    """A cached result, stored in the KV store under ``process:<P>:<inputs>:<config>:<function>``.

    ExpOps' own readers need ``status`` (``completed`` or ``kept``) and ``cache_path``. Times are
    epoch seconds.
    """

    status: str
    cache_path: str
    run_id: str
    path: str
    """The probe path of the call that computed it."""
    started_at: float
    ended_at: float
    execution_time: float
    object_key: str
    digest: str
    size: int
    """Bytes of the manifest and payloads together."""
    stamp: str
    kind: Literal["packed", "raw"]
    """``packed``: a manifest of this package; ``raw``: bytes of another serializer."""
    payloads: tuple[StoredPayload, ...] = ()
    outputs: tuple[Output, ...] = ()
    prefect_metadata: str | None = None
    """Prefect's own metadata of the result, as JSON."""
    expires_at: float | None = None
    host: str = ""
    task_run_id: str | None = None
    no_hit: str = ""
    """Why a kept result is not a hit: ``none``, ``state`` or ``failed``."""
    parts: str | None = None
    """The components of its inputs and configuration, as JSON; for comparisons with other keys."""
    sources_size: int = 0
    """Bytes of the object with the components of its code; 0 if there is none."""
    inline: str | None = None
    """A small manifest itself, base64. Its ``digest`` counts as for the object, which may be written later."""
    files: bool = False
    """Whether the result names files that existed when it was stored: it is a hit only while they exist."""
    below_root: str = ""
    """A digest of the project's location, if the result names paths below it: not a hit in another checkout."""
    stands: str = ""
    """The fingerprints of the result as returned and as loaded, where they differ; see
    :mod:`expops_prefect.fingerprint.original_forms`."""
    watched: bool = False
    """Whether its body was watched while it ran, so that the dependencies are complete."""
    proven: bool = False
    """Whether its code was fully resolved without effects: then an equal call of the same run may use it."""
    computed_in: str = ""
    """The run and its attempt that computed it."""
    dependencies: str = ""
    """What it was read from, as JSON; see :mod:`expops_prefect.effects.dependencies`. Format 2 if there are any."""
    effects: str = ""
    """The effects of its body, as JSON, if the user had it cached nevertheless."""
    generators: str = ""
    """The states of the global generators that its body seeded, as JSON; a hit restores them."""
    file_list: str = ""
    """The files and folders that a hit puts back: their list, or the key of the payload that holds it; see
    :mod:`expops_prefect.record.file_lists`. Format 3 if there are any."""
    format: int = PLAIN_FORMAT

    def held(self) -> bytes | None:
        """The manifest, if the record holds it; compare its digest before you use it."""
        try:
            return None if self.inline is None else base64.b64decode(self.inline)
        except (TypeError, ValueError):
            return b""  # matches no digest

    @property
    def is_whole(self) -> bool:
        """Whether the record holds the complete result."""
        return self.inline is not None and not self.payloads

    @property
    def names_results_only(self) -> bool:
        """Whether its objects are named by their digests: only such objects are written or deleted for it."""
        named = [(item.key, item.digest) for item in self.payloads]
        if self.object_key:
            named.append((self.object_key, self.digest))
        return all(names.content_digest(key) == digest for key, digest in named)

    def dump(self) -> dict[str, JSON]:
        """The JSON form."""
        # Every stored task run passes here, and asdict copies each value deeply.
        value: dict[str, JSON] = {name: getattr(self, name) for name in self.__slots__}
        value["payloads"] = [asdict(payload) for payload in self.payloads]
        value["outputs"] = [asdict(output) for output in self.outputs]
        return value

    @classmethod
    def load(cls, value: JSON) -> CacheRecord:
        """Read the JSON form back.

        Raises:
            FormatError: not a record of this package, or one of a newer release.
        """
        return load(cls, value, "cache record")


def read_cache_record(kv: KVStore, key: names.CacheKey) -> CacheRecord | None:
    """The cache record under a key; ``None`` also for a damaged one, and for one of a newer release.

    Raises:
        KVError: the store failed.
    """
    value = tolerant_reads.get(kv, key.record_key)
    try:
        return None if value is None else CacheRecord.load(value)
    except FormatError:
        return None


def read_cache_records(
    kv: KVStore, *, beginning: str = "", after: str | None = None, limit: int | None = None
) -> Iterator[tuple[names.CacheKey, CacheRecord]]:
    """Cache records by KV key; skips foreign and newer ones.

    Args:
        kv: the project's store.
        beginning: only records whose task name starts with this; others are not read.
        after: only records whose ``record_key`` is greater.
        limit: look at no more keys than this.
    """
    for key, value in tolerant_reads.scan(kv, names.process_record_prefix(beginning), after=after, limit=limit):
        parsed = parse_record_key(key)
        if parsed is None:
            continue
        try:
            yield parsed, CacheRecord.load(value)
        except FormatError:
            continue


def parse_record_key(key: str) -> names.CacheKey | None:
    """The cache key of a ``process:`` KV key; ``None`` for any other key."""
    body, _, function = key.rpartition(":")
    body, _, config = body.rpartition(":")
    body, _, inputs = body.rpartition(":")
    path = names.parse_path(body.removeprefix(names.PROCESS_RECORD_PREFIX))
    if path is None or path.layers or path.step is not None:
        return None
    return names.CacheKey.parse(f"{path.process}/{inputs}/{config}/{function}")


@dataclass(frozen=True, slots=True)
class Removal:
    """The last removal of a record: when (epoch seconds), and by which command."""

    at: float
    how: str

    @property
    def text(self) -> str:
        """For people: ``invalidated at 2026-11-25 03:11:21 UTC (cache invalidate)``."""
        return f"{self.how} at {moment(self.at)} ({_COMMANDS.get(self.how, 'cache')})"


_COMMANDS: Final = {"invalidated": "cache invalidate", "collected": "cache gc", "repaired": "cache verify --repair"}


def read_removal(kv: KVStore, key: names.CacheKey) -> Removal | None:
    """The last removal of the record under a key; ``None`` if none is known.

    Raises:
        KVError: the store failed.
    """
    value = tolerant_reads.get(kv, names.removed_key(key.record_key))
    at = value.get("at") if isinstance(value, dict) else None
    return (
        Removal(float(at), str(value.get("how"))) if isinstance(value, dict) and isinstance(at, int | float) else None
    )


def leads_to(metadata: str, record: CacheRecord, key: str | None) -> bool:
    """Whether Prefect's metadata point to the result of a transaction key.

    Args:
        metadata: Prefect's metadata in the record, as JSON.
        record: the record.
        key: the transaction key; ``None`` if unknown.
    """
    try:
        known = orjson.loads(metadata)
        kind, place = known["serializer"]["type"], known["storage_key"]
    except (ValueError, KeyError, TypeError):
        return False
    # A manifest is only for this package's serializer; another one could not read it.
    if not isinstance(kind, str) or not isinstance(place, str) or (record.kind == "packed" and kind != OWN_SERIALIZER):
        return False
    return key is None or is_place_of(place, key)


def is_place_of(place: str, key: str) -> bool:
    """Whether a storage key is a transaction key, or that key below the folder of a storage block."""
    parts = PurePath(key).parts
    return place == key or PurePath(place).parts[-len(parts) :] == parts


def foreign_record_key(key: str) -> str:
    """The KV key for a foreign transaction key (of another policy, or a failed task's uuid)."""
    return f"{names.FOREIGN_RECORD_PREFIX}{hashlib.blake2b(key.encode(), digest_size=32).hexdigest()}"


def expiry(record: CacheRecord, ttl: timedelta | None) -> float | None:
    """When a result expires, epoch seconds; ``None`` for never.

    Args:
        record: its record.
        ttl: the configured lifetime for results of its process.
    """
    ends = [] if record.expires_at is None else [record.expires_at]
    if ttl is not None:
        ends.append(record.ended_at + ttl.total_seconds())
    return min(ends, default=None)


def is_whole(value: object) -> bool:
    """Whether a stored record holds its complete result, and no files belong to it."""
    return (
        isinstance(value, dict)
        and value.get("inline") is not None
        and not value.get("payloads")
        and (not value.get("file_list"))
    )
