"""The kinds of reasons why a task run is executed instead of taken from the cache."""

from __future__ import annotations

from typing import Literal, TypeAlias

MissKind: TypeAlias = Literal[
    "absent",
    "expired",
    "damaged",
    "unreadable",
    "refreshed",
    "not kept",
    "off",
    "unhashable",
    "policy",
    "generator",
    "effect",
    "dependency",
    "same run",
    "not asked for",
    "not ready",
]
"""``absent``: no record; ``not kept``: results of this kind are never cached; ``policy``: another cache policy;
``effect``: it does more than compute; ``dependency``: a file or variable that it read has changed; ``same run``:
this run computed it, and it may differ by now; ``not asked for``: only tasks that ask for it are cached."""
