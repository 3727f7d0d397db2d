"""Finds the distributions that an installed one requires: it computes with them, so their versions are hashed too."""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from pathlib import Path
from typing import Final

from expops_prefect.fingerprint.ownership import installed, normalised

_NAME: Final = re.compile(r"^Requires-Dist:\s*([A-Za-z0-9][A-Za-z0-9._-]*)([^\r\n]*)", re.MULTILINE)
_OURS: Final = frozenset({"prefect", "expops-prefect"})
"""A release of either must not invalidate a cache."""


@lru_cache(maxsize=1024)
def required_by(distribution: str) -> tuple[str, ...]:
    """The installed requirements of a distribution, without those of its extras, as ``name==version``.

    Args:
        distribution: ``name==version``.
    """
    name, _, version = distribution.partition("==")
    metadata = _metadata(name, version)
    wanted = {normalised(match[1]) for match in _NAME.finditer(metadata) if not re.search(r"\bextra\b", match[2])}
    found = {other: _version(other) for other in wanted - _OURS}
    return tuple(sorted(f"{other}=={version}" for other, version in found.items() if version))


def _metadata(name: str, version: str) -> str:
    for folder in sys.path:
        for other, found, place in installed(folder):
            if found == version and normalised(other) == name:
                for file in ("METADATA", "PKG-INFO"):
                    try:
                        content = (Path(folder) / place / file).read_text(encoding="utf-8", errors="replace")
                    except OSError:
                        continue
                    return content.partition("\n\n")[0]
    return ""


@lru_cache(maxsize=1024)
def _version(name: str) -> str:
    for folder in sys.path:
        for other, version, _ in installed(folder):
            if normalised(other) == name:
                return version
    return ""
