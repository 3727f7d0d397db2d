"""From settings to concrete backends: the only place that names them."""

from __future__ import annotations

from pathlib import Path

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
        copies=settings.runtime_dir / "downloads",
    )


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
