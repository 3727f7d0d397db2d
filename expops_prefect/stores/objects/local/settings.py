"""The configuration of the object store in files, the default."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from expops_prefect.stores.objects.base import ObjectStore
from expops_prefect.stores.section import Section
from expops_prefect.stores.settings import ForExpOps, ObjectSettings, Place


class LocalObjectSettings(ObjectSettings):
    """``type: local``: files below the runtime folder.

    Attributes:
        root: the folder.
    """

    kind: ClassVar[str] = "local"
    title: ClassVar[str] = "local files"
    is_remote: ClassVar[bool] = False
    is_shared: ClassVar[bool] = False

    root: Path

    @classmethod
    def configured(cls, section: Section) -> LocalObjectSettings:
        """See :meth:`StoreSettings.configured`."""
        return cls(root=section.runtime_dir)

    def open(self, place: Place) -> ObjectStore:  # noqa: ARG002 - the folder is the project's own
        """See :meth:`ObjectSettings.open`."""
        from expops_prefect.stores.objects.local.store import LocalObjects

        return LocalObjects(self.root)

    def local_folder(self, place: Place) -> Path:  # noqa: ARG002
        """See :meth:`ObjectSettings.local_folder`."""
        return self.root

    def for_expops(self) -> ForExpOps:
        """See :meth:`StoreSettings.for_expops`."""
        return ForExpOps({"type": "local"})
