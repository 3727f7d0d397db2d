"""Readers of payloads as storage will have them: from memory, and from files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import blake3

from expops_prefect.errors import IntegrityError
from expops_prefect.serialization.manifest import Packed, pack, unpack
from expops_prefect.serialization.payloads import Mapping, PayloadRef
from expops_prefect.stores.objects.base import Buffer
from expops_prefect.stores.objects.local.store import LocalObjects


@dataclass
class FromMemory:
    packed: Packed
    mmap: Mapping = "copy-on-write"
    project_root: Path | None = None

    def data(self, ref: PayloadRef) -> Buffer:
        for payload in self.packed.payloads:
            if payload.ref == ref:
                return b"".join(payload.parts)
        raise IntegrityError(f"no payload {ref}")

    def file(self, ref: PayloadRef) -> Path | None:
        return None


@dataclass
class FromFiles:
    """Stores in ``root`` and reads from there; notes what was read whole."""

    root: Path
    mmap: Mapping = "copy-on-write"
    project_root: Path | None = None
    read_whole: list[str] = field(default_factory=list)

    def store(self, packed: Packed) -> bytes:
        for payload in packed.payloads:
            LocalObjects(self.root).create(payload.ref.key, payload.parts, read_only=True)
        return packed.manifest

    def data(self, ref: PayloadRef) -> Buffer:
        self.read_whole.append(ref.suffix)
        data = LocalObjects(self.root).get(ref.key)
        if data is None or blake3.blake3(data).hexdigest() != ref.digest:
            raise IntegrityError(f"payload {ref.key} is missing or damaged")
        return data

    def file(self, ref: PayloadRef) -> Path | None:
        assert ref.suffix not in {".joblib", ".pkl"}, "what is unpickled must be read through data"
        return LocalObjects(self.root).path(ref.key)


def suffixes(packed: Packed) -> list[str]:
    return [payload.ref.suffix for payload in packed.payloads]


def round_trip(value: object, spill_bytes: int = 1024) -> Any:
    packed = pack(value, spill_bytes=spill_bytes)
    return unpack(packed.manifest, FromMemory(packed))
