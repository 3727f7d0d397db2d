"""The storage blocks and the serializer of a project, made and saved once in each process."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from expops_prefect._internal.diagnostics import degrade
from expops_prefect._internal.process import ForkSafeLock
from expops_prefect.cache.storage import ExpOpsKeyStorage, ExpOpsResultStorage
from expops_prefect.models.names import normalise, short_hash
from expops_prefect.project import Project
from expops_prefect.serialization.serializer import ExpOpsSerializer

_BUSY: Final = 503
_ATTEMPTS: Final = 5


class Blocks:
    """The storage blocks and the serializer of a project. Take it as ``project.part(Blocks)``.

    The result storage is saved, so that another process can load a result through Prefect's API by
    the block's id. Its name contains a hash of the project's root and stores, so two checkouts never share one.

    Args:
        project: the project.

    Attributes:
        serializer: the serializer that belongs to the storages.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._lock = ForkSafeLock()
        self._storages: tuple[ExpOpsResultStorage, ExpOpsKeyStorage] | None = None
        spill, prefix = project.settings.cache.spill_bytes, project.reference_prefix
        self.serializer = ExpOpsSerializer(detached=True, spill_bytes=spill, uri_prefix=prefix)
        self.serializer._root = project.settings.root

    @property
    def storages(self) -> tuple[ExpOpsResultStorage, ExpOpsKeyStorage]:
        """The result storage and the key storage. The first caller asks Prefect's API for them."""
        if self._storages is None:
            with self._lock:
                if self._storages is None:
                    self._storages = _storages_of(self._project)
        return self._storages


def _storages_of(project: Project) -> tuple[ExpOpsResultStorage, ExpOpsKeyStorage]:
    root, project_id = str(project.settings.root), project.project_id
    place = f"{root}|{project.kv.describe()}|{project.objects.describe()}"
    name = f"expops-{_block_name(project_id)}-{short_hash(place, 12)}"
    results = _saved(ExpOpsResultStorage(project_root=root, project_id=project_id), name)
    return results, ExpOpsKeyStorage(project_root=root, project_id=project_id)


def _saved(block: ExpOpsResultStorage, name: str) -> ExpOpsResultStorage:
    """The block under this name, saved if needed; loading takes one request, saving half a dozen.

    Prefect's client would wait for minutes while its server is busy. A flow must not wait for this block.
    """
    try:
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
            for attempt in range(_ATTEMPTS):
                try:
                    return _loaded_or_saved(block, name)
                except PrefectHTTPStatusError as error:
                    # The client has paused for about two seconds.
                    if attempt == _ATTEMPTS - 1 or error.response.status_code != _BUSY:
                        raise
    except Exception as error:  # noqa: BLE001 - the edge to Prefect: the cache works without the saved block
        said = f"{name}: {error}; other processes cannot load its results through Prefect's API"
        degrade("storage block not saved", said, key=name)
    return block


def _loaded_or_saved(block: ExpOpsResultStorage, name: str) -> ExpOpsResultStorage:
    with suppress(ValueError):  # not found, or written by another release
        known = ExpOpsResultStorage.load(name, _sync=True)  # type: ignore[call-arg]
        if isinstance(known, ExpOpsResultStorage) and _place(known) == _place(block):
            return known
    block.save(name, overwrite=True, _sync=True)  # type: ignore[call-arg]
    return block


def _place(block: ExpOpsResultStorage) -> tuple[str | None, str | None]:
    return block.project_root, block.project_id


def _block_name(project_id: str) -> str:
    # Prefect takes lower-case letters, digits and dashes in block names.
    return "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in normalise(project_id)).lower()
