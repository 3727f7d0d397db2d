"""The sections of ``project_config.yaml`` as frozen models.

The file is ExpOps' own. Its sections may hold unknown keys; only the ``prefect:`` section may not.
Types are strict: a bucket that is a number is an error, and is not converted to text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt, StrictStr

_UNITS: Final[Mapping[str, float]] = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([smhdw])\s*", re.ASCII)


_DURATION_ALLOWED: Final = "a duration such as 30d, 12h, 90s, or a number of seconds, above 0"
_MAPPING_MODES: Final[Mapping[object, str]] = {
    True: "copy-on-write",
    "copy-on-write": "copy-on-write",
    "readonly": "readonly",
    False: "off",
    "off": "off",
}


def _duration(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        amount, unit = value, 1.0
    elif isinstance(value, str) and (match := _DURATION.fullmatch(value)):
        amount, unit = float(match[1]), _UNITS[match[2]]
    else:
        raise ValueError(_DURATION_ALLOWED)
    try:
        length = timedelta(seconds=amount * unit)
    except (OverflowError, ValueError):  # also infinite, or not a number
        raise ValueError(f"{_DURATION_ALLOWED}, and below a million years") from None
    if length <= timedelta():
        raise ValueError(_DURATION_ALLOWED)
    return length


def _mapping_mode(value: object) -> object:
    # 1 and 0 are not booleans in YAML, though equal to them in Python.
    if isinstance(value, bool | str) and value in _MAPPING_MODES:
        return _MAPPING_MODES[value]
    raise ValueError("true, readonly or false")


Duration = Annotated[timedelta, BeforeValidator(_duration)]
MappingMode = Annotated[
    Literal["copy-on-write", "readonly", "off"], BeforeValidator(_mapping_mode, json_schema_input_type=bool | str)
]
Seconds = Annotated[float, Field(strict=True, gt=0, le=31_536_000, allow_inf_nan=False)]
Bytes = Annotated[StrictInt, Field(ge=1)]
FileName = Annotated[StrictStr, Field(pattern=r"^[^/]+$")]
IGNORED: Final = (
    *(".DS_Store", "._*", ".Spotlight-V100", ".Trashes", ".fseventsd", "Thumbs.db", "desktop.ini", ".directory"),
    *("__pycache__", ".ipynb_checkpoints", ".git", ".hg", ".svn", ".idea", ".vscode"),
    *("*.swp", "*.swo", "*~", ".#*", ".~lock.*#", ".nfs*"),
)
"""Files and folders of editors and systems, which are not data."""


def _empty_section(value: object) -> object:
    return {} if value is None else value


def _mapping_or_nothing(value: object) -> object:
    return value if isinstance(value, dict) else None


# For a section whose lines are all commented out.
_Section = BeforeValidator(_empty_section)


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


# prefect: ----------------------------------------------------------------------------------------


CacheDefault = Literal["pure", "all", "none"]
"""Which tasks are cached by default: those that only compute, all that return something, or none."""


EffectKind = Literal[
    "clock", "random", "environment", "network", "database", "process", "file read", "file write", "state", "prefect",
    "lazy data", "person", "harmless",
]  # fmt: skip
"""An effect of a call, as in ``expops_prefect.models.effects``, or that it only computes."""
EffectName = Annotated[StrictStr, Field(pattern=r"^[^\W\d]\w*(\.[^\W\d]\w*)*$")]


class ProcessCache(_Closed):
    """``prefect.cache.processes.<name>``: settings of one process, which take precedence over those for all.

    Attributes:
        enabled: ``true`` asks to cache this process, whatever its task does; ``false`` switches its cache off.
        ttl: how long its results are valid; setting it asks to cache the process, too.
        default: which rule its task follows, if neither ``enabled`` nor ``ttl`` decides.
    """

    enabled: StrictBool | None = None
    ttl: Duration | None = None
    default: CacheDefault | None = None


class CacheSettings(_Closed):
    """``prefect.cache``; sizes in bytes.

    Attributes:
        enabled: whether tasks are cached at all.
        default: which tasks are cached if nobody asked for it. ``pure``: those that only compute; ``all``: those that
            return something; ``none``: none. Without it, ``pure`` for flows and ``all`` for ExpOps projects.
        ttl: how long results are valid, for example ``30d``; without it for ever.
        none_results: whether the result ``None`` is cached.
        mmap: how a hit maps large arrays into memory: ``true`` copy-on-write, ``readonly``, or ``false`` for not at
            all.
        verify: when the digest of a payload is computed. ``auto``: always before unpickling, and for raw arrays and
            frames when size, times or inode differ; ``always``: on every hit.
        small_bytes: results up to this size are kept in their record too, so that a hit is one read; at most
            262,144.
        spill_bytes: arrays and frames from this size on become files of their own.
        single_flight: whether, of task runs that want one result at the same time, one computes it and the others
            wait.
        fast_hits: whether a hit is answered before Prefect's engine is entered, where the task's options allow it.
        lease_seconds: how long a lease is valid without renewal; then another process takes over.
        signing_key_file: a file with the keys that sign records, relative to the project's root.
        ignore_files: names of files and folders that do not count in data folders; replaces the default list.
        files: what a hit does with a file of its result that somebody changed: ``keep`` it under another name,
            ``replace`` it, or ``refuse`` to put the result's back, so that the task is executed.
        hard_links: whether a file of a result is put back as a hard link to the stored one, which nobody may write.
        effects: what calls do that are not known, by their dotted name; ``harmless`` if they only compute.
        processes: settings by the name of a process.
    """

    enabled: StrictBool = True
    default: CacheDefault | None = None
    ttl: Duration | None = None
    none_results: StrictBool = False
    mmap: MappingMode = "copy-on-write"
    verify: Literal["auto", "always"] = "auto"
    small_bytes: Annotated[StrictInt, Field(ge=0, le=262_144)] = 16_384
    spill_bytes: Bytes = 262_144
    single_flight: StrictBool = False
    fast_hits: StrictBool = False
    lease_seconds: Seconds = 30
    signing_key_file: StrictStr | None = None
    ignore_files: tuple[FileName, ...] = IGNORED
    files: Literal["keep", "replace", "refuse"] = "keep"
    hard_links: StrictBool = False
    effects: Annotated[dict[EffectName, EffectKind], _Section] = Field(default_factory=dict)
    processes: Annotated[dict[str, Annotated[ProcessCache, _Section]], _Section] = Field(default_factory=dict)

    def enabled_for(self, name: str) -> bool:
        """Whether the task of this process is cached: the process's own setting, else the setting for all."""
        own = self.says_enabled(name)
        return self.enabled if own is None else own

    def says_enabled(self, name: str) -> bool | None:
        """The setting of this process; ``None`` if it has none."""
        process = self._process(name)
        return None if process is None else process.enabled

    def default_for(self, name: str) -> CacheDefault | None:
        """The default for the task of this process, if its author did not decide; ``None`` if nothing is configured."""
        process = self._process(name)
        return self.default if process is None or process.default is None else process.default

    def asked_for(self, name: str) -> bool:
        """Whether the configuration asks to cache this process in particular."""
        process = self._process(name)
        return process is not None and (process.enabled is True or process.ttl is not None)

    def ttl_of(self, name: str) -> timedelta | None:
        """How long results of this process are valid; ``None`` for ever."""
        process = self._process(name)
        return self.ttl if process is None or process.ttl is None else process.ttl

    def _process(self, name: str) -> ProcessCache | None:
        found: ProcessCache | None = find_name(self.processes, name)
        return found


class RecordSettings(_Closed):
    """``prefect.record``; times in seconds.

    Attributes:
        enabled: whether runs are recorded.
        flush_seconds: how often records are delivered to the stores.
        final_flush_seconds: how long the end of a run waits for the last delivery.
        artifacts: whether a run's summary is written to Prefect's UI.
    """

    enabled: StrictBool = True
    flush_seconds: Seconds = 0.5
    final_flush_seconds: Seconds = 30
    artifacts: StrictBool = True


class PrefectSection(_Closed):
    """``prefect``, the section of this package.

    Attributes:
        project_id: the name of the project in shared stores; without it, the name of the project's folder.
        runtime_dir: the folder in which local backends store data, relative to the project's root; without it
            ``.<project_id>/``.
        shared_group: ``true`` shares the runtime folder with its group; a name shares it with that group.
        cache: what is cached, and how.
        record: what is recorded.
    """

    project_id: StrictStr | None = None
    runtime_dir: StrictStr | None = None
    shared_group: StrictBool | Annotated[StrictStr, Field(min_length=1)] = False
    cache: Annotated[CacheSettings, _Section] = Field(default_factory=CacheSettings)
    record: Annotated[RecordSettings, _Section] = Field(default_factory=RecordSettings)


# ExpOps' sections --------------------------------------------------------------------------------


class BackendSection(_Open):
    """``experiment.cache.backend``: ExpOps' own keys. Backends of other distributions may have more.

    Attributes:
        type: the KV store: ``local`` or ``sqlite``, ``gcp`` or ``firestore``, ``redis``, or the name of a store of
            your own. Without it ``local``.
        path: the SQLite file, relative to the project's root; without it ``metrics.sqlite`` in the runtime folder.
        db_path: the same, under an older name.
        gcp_project: the id of the Google Cloud project; ``gcp`` needs it.
        credentials_json: a service account's key file, relative to the project's root; without it Google's
            application default credentials.
        emulator_host: ``host:port`` of a Firestore emulator.
        firebase_api_key: the key with which ExpOps' web app reads Firestore.
        firebase_api_key_file: a file that holds that key, relative to the project's root.
        host: the host of ``redis``; without it ``localhost``.
        port: its port; without it 6379.
        db: the number of the database; without it 0.
        username: the user of Redis' access list.
        password: the password of Redis; better in the environment.
        tls: whether to encrypt the connection to Redis.
        ca_file: the certificates to trust, relative to the project's root; without it those of the system.
        sentinels: ``host:port`` of each of Redis' sentinels, in place of ``host`` and ``port``.
        service: the name under which the sentinels know the server.
    """

    type: StrictStr | None = None
    path: StrictStr | None = None
    db_path: StrictStr | None = None
    gcp_project: StrictStr | None = None
    credentials_json: StrictStr | None = None
    emulator_host: StrictStr | None = None
    firebase_api_key: StrictStr | None = None
    firebase_api_key_file: StrictStr | None = None
    host: StrictStr | None = None
    port: Any = None
    db: Any = None
    username: StrictStr | None = None
    password: StrictStr | None = None
    tls: Any = None
    ca_file: StrictStr | None = None
    sentinels: Any = None
    service: StrictStr | None = None


class ObjectStoreSection(_Open):
    """``experiment.cache.object_store``: see :class:`BackendSection`.

    Attributes:
        type: the object store: ``local``, ``gcs``, ``s3``, ``azure``, or the name of a store of your own. Without it
            ``gcs`` if ``MLOPS_GCS_BUCKET`` is set, else ``local``.
        bucket: the name of the bucket; ``gcs`` and ``s3`` need it.
        container: the name of the container; ``azure`` needs it.
        prefix: folders in front of the project's id, in the bucket of ``s3`` or the container of ``azure``.
        region: the region of the bucket of ``s3``.
        endpoint: the URL of another server that speaks S3's or Azure's protocol.
        profile: the profile in AWS' shared files whose credentials are used.
        account: the storage account of ``azure``; without it, the one of the connection string.
        credentials_file: for ``s3`` a file in the form of ``~/.aws/credentials``, for ``azure`` one with a connection
            string; relative to the project's root.
    """

    type: StrictStr | None = None
    bucket: StrictStr | None = None
    container: StrictStr | None = None
    prefix: StrictStr | None = None
    region: StrictStr | None = None
    endpoint: StrictStr | None = None
    profile: StrictStr | None = None
    account: StrictStr | None = None
    credentials_file: StrictStr | None = None


class CacheSection(_Open):
    """``experiment.cache``, or one of its two legacy places."""

    backend: BackendSection | None = None
    object_store: ObjectStoreSection | None = None


class ProcessSection(_Open):
    """``experiment.pipeline.processes``: a list, one entry for each process.

    Attributes:
        name: the name of the process, which is that of its task.
        parameters: values that the task reads with ``process_parameters``; part of its key only.
        hyperparameters: the same.
    """

    name: Annotated[StrictStr, Field(min_length=1)]
    parameters: dict[Any, Any] | None = None
    hyperparameters: dict[Any, Any] | None = None

    def written(self) -> dict[str, Any]:
        """The process as written in the file."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class PipelineSection(_Open):
    """``experiment.pipeline``, or its legacy place.

    Attributes:
        process_adjlist: the graph that ExpOps' UI draws: on each line a process and those that follow it.
        processes: the processes.
    """

    process_adjlist: StrictStr | None = None
    processes: list[ProcessSection] | None = None


class ParametersSection(_Open):
    """``experiment.parameters``, which held cache and pipeline in older projects."""

    cache: CacheSection | None = None
    pipeline: PipelineSection | None = None


class ExperimentSection(_Open):
    """``experiment``."""

    cache: CacheSection | None = None
    pipeline: PipelineSection | None = None
    parameters: ParametersSection | None = None


class DataHashSection(_Open):
    """``data.hash``, which named the data file in older projects."""

    path: StrictStr | None = None


class DataSection(_Open):
    """``data``.

    Attributes:
        path: a data file or folder; when its content changes, every task is executed again.
        hash: the section that held the path in older projects.
    """

    path: StrictStr | None = None
    hash: DataHashSection | None = None


class ModelSection(_Open):
    """``model``, which held the cache in the oldest projects."""

    cache: CacheSection | None = None


class ConfigFile(_Open):
    """The whole file.

    Attributes:
        scripts: the Python files of an ExpOps project, for ``expops-prefect run``.
        environment: the environment of an ExpOps project; part of the keys of its processes.
        reproducibility: part of every key; ``random_seed`` in it seeds the global random generators.
        data: the project's data.
        experiment: the stores, the pipeline, and parameters.
        model: the section that held the cache in the oldest projects.
        prefect: the section of this package.
    """

    scripts: dict[str, Any] | None = None
    environment: Any = None
    reproducibility: dict[str, Any] | None = None
    data: DataSection | None = None
    experiment: ExperimentSection | None = None
    model: Annotated[ModelSection | None, BeforeValidator(_mapping_or_nothing)] = None
    prefect: PrefectSection | None = None


def find_name(values: Mapping[str, Any], name: str) -> Any:
    """Look a process up by the user's name, or by its name in this or an earlier release."""
    if name in values:
        return values[name]
    if not values:
        return None
    from expops_prefect.models.names import normalise, older_name, process_name

    older = older_name(name)
    meant = (value for key, value in values.items() if name in (process_name(key), normalise(key)) or key == older)
    return next(meant, None)
