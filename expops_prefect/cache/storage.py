"""The storage blocks through which Prefect uses the cache, for results and for keys.

Prefect finds blocks by name among the imported classes, so every decorator imports these classes. Their
implementation (:mod:`expops_prefect.cache.storage_handlers`) is imported by the first call.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from prefect.filesystems import LocalFileSystem, WritableFileSystem
from pydantic import Field

# Prefect finds the serializer by name, too: a program that has one of our blocks can load its results.
from expops_prefect.serialization import serializer  # noqa: F401

if TYPE_CHECKING:
    from expops_prefect.project import Project


class _ProjectBlock(WritableFileSystem):
    """The base of both blocks: the project they belong to.

    Prefect declares the base's methods async, but calls the plain ones with ``_sync=True``, and those
    with the prefix ``a`` from async code.
    """

    # What Prefect's page of blocks shows; it wants addresses, and this package has none of its own.
    _logo_url = LocalFileSystem._logo_url  # type: ignore[assignment]
    _documentation_url = LocalFileSystem._documentation_url  # type: ignore[assignment]

    project_root: str | None = Field(
        default=None,
        description="The project's root folder. Empty: found as EXPOPS_PROJECT_ROOT, else from the current folder.",
    )
    project_id: str | None = Field(
        default=None, description="The project's id, for people; the configuration at the root decides."
    )

    def project(self) -> Project:
        """The project of this block.

        Raises:
            ConfigurationError: its configuration is wrong.
        """
        from expops_prefect.project import Project

        return Project.open(self.project_root)

    def _resolve_path(self, path: str) -> None:
        """Prefect asks unsaved blocks for the path of a key; ``None`` makes it use the key as it is."""


class ExpOpsResultStorage(_ProjectBlock):
    """Keeps results in the project's object store, in ExpOps' layout.

    Example:
        ```python
        from expops_prefect import ExpOpsResultStorage

        ExpOpsResultStorage(project_root="/srv/churn").save("churn-results")
        ```
    """

    _block_type_name = "ExpOps Result Storage"
    _block_type_slug = "expops-result-storage"

    def write_path(self, path: str, content: bytes, _sync: bool = True) -> None:  # type: ignore[override]
        """Store a result; if our key storage is not in use, also publish it.

        Args:
            path: Prefect's storage key.
            content: the serializer's bytes, or its envelope.
            _sync: how Prefect asks for the sync form, which this is.

        Raises:
            SerializationError: the result cannot be pickled, and our key storage is not in use.
            ExpOpsPrefectError: it could not be stored, and our key storage is not in use.
        """
        from expops_prefect.cache.storage_handlers import store

        store(self.project, path, content)

    def read_path(self, path: str, _sync: bool = True) -> bytes:  # type: ignore[override]
        """Read a verified result.

        Args:
            path: Prefect's storage key.
            _sync: see :meth:`write_path`.

        Raises:
            IntegrityError: there is none, or it was changed; nothing was unpickled.
        """
        from expops_prefect.cache.storage_handlers import fetch

        return fetch(self.project, path)

    async def awrite_path(self, path: str, content: bytes) -> None:
        """The async form of :meth:`write_path`."""
        await asyncio.to_thread(self.write_path, path, content)

    async def aread_path(self, path: str) -> bytes:
        """The async form of :meth:`read_path`."""
        return await asyncio.to_thread(self.read_path, path)


class ExpOpsKeyStorage(_ProjectBlock):
    """Keeps the records of cached results in the project's KV store, where ExpOps' clients read them.

    Example:
        ```python
        from expops_prefect import ExpOpsKeyStorage
        from prefect.cache_policies import INPUTS

        policy = INPUTS.configure(key_storage=ExpOpsKeyStorage(project_root="/srv/churn"))
        ```
    """

    _block_type_name = "ExpOps Key Storage"
    _block_type_slug = "expops-key-storage"

    def write_path(self, path: str, content: bytes, _sync: bool = True) -> None:  # type: ignore[override]
        """Publish the record of a result that was just stored.

        Args:
            path: the transaction key.
            content: Prefect's metadata, JSON.
            _sync: see :meth:`ExpOpsResultStorage.write_path`.
        """
        from expops_prefect.cache.storage_handlers import publish

        publish(self.project, path, content)

    def read_path(self, path: str, _sync: bool = True) -> bytes:  # type: ignore[override]
        """Read Prefect's metadata of a valid, verified result.

        Args:
            path: the transaction key.
            _sync: see :meth:`write_path`.

        Raises:
            IntegrityError: a miss. Prefect takes any exception for a miss, so failures are logged here.
        """
        from expops_prefect.cache.storage_handlers import look_up

        return look_up(self.project, path)

    async def awrite_path(self, path: str, content: bytes) -> None:
        """The async form of :meth:`write_path`."""
        await asyncio.to_thread(self.write_path, path, content)

    async def aread_path(self, path: str) -> bytes:
        """The async form of :meth:`read_path`."""
        from expops_prefect.cache.storage_handlers import alook_up

        return await alook_up(self.project, path)
