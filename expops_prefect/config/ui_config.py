"""The configuration and the environment that ExpOps' own server gets for a project.

The server takes a project's id from its folder's name and serves every file below its workspace.
So it gets a folder of its own, which holds only the graph and the places of the stores.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from expops_prefect.config.model import find_name
from expops_prefect.config.settings import Settings
from expops_prefect.errors import ConfigurationError

_SHOWN: Final = (
    "name",
    "type",
    "chart_type",
    "code",
    "script_path",
    "probe_paths",
    "data_parallelism",
    "data_aggregation",
    "seed_parallelism",
    "seed_aggregation",
)
"""The keys of a process that the server uses to draw. Parameters may be secrets."""
_FOLLOWED: Final = ("MLOPS_", "EXPOPS_", "FIREBASE_", "NEXT_PUBLIC_FIREBASE_")
"""Settings that the served configuration holds already, or that the server does not need."""


def served_config(
    settings: Settings, edges: Sequence[tuple[str, str]], processes: Sequence[str], charts: Collection[str]
) -> str:
    """The text of the ``project_config.yaml`` for the server. It holds no credentials.

    A configured graph is extended by the nodes and edges of the runs, unless it has splits, whose processes the server
    multiplies.

    Args:
        settings: the settings of the project.
        edges: the graph of its runs.
        processes: its nodes.
        charts: the nodes that drew charts.
    """
    configured = settings.process_adjlist.strip()
    entries = {name: {key: entry[key] for key in _SHOWN if key in entry} for name, entry in settings.processes.items()}
    known = dict.fromkeys([*entries, *configured.split()], True) if configured else {}
    splits = any(entry.get("data_parallelism") or entry.get("seed_parallelism") for entry in entries.values())
    for process in processes:
        entry = find_name(entries, process)
        if entry is None and (find_name(known, process) or (configured and splits)):
            continue
        if entry is None:
            entry = entries[process] = {"name": process}
        if process in charts and "type" not in entry and "probe_paths" not in entry:
            entry["type"] = "chart"
    drawn = [edge for edge in edges if not all(find_name(known, end) for end in edge)]
    if configured:
        flows = {source for source, target in drawn if not find_name(known, source)}
        # A flow's own node leads only to nodes that are not in the configured graph.
        drawn = [] if splits else [edge for edge in drawn if edge[0] not in flows or not find_name(known, edge[1])]
    lines = [*filter(None, [configured]), *(f"{source} {target}" for source, target in drawn)]
    content = {
        "scripts": settings.scripts or {},
        "experiment": {
            "cache": _stores(settings),
            "pipeline": {
                "process_adjlist": "".join(f"{line}\n" for line in lines or processes),
                "processes": list(entries.values()),
            },
        },
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def served_scripts(settings: Settings) -> list[Path]:
    """The scripts that draw charts in the browser, relative to the project's root."""
    named = [*(settings.scripts or {}).values(), *(entry.get("script_path") for entry in settings.processes.values())]
    root = settings.root.resolve()
    found = []
    for name in named:
        if isinstance(name, str) and name.endswith(".js"):
            file = (root / name).resolve()
            if file.is_relative_to(root) and file.is_file() and not Path(name).is_absolute():
                found.append(file.relative_to(root))
    return found


def server_environment(settings: Settings, workspace: Path) -> dict[str, str]:
    """The complete environment of the server's process.

    Args:
        settings: the settings of the project.
        workspace: the folder that contains the project's folder.
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith(_FOLLOWED)}
    environ["MLOPS_WORKSPACE_DIR"] = str(workspace)
    # The KV store's credentials win if both stores have some.
    for store in (settings.objects.for_expops(), settings.kv.for_expops()):
        environ |= {} if store is None else store.environment
    return environ


def _stores(settings: Settings) -> dict[str, Any]:
    kv, objects = settings.kv.for_expops(), settings.objects.for_expops()
    if kv is None:
        raise ConfigurationError(f"ExpOps' own server cannot read {settings.kv.title}; Prefect's UI shows the runs")
    # Charts in a store that the server does not support are not shown.
    return {"backend": dict(kv.section), "object_store": dict(objects.section) if objects else {"type": "local"}}
