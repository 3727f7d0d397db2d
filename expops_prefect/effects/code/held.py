"""Objects that code refers to or is given, whose class alone tells that using them is an effect."""

from __future__ import annotations

from typing import Any, Final, cast

from expops_prefect.effects.table import Table, database, foreign, normalised
from expops_prefect.models.effects import Kind

_AWAY: Final = ("database", "network")


def told_by_class(cls: type, table: Table) -> tuple[Kind, str] | None:
    """The kind of what an object of a class is for, with the name of the class; ``None`` for one that computes.

    It is a function of a library that was loaded by its file, or a way to a database or through the network: an
    engine, a connection, a session, a client.
    """
    for base in cls.__mro__:
        name = normalised(f"{base.__module__}.{base.__qualname__}")
        if name in foreign.CLASSES:
            return "unknown", name
        kind: Any = table.kind(name)
        if kind in _AWAY and (database.HANDLES.search(name) or name.startswith(database.HANDLES_OF)):
            return cast("Kind", kind), name
    return None
