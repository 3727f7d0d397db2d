"""Cache records: the results that the KV store knows. Reading and writing them, and nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import PurePath
from typing import Final, Literal

import orjson

from expops_prefect.errors import FormatError
from expops_prefect.models import names
from expops_prefect.models.record_format import PLAIN_FORMAT, load
from expops_prefect.stores.kv import tolerant_reads
from expops_prefect.stores.kv.base import JSON, KVStore


@dataclass(frozen=True, slots=True)
class StoredPayload:
    """One payload of a result: object key, digest and size in bytes, and the stamp it was last verified with."""

    key: str
    digest: str
    size: int
    stamp: str


@dataclass(frozen=True, slots=True)
class Output:
    """Where a computation left metrics or charts: a path relative to its own (``""`` is its own)."""

    path: str
    metrics: bool
    charts: bool


OWN_SERIALIZER: Final = "expops"
"""The type of serializer that Prefect's metadata name for a manifest."""
COMPLETED: Final = "completed"
"""A result that is a hit."""
KEPT: Final = "kept"
"""A result that is no hit, such as ``None``: it is there for whoever holds a reference to it."""


@dataclass(frozen=True, slots=True)
class CacheRecord:
    """One cached result, as it stands in the KV store under ``process:<P>:<inputs>:<config>:<function>``.

    ``status`` (``completed`` or ``kept``) and ``cache_path`` are what ExpOps' own readers need. Times are
    epoch seconds.
    """

    status: str
    cache_path: str
    run_id: str
    path: str
    """The probe path under which it was computed."""
    started_at: float
    ended_at: float
    execution_time: float
    object_key: str
    digest: str
    size: int
    """Bytes of manifest and payloads together."""
    stamp: str
    kind: Literal["packed", "raw"]
    """``packed``: a manifest of ours; ``raw``: bytes of another serializer."""
    payloads: tuple[StoredPayload, ...] = ()
    outputs: tuple[Output, ...] = ()
    prefect_metadata: str | None = None
    """Prefect's own metadata of the result, JSON."""
    expires_at: float | None = None
    host: str = ""
    task_run_id: str | None = None
    no_hit: str = ""
    """Why a result that is kept is no hit: ``none``, ``state`` or ``failed``."""
    parts: str | None = None
    """What its inputs and configuration were made of, JSON; for comparisons with other keys."""
    sources_size: int = 0
    """Bytes of the object that says the same of its code; 0 for none."""
    inline: str | None = None
    """A small manifest itself, base64. It counts by ``digest`` as the object does, which then may come later."""
    files: bool = False
    """Whether the result names files that were there when it was stored: without them it is no hit."""
    below_root: str = ""
    """Where the project lay, as a digest, if the result names paths below it: in another checkout it is no hit."""
    stands: str = ""
    """The forms of the result as it was returned and as it is loaded, where these differ; see
    :mod:`expops_prefect.fingerprint.standing`."""
    watched: bool = False
    """Whether its body was watched while it ran, so that everything that it read is among the dependencies."""
    proven: bool = False
    """Whether its code was resolved completely and nothing was seen: an equal call of the same run may have it."""
    computed_in: str = ""
    """The run, and the attempt at it, that computed it."""
    dependencies: str = ""
    """What it was read from, JSON; see :mod:`expops_prefect.effects.dependencies`. Format 2 if there are any."""
    effects: str = ""
    """What its body did beside computing, JSON, where the user had it cached all the same."""
    generators: str = ""
    """The states in which its body left the global generators that it seeded, JSON; a hit leaves them so, too."""
    format: int = PLAIN_FORMAT

    def held(self) -> bytes | None:
        """The manifest, as far as it stands in the record itself; whoever uses it compares its digest."""
        try:
            return None if self.inline is None else base64.b64decode(self.inline)
        except (TypeError, ValueError):
            return b""  # of no digest

    @property
    def is_whole(self) -> bool:
        """Whether the result stands in the record with all its parts."""
        return self.inline is not None and not self.payloads

    @property
    def names_results_only(self) -> bool:
        """Whether its objects are manifests and payloads of their digests: only such are written or deleted for it."""
        named = [(item.key, item.digest) for item in self.payloads]
        if self.object_key:
            named.append((self.object_key, self.digest))
        return all(names.content_digest(key) == digest for key, digest in named)

    def dump(self) -> dict[str, JSON]:
        """The JSON form."""
        # Every task run that is stored takes this way, and asdict copies each value deeply.
        value: dict[str, JSON] = {name: getattr(self, name) for name in self.__slots__}
        value["payloads"] = [asdict(payload) for payload in self.payloads]
        value["outputs"] = [asdict(output) for output in self.outputs]
        return value

    @classmethod
    def load(cls, value: JSON) -> CacheRecord:
        """Read the JSON form back.

        Raises:
            FormatError: not a record of ours, or one of a newer release.
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
    """Cache records by KV key; foreign and newer ones are left out.

    Args:
        kv: the project's store.
        beginning: only those whose task's name starts with this; others are not read.
        after: only those whose ``record_key`` is greater.
        limit: look at most at so many keys.
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


def leads_to(metadata: str, record: CacheRecord, key: str | None) -> bool:
    """Whether Prefect's metadata of a result can be followed to the result of a transaction key.

    Args:
        metadata: what a record has of Prefect's, JSON.
        record: the record.
        key: the transaction key; ``None`` if it is not known.
    """
    try:
        known = orjson.loads(metadata)
        kind, place = known["serializer"]["type"], known["storage_key"]
    except (ValueError, KeyError, TypeError):
        return False
    # A manifest is for our serializer alone; another one would be given its envelope's label.
    if not isinstance(kind, str) or not isinstance(place, str) or (record.kind == "packed" and kind != OWN_SERIALIZER):
        return False
    return key is None or is_place_of(place, key)


def is_place_of(place: str, key: str) -> bool:
    """Whether a storage key is a transaction key, or that key below the folder of a storage."""
    parts = PurePath(key).parts
    return place == key or PurePath(place).parts[-len(parts) :] == parts


def foreign_record_key(key: str) -> str:
    """The KV key for a transaction key that is not ours (another policy's, a failed task's uuid)."""
    return f"{names.FOREIGN_RECORD_PREFIX}{hashlib.blake2b(key.encode(), digest_size=32).hexdigest()}"


def expiry(record: CacheRecord, ttl: timedelta | None) -> float | None:
    """When a result expires, epoch seconds; ``None`` for never.

    Args:
        record: its record.
        ttl: how long the configuration lets results of its process live.
    """
    ends = [] if record.expires_at is None else [record.expires_at]
    if ttl is not None:
        ends.append(record.ended_at + ttl.total_seconds())
    return min(ends, default=None)
