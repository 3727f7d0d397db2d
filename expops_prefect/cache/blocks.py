"""The storage blocks and the serializer of a project, made and saved once in each process."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TypeAlias
from weakref import WeakKeyDictionary

from expops_prefect._internal.forks import ForkSafeLock
from expops_prefect.cache.storage import ExpOpsKeyStorage, ExpOpsResultStorage
from expops_prefect.models.names import normalise, short_hash
from expops_prefect.project import Project
from expops_prefect.serialization.serializer import ExpOpsSerializer

_logger = logging.getLogger("prefect.expops")
_lock = ForkSafeLock()
_Storages: TypeAlias = tuple[ExpOpsResultStorage, ExpOpsKeyStorage]
_storages: dict[tuple[str, str], _Storages] = {}
_of_project: WeakKeyDictionary[Project, _Storages] = WeakKeyDictionary()
_serializers: dict[tuple[int, str], ExpOpsSerializer] = {}


def storages(project: Project) -> tuple[ExpOpsResultStorage, ExpOpsKeyStorage]:
    """The two blocks of a project.

    The result storage is saved, so that another process can load a result through Prefect's API by
    the block's id. Its name holds the resolved place, so two checkouts never take each other's.
    """
    known = _of_project.get(project)
    if known is not None:
        return known
    place = f"{project.settings.root}|{project.kv.describe()}|{project.objects.describe()}"
    identity = (project.project_id, place)
    with _lock:
        held = _storages.get(identity)
        if held is None:
            root = str(project.settings.root)
            result_storage = ExpOpsResultStorage(project_root=root, project_id=project.project_id)
            key_storage = ExpOpsKeyStorage(project_root=root, project_id=project.project_id)
            name = f"expops-{_block_name(project.project_id)}-{short_hash(place, 12)}"
            held = _storages[identity] = (_saved(result_storage, name), key_storage)
        _of_project[project] = held
    return held


def serializer(project: Project) -> ExpOpsSerializer:
    """The serializer that belongs to our storages."""
    wanted = project.settings.cache.spill_bytes, project.reference_prefix
    if wanted not in _serializers:
        spill, prefix = wanted
        _serializers[wanted] = ExpOpsSerializer(detached=True, spill_bytes=spill, uri_prefix=prefix)
    return _serializers[wanted]


def _saved(block: ExpOpsResultStorage, name: str) -> ExpOpsResultStorage:
    """The block under this name; looking takes one request, saving takes half a dozen."""
    try:
        with suppress(ValueError):  # there is none, or one that another release wrote
            known = ExpOpsResultStorage.load(name, _sync=True)  # type: ignore[call-arg]
            if isinstance(known, ExpOpsResultStorage) and _place(known) == _place(block):
                return known
        block.save(name, overwrite=True, _sync=True)  # type: ignore[call-arg]
    except Exception as error:  # noqa: BLE001 - the edge to Prefect: without the block the cache works all the same
        _logger.debug("block %s not saved (%s): results load in this project only", name, error)
    return block


def _place(block: ExpOpsResultStorage) -> tuple[str | None, str | None]:
    return block.project_root, block.project_id


def _block_name(project_id: str) -> str:
    # Prefect takes lower-case letters, digits and dashes in block names.
    return "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in normalise(project_id)).lower()
