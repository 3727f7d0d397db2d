"""The configuration of the object store in Google Cloud Storage."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from expops_prefect.stores import google
from expops_prefect.stores.objects.base import ObjectStore
from expops_prefect.stores.section import Section
from expops_prefect.stores.settings import ForExpOps, ObjectSettings, Place

BUCKET = "MLOPS_GCS_BUCKET"
EMULATOR = "STORAGE_EMULATOR_HOST"


class GCSSettings(ObjectSettings):
    """``type: gcs``: a bucket, in which the names of a project's objects start with its id.

    Attributes:
        bucket: the bucket's name.
        gcp_project: the Google Cloud project; ``None`` to take it from the credentials.
        credentials_json: a service account's key file.
        emulator_host: the URL of an emulator.
    """

    kind: ClassVar[str] = "gcs"
    title: ClassVar[str] = "Google Cloud Storage"
    is_billed: ClassVar[bool] = True
    environment: ClassVar[tuple[str, ...]] = (BUCKET, EMULATOR, google.CREDENTIALS)

    bucket: str
    gcp_project: str | None = None
    credentials_json: Path | None = None
    emulator_host: str | None = None

    @classmethod
    def configured(cls, section: Section) -> GCSSettings:
        """See :meth:`StoreSettings.configured`."""
        bucket = section.environment(BUCKET) or section.get("bucket")
        if bucket is None:
            raise section.wrong("bucket", None, f"the name of a bucket, needed for type gcs; or set {BUCKET}")
        if not google.CLOUD_NAME.fullmatch(bucket.value):
            raise bucket.wrong("the name of a bucket alone: lower-case letters, digits, '-', '_' and '.'")
        emulator = section.environment(EMULATOR)
        project = section.shared.get("gcp_project") if section.shared is not None else None
        return cls(
            bucket=bucket.value,
            gcp_project=project.value if project else None,
            credentials_json=google.credentials_json(section),
            emulator_host=emulator.value if emulator else None,
        )

    def open(self, place: Place) -> ObjectStore:
        """See :meth:`ObjectSettings.open`."""
        from expops_prefect.stores.objects.gcs.store import GCSObjects

        return GCSObjects(
            bucket=self.bucket,
            prefix=f"{place.project_id}/",
            gcp_project=self.gcp_project,
            credentials=google.credentials_file(self.credentials_json, self.emulator_host, place.config_file),
            endpoint=self.emulator_host,
            copies=self.local_folder(place),
        )

    def for_expops(self) -> ForExpOps:
        """See :meth:`StoreSettings.for_expops`."""
        given = {google.CREDENTIALS: self.credentials_json, EMULATOR: self.emulator_host}
        section = {"type": "gcs", "bucket": self.bucket}
        return ForExpOps(section, {name: str(value) for name, value in given.items() if value})
