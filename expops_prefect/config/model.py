"""The parts of ``project_config.yaml`` that are read, as frozen models.

It is ExpOps' own file. Its sections keep what we do not use; the ``prefect:`` section is ours and
closed. Types are strict: a bucket that is a number is an error, not the text of that number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr

_UNITS: Final[Mapping[str, float]] = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION: Final = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([smhdw])\s*$")


def _duration(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a duration such as 30d, 12h, 90s, or a number of seconds")
    if isinstance(value, int | float):
        value = f"{value}s"
    if isinstance(value, str):
        match = _DURATION.match(value)
        if match is None or float(match[1]) <= 0:
            raise ValueError("a duration such as 30d, 12h, 90s, or a number of seconds, above 0")
        return timedelta(seconds=float(match[1]) * _UNITS[match[2]])
    return value


def _mapping_mode(value: object) -> object:
    if isinstance(value, bool):
        return "copy-on-write" if value else "off"
    return value


Duration = Annotated[timedelta, BeforeValidator(_duration)]
MappingMode = Annotated[
    Literal["copy-on-write", "readonly", "off"], BeforeValidator(_mapping_mode, json_schema_input_type=bool | str)
]
Seconds = Annotated[StrictInt | StrictFloat, Field(gt=0)]
Bytes = Annotated[StrictInt, Field(ge=1)]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


# prefect: ----------------------------------------------------------------------------------------


class ProcessCache(_Closed):
    """``prefect.cache.processes.<name>``."""

    enabled: StrictBool | None = None
    ttl: Duration | None = None


class CacheSettings(_Closed):
    """``prefect.cache``; sizes in bytes."""

    enabled: StrictBool = True
    ttl: Duration | None = None
    none_results: StrictBool = False
    mmap: MappingMode = "copy-on-write"
    verify: Literal["auto", "always"] = "auto"
    small_bytes: Annotated[StrictInt, Field(ge=0)] = 16_384
    spill_bytes: Bytes = 262_144
    single_flight: StrictBool = False
    lease_seconds: Seconds = 30
    signing_key_file: StrictStr | None = None
    processes: dict[str, ProcessCache] = Field(default_factory=dict)

    def enabled_for(self, name: str) -> bool:
        """Whether the task of this process is cached."""
        process = self._process(name)
        return self.enabled if process is None or process.enabled is None else self.enabled and process.enabled

    def ttl_of(self, name: str) -> timedelta | None:
        """How long results of this process live; ``None`` for ever."""
        process = self._process(name)
        return self.ttl if process is None or process.ttl is None else process.ttl

    def _process(self, name: str) -> ProcessCache | None:
        found: ProcessCache | None = find_name(self.processes, name)
        return found


class RecordSettings(_Closed):
    """``prefect.record``; times in seconds."""

    enabled: StrictBool = True
    flush_seconds: Seconds = 0.5
    final_flush_seconds: Seconds = 30
    artifacts: StrictBool = True


class PrefectSection(_Closed):
    """``prefect``, the section that is ours."""

    project_id: StrictStr | None = None
    runtime_dir: StrictStr | None = None
    cache: CacheSettings = Field(default_factory=CacheSettings)
    record: RecordSettings = Field(default_factory=RecordSettings)


# ExpOps' sections --------------------------------------------------------------------------------


class BackendSection(_Open):
    """``experiment.cache.backend``."""

    type: StrictStr = "local"
    path: StrictStr | None = None
    db_path: StrictStr | None = None
    gcp_project: StrictStr | None = None
    credentials_json: StrictStr | None = None
    emulator_host: StrictStr | None = None
    firebase_api_key: StrictStr | None = None
    firebase_api_key_file: StrictStr | None = None


class ObjectStoreSection(_Open):
    """``experiment.cache.object_store``."""

    type: StrictStr = "local"
    bucket: StrictStr | None = None


class CacheSection(_Open):
    """``experiment.cache``, or one of its two legacy places."""

    backend: BackendSection | None = None
    object_store: ObjectStoreSection | None = None


class PipelineSection(_Open):
    """``experiment.pipeline``, or its legacy place."""

    process_adjlist: StrictStr | None = None
    processes: list[dict[str, Any]] | None = None


class ExperimentSection(_Open):
    """``experiment``."""

    cache: CacheSection | None = None
    pipeline: PipelineSection | None = None
    parameters: dict[str, Any] | None = None


class DataSection(_Open):
    """``data``."""

    path: StrictStr | None = None
    hash: dict[str, Any] | None = None


class ConfigFile(_Open):
    """The whole file."""

    metadata: dict[str, Any] | None = None
    scripts: dict[str, Any] | None = None
    environment: Any = None
    reproducibility: dict[str, Any] | None = None
    data: DataSection | None = None
    experiment: ExperimentSection | None = None
    model: dict[str, Any] | None = None
    prefect: PrefectSection | None = None


# What the rest of the package gets ---------------------------------------------------------------


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
        config_file: the file that was read; ``None`` if there is none.
        kv: the KV backend.
        objects: the object store.
        cache: ``prefect.cache``.
        record: ``prefect.record``.
        processes: ``experiment.pipeline.processes`` by name.
        process_adjlist: the configured graph.
        environment, reproducibility: those sections as they are.
        data_path: the project's data file.
        scripts: that section as it is.
        notices: what the user is told once, at INFO.
        warnings: what the user is warned of once.
        configured_kv_type: the KV backend that the file names, whatever the environment says.
    """

    root: Path
    project_id: str
    runtime_dir: Path
    config_file: Path | None
    kv: Annotated[LocalKV | FirestoreKV, Field(discriminator="type")]
    objects: Annotated[LocalObjectsSettings | GCSObjects, Field(discriminator="type")]
    cache: CacheSettings
    record: RecordSettings
    processes: dict[str, dict[str, Any]] = Field(default_factory=dict)
    process_adjlist: str = ""
    environment: Any = None
    reproducibility: dict[str, Any] = Field(default_factory=dict)
    data_path: Path | None = None
    scripts: dict[str, Any] = Field(default_factory=dict)
    notices: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    configured_kv_type: str | None = None

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


_KEYED: Final = (
    "parameters",
    "hyperparameters",
    "environment",
    "type",
    "data_parallelism",
    "data_aggregation",
    "seed_parallelism",
    "seed_aggregation",
)


def find_name(values: Mapping[str, Any], name: str) -> Any:
    """Look a process up by the user's name or by the normalised one."""
    from expops_prefect.names import normalise

    if name in values:
        return values[name]
    return next((value for key, value in values.items() if normalise(key) == name), None)
