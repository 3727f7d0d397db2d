"""Configuration that Firestore and Cloud Storage share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from expops_prefect.errors import ConfigurationError
from expops_prefect.stores.section import Section

CREDENTIALS: Final = "GOOGLE_APPLICATION_CREDENTIALS"
PROJECT: Final = "GOOGLE_CLOUD_PROJECT"
CLOUD_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9._:-]*[a-z0-9])?")
"""What a project id or a bucket's name looks like."""


def credentials_json(section: Section) -> Path | None:
    """A service account's key file. Both stores take it from the section of the KV store."""
    named = (section.shared or section).get("credentials_json") or section.environment(CREDENTIALS)
    return named.below(section.root) if named else None


def credentials_file(file: Path | None, emulator: str | None, config_file: str) -> str | None:
    """The key file, for Google's libraries; ``None`` for application default credentials or an emulator.

    Raises:
        ConfigurationError: the file does not exist.
    """
    if file is None or emulator is not None:
        return None
    if not file.is_file():
        raise ConfigurationError(
            f"{config_file}: credentials_json is {str(file)!r}, which is not a file; allowed: a service account's JSON "
            "file, relative to the project's root; without one, application default credentials"
        )
    return str(file)
