"""What the rest of the package gets: everything that was configured about a project, resolved."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from expops_prefect.config.model import CacheSettings, RecordSettings, find_name


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LocalKV(_Closed):
    """The KV store is a SQLite file."""

    type: Literal["local"] = "local"
    path: Path


class FirestoreKV(_Closed):
    """The KV store is Firestore in Native mode."""

    type: Literal["gcp"] = "gcp"
    gcp_project: str
    credentials_json: Path | None = None
    emulator_host: str | None = None
    firebase_api_key: str | None = Field(default=None, repr=False)
    firebase_api_key_file: Path | None = None

    def web_api_key(self) -> str | None:
        """The key with which ExpOps' web app reads Firestore: the file's if one counts, else the one that was given."""
        if self.firebase_api_key_file is not None:
            with contextlib.suppress(OSError, UnicodeDecodeError):
                return self.firebase_api_key_file.read_text().strip() or self.firebase_api_key
        return self.firebase_api_key


class LocalObjectsSettings(_Closed):
    """Objects are files below the runtime folder."""

    type: Literal["local"] = "local"
    root: Path


class GCSObjects(_Closed):
    """Objects lie in a bucket, below the project's id."""

    type: Literal["gcs"] = "gcs"
    bucket: str
    credentials_json: Path | None = None
    emulator_host: str | None = None


class Settings(_Closed):
    """Everything about a project that was configured. Paths are absolute.

    Attributes:
        root: the project's root folder.
        project_id: part of run ids, and of object keys in a shared bucket.
        runtime_dir: where local backends keep what they store.
        shared_group: whether the runtime folder's group shares what is in it, or which group does.
        config_file: the file that was read; ``None`` if there is none.
        kv: the KV backend.
        objects: the object store.
        cache: ``prefect.cache``.
        signing_key_file: the file of keys that records are signed with; ``None``: they are not.
        record: ``prefect.record``.
        processes: ``experiment.pipeline.processes`` by name.
        process_adjlist: the configured graph.
        parameters: ``experiment.parameters``, which every process may ask for.
        environment, reproducibility: those sections as they are.
        data_path: the project's data file.
        scripts: that section as it is.
        notices: what the user is told once, at INFO.
        warnings: what the user is warned of once.
        configured_kv_type: the KV backend that the file names, whatever the environment says; ``None`` if it
            names none.
        firestore_emulator, storage_emulator: emulators that the environment names, whatever the backends are.
    """

    root: Path
    project_id: str
    runtime_dir: Path
    shared_group: bool | str = False
    config_file: Path | None
    kv: Annotated[LocalKV | FirestoreKV, Field(discriminator="type")]
    objects: Annotated[LocalObjectsSettings | GCSObjects, Field(discriminator="type")]
    cache: CacheSettings
    record: RecordSettings
    signing_key_file: Path | None = None
    processes: dict[str, dict[str, Any]] = Field(default_factory=dict)
    process_adjlist: str = ""
    parameters: dict[str, Any] = Field(default_factory=dict)
    environment: Any = None
    reproducibility: dict[str, Any] = Field(default_factory=dict)
    data_path: Path | None = None
    scripts: dict[str, Any] | None = None
    notices: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    configured_kv_type: str | None = None
    firestore_emulator: str | None = None
    storage_emulator: str | None = None

    @property
    def random_seed(self) -> int | None:
        """``reproducibility.random_seed``, by which the global generators are seeded; ``None`` if there is none."""
        seed = self.reproducibility.get("random_seed")
        return seed if isinstance(seed, int) and not isinstance(seed, bool) else None

    def process(self, name: str) -> Mapping[str, Any]:
        """What the configuration says of a process, by the user's name or the normalised one."""
        return find_name(self.processes, name) or {}

    def process_parameters(self, name: str) -> dict[str, Any]:
        """A process's ``parameters`` and ``hyperparameters`` in one dictionary; the latter win."""
        process = self.process(name)
        return {**(process.get("parameters") or {}), **(process.get("hyperparameters") or {})}

    def config_part(self, name: str) -> Mapping[str, Any]:
        """What of the configuration enters the cache key of a process, without the data file's digest."""
        process = self.process(name)
        part = {key: process[key] for key in _KEYED if key in process}
        return {"process": part, "reproducibility": self.reproducibility}


# Not the type: it says how a process is drawn.
_KEYED: Final = (
    "parameters",
    "hyperparameters",
    "environment",
    "data_parallelism",
    "data_aggregation",
    "seed_parallelism",
    "seed_aggregation",
)
