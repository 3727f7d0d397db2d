"""The kinds of reasons for which a task run is executed rather than taken from the cache."""

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
"""``absent``: no record; ``not kept``: the result is of a kind that is executed every time; ``policy``: not ours;
``effect``: it does more than compute; ``dependency``: a file or variable that it was read from changed; ``same run``:
this run computed it, and it may differ by now; ``not asked for``: the rule is to cache only what asks for it."""
