"""The name of a project's artifact folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

from expops_prefect.config.settings import Settings


def version_hash(settings: Settings) -> str:
    """The name of a project's artifact folder; ExpOps' run server computes the same from configuration and scripts.

    It is the hexadecimal SHA-256 of the file's digest, followed by the digest of the scripts' digests in the
    order of their keys if the file has a section ``scripts``, even an empty one.
    """
    if settings.config_file is None:
        return hashlib.sha256(b"mlops-cache-v1").hexdigest()
    combined = hashlib.sha256(settings.config_file.read_bytes()).hexdigest()
    if settings.scripts is not None:
        leaves = hashlib.sha256()
        for key, script in sorted(settings.scripts.items()):
            content = _content(settings.root / script) if isinstance(script, str) else b""
            leaves.update(hashlib.sha256(key.encode() + content).hexdigest().encode())
        combined += leaves.hexdigest()
    return hashlib.sha256(combined.encode()).hexdigest()


def _content(path: Path) -> bytes:
    """A script's content; a missing one counts as empty, as it does in ExpOps."""
    try:
        return path.read_bytes()
    except (OSError, ValueError):
        return b""
