"""The configuration of the KV store in Firestore."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from expops_prefect.stores import google
from expops_prefect.stores.kv.base import KVStore
from expops_prefect.stores.section import Section
from expops_prefect.stores.settings import ForExpOps, KVSettings, Place

EMULATOR = "FIRESTORE_EMULATOR_HOST"


class FirestoreSettings(KVSettings):
    """``type: gcp`` or ``firestore``: a database in Native mode.

    Attributes:
        gcp_project: the Google Cloud project.
        credentials_json: a service account's key file.
        emulator_host: ``host:port`` of an emulator.
        firebase_api_key: the key with which ExpOps' web app reads Firestore.
        firebase_api_key_file: a file that holds that key.
    """

    kind: ClassVar[str] = "gcp"
    title: ClassVar[str] = "Firestore"
    is_billed: ClassVar[bool] = True
    environment: ClassVar[tuple[str, ...]] = (
        EMULATOR,
        google.PROJECT,
        google.CREDENTIALS,
        "FIREBASE_API_KEY",
        "NEXT_PUBLIC_FIREBASE_API_KEY",
    )

    gcp_project: str
    credentials_json: Path | None = None
    emulator_host: str | None = None
    firebase_api_key: str | None = Field(default=None, repr=False)
    firebase_api_key_file: Path | None = None

    @classmethod
    def configured(cls, section: Section) -> FirestoreSettings:
        """See :meth:`StoreSettings.configured`."""
        project = section.get("gcp_project") or section.environment(google.PROJECT)
        if project is None:
            raise section.wrong(
                "gcp_project",
                None,
                f"the id of a Google Cloud project, needed for type gcp; or set {google.PROJECT}",
            )
        if not google.CLOUD_NAME.fullmatch(project.value):
            raise project.wrong("the id of a Google Cloud project: lower-case letters, digits and '-'")
        emulator = section.environment(EMULATOR) or section.get("emulator_host")
        inline = section.get("firebase_api_key")
        api_key = (
            inline or section.environment("FIREBASE_API_KEY") or section.environment("NEXT_PUBLIC_FIREBASE_API_KEY")
        )
        # ExpOps' order: the configuration itself, the file it names, the environment.
        api_key_file = None if inline else section.get("firebase_api_key_file")
        return cls(
            gcp_project=project.value,
            credentials_json=google.credentials_json(section),
            emulator_host=emulator.value if emulator else None,
            firebase_api_key=api_key.value if api_key else None,
            firebase_api_key_file=api_key_file.below(section.root) if api_key_file else None,
        )

    def open(self, place: Place) -> KVStore:
        """See :meth:`KVSettings.open`."""
        from expops_prefect.stores.kv.firestore.store import FirestoreKV

        return FirestoreKV(
            project_id=place.project_id,
            gcp_project=self.gcp_project,
            credentials=google.credentials_file(self.credentials_json, self.emulator_host, place.config_file),
            emulator_host=self.emulator_host,
        )

    def web_api_key(self) -> str | None:
        """The key of ExpOps' web app: from the file if it can be read, else the configured one."""
        if self.firebase_api_key_file is not None:
            with contextlib.suppress(OSError, UnicodeDecodeError):
                return self.firebase_api_key_file.read_text().strip() or self.firebase_api_key
        return self.firebase_api_key

    def for_expops(self) -> ForExpOps:
        """See :meth:`StoreSettings.for_expops`."""
        section = {"type": "gcp", "gcp_project": self.gcp_project}
        if self.emulator_host:
            section["emulator_host"] = self.emulator_host
        given = {
            google.CREDENTIALS: self.credentials_json,
            EMULATOR: self.emulator_host,
            google.PROJECT: self.gcp_project,
            "FIREBASE_API_KEY": self.web_api_key(),
        }
        return ForExpOps(section, {name: str(value) for name, value in given.items() if value})
