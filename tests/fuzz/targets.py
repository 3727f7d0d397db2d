"""What is fuzzed: each target takes bytes, and raises nothing but what its callers expect."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from expops_prefect._internal.signing import Signatures
from expops_prefect.cache.locking.leases import Lease
from expops_prefect.config import load_settings
from expops_prefect.errors import ConfigurationError, FormatError, IntegrityError, NameRefusedError
from expops_prefect.models import names
from expops_prefect.models.record_format import is_newer
from expops_prefect.record.cache_records import CacheRecord, parse_record_key
from expops_prefect.record.run_records import RunRecord
from expops_prefect.serialization import arrays, arrow, manifest
from expops_prefect.serialization.manifest import Packed
from expops_prefect.serialization.payloads import payload
from expops_prefect.serialization.resolving import Resolver
from expops_prefect.stores.outbox import changes
from expops_prefect.stores.outbox.journal import Plan
from tests.serialization.readers import FromMemory

FIELDS, _PARTS = arrays.encode(np.arange(100.0))
ARCHIVE: Final = b"".join(_PARTS)
PLAIN: Final = manifest.pack({"a": 1}).manifest
_FOLDER: Final = Path(tempfile.gettempdir()) / f"expops-prefect-fuzz-{id(object())}"


def _json(data: bytes) -> Any:
    with suppress(ValueError):
        return orjson.loads(data)
    return None


def cache_keys(data: bytes) -> None:
    text = data.decode(errors="surrogateescape")
    parsed = names.CacheKey.parse(text)
    assert parsed is None or str(parsed) == text
    path = names.parse_path(text)
    assert path is None or names.is_normalised(path.process) or path.process.lower() == "status"
    parse_record_key(f"process:{text}")
    names.content_digest(text)
    names.readable(text)
    with suppress(NameRefusedError):
        names.decode(text)


def cache_records(data: bytes) -> None:
    value = _json(data)
    for candidate in (value, {**value, "format": 1} if isinstance(value, dict) else value):
        is_newer(candidate)
        with suppress(FormatError):
            found = CacheRecord.load(candidate)
            found.held()
            found.dump()
        with suppress(FormatError):
            RunRecord.load(candidate).dump()
        with suppress(FormatError):
            Lease.load(candidate)
        assert not Signatures((b"k" * 32,)).valid("process:x", candidate)


def journals(data: bytes) -> None:
    for line in data.splitlines():
        with suppress(ValueError, TypeError):
            changes.dump(changes.load(line))
    with suppress(ValueError, TypeError):
        Plan.load(data)


def archives(data: bytes) -> None:
    for file in (data, ARCHIVE[: len(ARCHIVE) // 2] + data, data + ARCHIVE[len(data) :]):
        with suppress(IntegrityError):
            arrays.decode(FIELDS, memoryview(bytearray(file)))


def tables(data: bytes) -> None:
    with suppress(IntegrityError):
        arrow.read(memoryview(bytearray(data)))


def references(data: bytes) -> None:
    """References as a manifest may hold them, resolved over one payload; ``unpack`` translates what they raise."""
    value = _json(data)
    made = payload([ARCHIVE], ".npz")
    known = {"digest": made.ref.digest, "size": made.ref.size, "suffix": ".npz", "meta": FIELDS}
    reader = FromMemory(Packed(b"", (made,)))
    for link in (value, {**known, **value} if isinstance(value, dict) else value):
        if isinstance(link, dict) and isinstance(link.get("pickle"), bytes):
            continue  # would be unpickled
        with suppress(IntegrityError, FormatError, *manifest._REFERENCE_ERRORS):
            Resolver(reader).resolve(
                [link, {"__mlops_payload_ref__": True, **(link if isinstance(link, dict) else {})}]
            )


def manifests(data: bytes) -> None:
    if data.startswith((manifest._PLAIN, manifest._LINKED)):
        return  # a pickle: its digest is what protects
    with suppress(FormatError, IntegrityError):
        manifest.unpack(data, FromMemory(Packed(b"", ())))
    assert manifest.unpack(PLAIN, FromMemory(Packed(b"", ()))) == {"a": 1}


def configurations(data: bytes) -> None:
    file = _FOLDER / "configs" / "project_config.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    with suppress(ConfigurationError):
        load_settings(_FOLDER, environ={})


TARGETS: Final[Mapping[str, Callable[[bytes], None]]] = {
    function.__name__: function
    for function in (cache_keys, cache_records, journals, archives, references, manifests, configurations, tables)
}
IN_PROCESS: Final = [name for name in TARGETS if name != "tables"]
"""Arrow itself may crash on what it reads, which would end a test's process."""
