"""Stores on a shelf that all machines of a laboratory mount: what somebody else would write for their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from expops_prefect.stores.kv.base import KVStore
from expops_prefect.stores.objects.base import ObjectStore
from expops_prefect.stores.settings import Check, KVSettings, ObjectSettings, Place


class ShelfKVSettings(KVSettings):
    """``type: shelf``, with the folder of the shelf."""

    kind: ClassVar[str] = "shelf"
    title: ClassVar[str] = "the shelf"

    folder: Path

    def open(self, place: Place) -> KVStore:
        from .kv import ShelfKV

        return ShelfKV(self.folder / place.project_id)

    def checks(self) -> Iterator[Check]:
        yield Check("shelf", "ok", f"{len(list(self.folder.glob('*')))} projects")


class ShelfObjectSettings(ObjectSettings):
    """``type: shelf``, with a database file on the shelf."""

    kind: ClassVar[str] = "shelf"
    title: ClassVar[str] = "the shelf"

    file: Path

    def open(self, place: Place) -> ObjectStore:
        from .objects import ShelfObjects

        return ShelfObjects(self.file, f"{place.project_id}/", self.local_folder(place))
