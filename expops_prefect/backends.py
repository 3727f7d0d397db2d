"""From settings to concrete backends: the only place that names them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from expops_prefect import names
from expops_prefect.config import Settings
from expops_prefect.errors import ConfigurationError
from expops_prefect.kv.base import KVStore
from expops_prefect.objects.base import ObjectStore


def open_kv(settings: Settings) -> KVStore:
    """The project's KV store; nothing is connected yet.

    Raises:
        ConfigurationError: its credentials are not there.
    """
    if settings.kv.type == "local":
        from expops_prefect.kv.sqlite import SQLiteKV

        return SQLiteKV(settings.kv.path)
    from expops_prefect.kv.firestore import FirestoreKV

    return FirestoreKV(
        project_id=settings.project_id,
        gcp_project=settings.kv.gcp_project,
        credentials=_credentials(settings, settings.kv.credentials_json, settings.kv.emulator_host),
        emulator_host=settings.kv.emulator_host,
    )


def open_objects(settings: Settings) -> ObjectStore:
    """The project's object store; nothing is connected yet.

    Raises:
        ConfigurationError: its credentials are not there.
    """
    if settings.objects.type == "local":
        from expops_prefect.objects.local import LocalObjects

        return LocalObjects(settings.objects.root)
    from expops_prefect.objects.gcs import GCSObjects

    return GCSObjects(
        bucket=settings.objects.bucket,
        prefix=f"{settings.project_id}/",
        gcp_project=settings.kv.gcp_project if settings.kv.type == "gcp" else None,
        credentials=_credentials(settings, settings.objects.credentials_json, settings.objects.emulator_host),
        endpoint=settings.objects.emulator_host,
        copies=_copies(settings),
    )


def unused_copies(
    settings: Settings, present: Collection[str], *, written_before: float, read_before: float | None = None
) -> Iterator[tuple[Path, int]]:
    """This machine's copies of remote objects that can go, with their sizes.

    Args:
        settings: the project's.
        present: the keys of the objects that are there.
        written_before: copies of other objects go if they are older than this, epoch seconds.
        read_before: all go that nobody has read since, as far as the file system knows.
    """
    from expops_prefect.objects.local import LocalObjects

    if settings.objects.type == "local":
        return
    copies = LocalObjects(_copies(settings))
    for info in copies.list(names.CACHE_PREFIX):
        path = _copies(settings) / info.key
        try:
            read = path.stat().st_atime
        except FileNotFoundError:
            continue
        unread = read_before is not None and max(read, info.modified) < read_before
        if unread or (info.key not in present and info.modified < written_before):
            yield path, info.size


def sweep_temporaries(settings: Settings, older_than_seconds: float) -> int:
    """Remove what killed processes left half written on this machine; how many files that were."""
    from expops_prefect.objects.local import LocalObjects

    root = _copies(settings) if settings.objects.type != "local" else settings.objects.root
    return LocalObjects(root).sweep(older_than_seconds)


def _copies(settings: Settings) -> Path:
    return settings.runtime_dir / "downloads"


def _credentials(settings: Settings, file: Path | None, emulator: str | None) -> str | None:
    """A service account's file; without one, Google's libraries look for application default credentials."""
    if file is None or emulator is not None:
        return None
    if not file.is_file():
        raise ConfigurationError(
            f"{settings.config_file or 'the environment'}: credentials_json is {str(file)!r}, which is no file; "
            "allowed: a service account's JSON file, relative to the project's root; without one, application default "
            "credentials"
        )
    return str(file)
