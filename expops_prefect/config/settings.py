"""What the rest of the package gets: everything that was configured about a project, resolved."""

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
        configured_kv_kind: the KV backend that the file names, whatever the environment says; ``None`` if it
            names none.
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
        """What a store needs to know of the project."""
        return Place(self.project_id, self.runtime_dir, str(self.config_file or "the environment"))

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
