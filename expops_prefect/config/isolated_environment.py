"""The environment of a process that uses a project's stores under another id, with a Prefect server of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from expops_prefect.config.settings import Settings


def environment_apart(settings: Settings, project_id: str, runtime_dir: Path) -> dict[str, str]:
    """The complete environment of such a process; :func:`load_settings` accepts it too.

    Args:
        settings: the settings of the project.
        project_id: the other id.
        runtime_dir: the folder for all its files on this machine.
    """
    return {
        **prefect_of_its_own(os.environ, runtime_dir),
        "EXPOPS_PROJECT_ROOT": str(settings.root),
        "EXPOPS_PROJECT_ID": project_id,
        "EXPOPS_RUNTIME_DIR": str(runtime_dir),
        "MLOPS_KV_PATH": str(runtime_dir / "metrics.sqlite"),
    }


def prefect_of_its_own(environ: Mapping[str, str], folder: Path) -> dict[str, str]:
    """An environment in which Prefect starts its own server, with its data in ``folder``."""
    kept = {name: value for name, value in environ.items() if not name.startswith("PREFECT_")}
    return {
        **kept,
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "WARNING",
    }
