"""Converts results to bytes and back: a manifest of the whole, and content-addressed payloads for large parts."""

from __future__ import annotations

from typing import Final

SPILL_BYTES: Final = 262144
"""From this size on a part of a result is a payload, unless the configuration says otherwise."""
