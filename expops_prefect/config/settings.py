"""The complete configuration of a project, resolved, for the rest of the package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, InstanceOf

from expops_prefect.config.model import CacheSettings, RecordSettings, find_name
from expops_prefect.stores.settings import KVSettings, ObjectSettings, Place


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Settings(_Closed):
    """The complete configuration of a project. Paths are absolute.

    Attributes:
        root: the project's root folder.
        project_id: part of run ids, and of object keys in a shared bucket.
        runtime_dir: the folder in which local backends store data.
        shared_group: whether the runtime folder is shared with its group, or with which group.
        config_file: the file that was read; ``None`` if there is none.
        kv: the KV backend.
        objects: the object store.
        cache: ``prefect.cache``.
        signing_key_file: the file of keys that sign records; ``None`` to not sign them.
        record: ``prefect.record``.
        processes: ``experiment.pipeline.processes`` by name.
        process_adjlist: the configured graph.
        parameters: ``experiment.parameters``, which every process may read.
        environment, reproducibility: the sections of these names.
        data_path: the project's data file.
        scripts: the section of this name.
        notices: messages to log once, at INFO.
        warnings: warnings to log once.
        configured_kv_kind: the KV backend that the file names, even if the environment names another; ``None`` if
            the file names none.
    """

    root: Path
    project_id: str
    runtime_dir: Path
    shared_group: bool | str = False
    config_file: Path | None
    kv: InstanceOf[KVSettings]
    objects: InstanceOf[ObjectSettings]
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
    configured_kv_kind: str | None = None

    @property
    def place(self) -> Place:
        """The facts about the project that a store needs."""
        return Place(self.project_id, self.runtime_dir, str(self.config_file or "the environment"))

    @property
    def random_seed(self) -> int | None:
        """``reproducibility.random_seed``, which seeds the global generators; ``None`` if not configured."""
        seed = self.reproducibility.get("random_seed")
        return seed if isinstance(seed, int) and not isinstance(seed, bool) else None

    def process(self, name: str) -> Mapping[str, Any]:
        """The configuration of a process, by the user's name or the normalised one."""
        return find_name(self.processes, name) or {}

    def process_parameters(self, name: str) -> dict[str, Any]:
        """A process's ``parameters`` and ``hyperparameters`` in one dictionary; the latter take precedence."""
        process = self.process(name)
        return {**(process.get("parameters") or {}), **(process.get("hyperparameters") or {})}

    def config_part(self, name: str) -> Mapping[str, Any]:
        """The part of the configuration in the cache key of a process, without the data file's digest."""
        process = self.process(name)
        part = {key: process[key] for key in _KEYED if key in process}
        return {"process": part, "reproducibility": self.reproducibility}


# Without the type, which only says how a process is drawn.
_KEYED: Final = (
    "parameters",
    "hyperparameters",
    "environment",
    "data_parallelism",
    "data_aggregation",
    "seed_parallelism",
    "seed_aggregation",
)
