"""The configuration of the KV store in a SQLite file, the default."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from expops_prefect.stores.kv.base import KVStore
from expops_prefect.stores.section import Section
from expops_prefect.stores.settings import ForExpOps, KVSettings, Place

FILE = "metrics.sqlite"


class SQLiteSettings(KVSettings):
    """``type: local`` or ``sqlite``.

    Attributes:
        path: the database file.
    """

    kind: ClassVar[str] = "local"
    title: ClassVar[str] = "SQLite"
    is_remote: ClassVar[bool] = False
    is_shared: ClassVar[bool] = False
    environment: ClassVar[tuple[str, ...]] = ("MLOPS_KV_PATH",)

    path: Path

    @classmethod
    def configured(cls, section: Section) -> SQLiteSettings:
        """See :meth:`StoreSettings.configured`."""
        path = section.environment("MLOPS_KV_PATH") or section.get("path") or section.get("db_path")
        return cls(path=path.below(section.root) if path else section.runtime_dir / FILE)

    def open(self, place: Place) -> KVStore:  # noqa: ARG002 - the file is the project's own
        """See :meth:`KVSettings.open`."""
        from expops_prefect.stores.kv.sqlite.store import SQLiteKV

        return SQLiteKV(self.path)

    def may_hold_runs(self) -> bool:
        """See :meth:`KVSettings.may_hold_runs`."""
        return self.path.exists()

    def for_expops(self) -> ForExpOps:
        """See :meth:`StoreSettings.for_expops`."""
        return ForExpOps({"type": "local", "path": str(self.path)})
