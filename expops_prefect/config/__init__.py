"""A project's configuration: ``configs/project_config.yaml`` and the environment, parsed once into frozen models."""

from expops_prefect.config.isolated_environment import environment_apart
from expops_prefect.config.load import (
    CONFIG_FILE,
    find_root,
    load_settings,
    section_of,
    settings_stamp,
    usable_project_id,
)
from expops_prefect.config.model import CacheSettings, RecordSettings
from expops_prefect.config.pipeline_section import Written, write_pipeline
from expops_prefect.config.settings import Settings
from expops_prefect.config.ui_config import served_config, served_scripts, server_environment
from expops_prefect.config.version import version_hash

__all__ = [
    "CONFIG_FILE",
    "CacheSettings",
    "RecordSettings",
    "Settings",
    "Written",
    "environment_apart",
    "find_root",
    "load_settings",
    "section_of",
    "served_config",
    "served_scripts",
    "server_environment",
    "settings_stamp",
    "usable_project_id",
    "version_hash",
    "write_pipeline",
]
