"""Plugins that code finds through entry points of installed distributions."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable
from types import FunctionType, ModuleType
from typing import Any, Final

from expops_prefect.fingerprint import lazy_imports
from expops_prefect.fingerprint.bytecode import FINDERS, References
from expops_prefect.fingerprint.encoding_primitives import named, text
from expops_prefect.fingerprint.guards import Guards

_MODULES: Final = frozenset({"importlib", "importlib.metadata", "importlib_metadata", "pkg_resources"})


def finds(known: References, namespace: dict[str, Any]) -> bool:
    """Whether a function looks for entry points."""
    for chain in known.names:
        if FINDERS.isdisjoint(chain):
            continue
        first = namespace.get(chain[0])
        if isinstance(first, ModuleType) and first.__name__ in _MODULES:
            return True
        if isinstance(first, FunctionType) and first.__name__ in FINDERS and first.__module__ in _MODULES:
            return True
    imported = any(entry.module in _MODULES for entry in known.imports)
    return imported and not FINDERS.isdisjoint(known.reads)


def parts_of(texts: Iterable[str], guards: Guards) -> list[lazy_imports.Part] | None:
    """The plugins of the groups among some strings, with their code; ``None`` if no string is the name of a group.

    Args:
        texts: the strings in the code and in its arguments.
        guards: receive the files that were read.
    """
    points = importlib.metadata.entry_points()
    groups = sorted(set(texts) & set(points.groups))
    if not groups:
        return None
    found: list[lazy_imports.Part] = []
    for group in groups:
        for point in sorted(points.select(group=group)):
            version = f"{point.dist.name}=={point.dist.version}" if point.dist is not None else ""
            name = f"plugin:{group}:{point.name}"
            form = named("plugin", text(group), text(point.name), text(point.value), text(version))
            found.append(lazy_imports.Part(name, name, form))
            module = point.value.partition("[")[0].strip()
            found += lazy_imports.parts(lazy_imports.named_by((module,), ""), guards)
    return found
