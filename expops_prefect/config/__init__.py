"""A project's configuration: ``configs/project_config.yaml`` and the environment, parsed once into frozen models."""

from expops_prefect.config.load import CONFIG_FILE, find_root, load_settings, settings_stamp, version_hash
from expops_prefect.config.model import (
    CacheSettings,
    FirestoreKV,
    GCSObjects,
    LocalKV,
    LocalObjectsSettings,
    RecordSettings,
    Settings,
)

__all__ = [
    "CONFIG_FILE",
    "CacheSettings",
    "FirestoreKV",
    "GCSObjects",
    "LocalKV",
    "LocalObjectsSettings",
    "RecordSettings",
    "Settings",
    "find_root",
    "load_settings",
    "settings_stamp",
    "version_hash",
]
