"""Project folders with a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from expops_prefect.config import Settings, load_settings
from expops_prefect.project import Project


def make_project(root: Path, config: str | bytes | None = "") -> Path:
    """A project folder with this ``project_config.yaml``."""
    root.mkdir(parents=True, exist_ok=True)
    if config is not None:
        file = root / "configs" / "project_config.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(config if isinstance(config, bytes) else config.encode())
    return root


def open_project(root: Path, config: str = "prefect: {project_id: shop}\n") -> Project:
    """A project in a folder with this ``project_config.yaml``, opened in this process."""
    return Project.open(make_project(root, config))


def settings_of(root: Path, config: str | bytes | None = "", environ: Mapping[str, str] | None = None) -> Settings:
    """What a configuration comes to, in an environment that says nothing else."""
    return load_settings(make_project(root, config), environ=environ or {})
