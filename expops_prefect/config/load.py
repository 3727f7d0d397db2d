"""Find a project and read its configuration. No other part of the package reads YAML or the environment."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from expops_prefect._internal.signing import MIN_KEY_LENGTH, read_keys
from expops_prefect.config.document import Document
from expops_prefect.config.model import (
    BackendSection,
    CacheSection,
    ExperimentSection,
    ModelSection,
    ObjectStoreSection,
    ParametersSection,
    PipelineSection,
    PrefectSection,
)
from expops_prefect.config.places import part_of, root_without_configuration
from expops_prefect.config.settings import Settings
from expops_prefect.errors import ConfigurationError
from expops_prefect.models.names import process_name
from expops_prefect.stores import registry
from expops_prefect.stores.section import Section, Setting
from expops_prefect.stores.settings import KVSettings, ObjectSettings

CONFIG_FILE: Final = Path("configs") / "project_config.yaml"
_PROJECT_ID: Final = re.compile(r"(?!_+$|__.*__$)[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_ENVIRONMENT: Final = (
    "EXPOPS_PROJECT_ROOT",
    "EXPOPS_PROJECT_ID",
    "EXPOPS_RUNTIME_DIR",
    "MLOPS_KV_BACKEND",
    "MLOPS_GCS_BUCKET",
)


def find_root(
    project: str | os.PathLike[str] | None = None,
    *,
    source_file: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Path:
    """A project's root folder.

    In this order: ``project``; ``EXPOPS_PROJECT_ROOT``; the nearest folder above ``source_file``, then above the
    current folder, that holds ``configs/project_config.yaml``; the repository of ``source_file``, or the folder
    that it is imported from. Without a file the last step uses the current folder.

    Raises:
        ConfigurationError: the named folder does not exist, or the current folder was deleted.
    """
    environ = os.environ if environ is None else environ
    for named, by in ((project, "the project"), (environ.get("EXPOPS_PROJECT_ROOT"), "EXPOPS_PROJECT_ROOT")):
        if named:
            root = Path(os.path.expanduser(named)).absolute()  # noqa: PTH111 - leaves an unknown user's ~ as it is
            if not root.is_dir():
                raise ConfigurationError(
                    f"{by} is {root}, which is not a folder; name the folder that holds {CONFIG_FILE}"
                )
            return root
    if source_file is not None and (found := _nearest_root(source_file.absolute().parent)) is not None:
        return found
    here = None
    with suppress(FileNotFoundError):
        here = Path.cwd()
    found = None if here is None else _nearest_root(here)
    found = found or root_without_configuration(source_file, here)
    if found is None:
        raise ConfigurationError(
            "the current folder has been deleted; name the project's folder in EXPOPS_PROJECT_ROOT"
        )
    return found


def _nearest_root(place: Path) -> Path | None:
    for folder in (place, *place.parents):
        # Accept anything there: reading it reports what is wrong.
        if os.path.lexists(folder / CONFIG_FILE):
            return folder
    return None


def settings_stamp(root: Path) -> tuple[object, object]:
    """A stamp of the file and the environment: it changes whenever :func:`load_settings` may return something else.

    A backend declares its variables when loading imports it; of those only the ones that are set count.
    """
    try:
        status = (root / CONFIG_FILE).stat()
        file = (status.st_mtime_ns, status.st_size, status.st_ino)
    except OSError:
        file = None
    named = {*_ENVIRONMENT, *registry.environment()}
    return file, {name: value for name in named if (value := os.environ.get(name)) is not None}


def load_settings(root: Path, *, environ: Mapping[str, str] | None = None) -> Settings:
    """Read a project's configuration.

    Args:
        root: its root folder.
        environ: the environment, which takes precedence over the file.

    Raises:
        ConfigurationError: something is wrong; the message names file, key, the value found and the values allowed.
    """
    source = _Source(root, Document(root, CONFIG_FILE), os.environ if environ is None else environ)
    content = source.document.content
    project_id = _project_id(source)
    shared = source.environment("EXPOPS_RUNTIME_DIR")
    runtime = shared or source.file("prefect.runtime_dir", source.ours.runtime_dir)
    runtime_dir = runtime.below(root) if runtime else root / f".{project_id}"
    if shared is not None:
        runtime_dir = part_of(runtime_dir, project_id)
    kv, objects = _kv(source, runtime_dir), _objects(source, runtime_dir)
    keys = _signing_key_file(source)
    pipeline = source.pipeline
    return Settings(
        root=root,
        project_id=project_id,
        runtime_dir=runtime_dir,
        shared_group=source.ours.shared_group,
        config_file=source.document.file,
        kv=kv,
        objects=objects,
        cache=source.ours.cache,
        record=source.ours.record,
        signing_key_file=keys,
        processes=_without_duplicates(
            source.document,
            "experiment.pipeline.processes",
            {process.name: process.written() for process in pipeline.processes or ()},
        ),
        process_adjlist=pipeline.process_adjlist or "",
        parameters=dict(source.parameters.model_extra or {}),
        environment=content.environment,
        reproducibility=content.reproducibility or {},
        data_path=_data_path(source),
        scripts=content.scripts,
        notices=_notices(source, project_id, runtime_dir),
        warnings=(*_warnings(source, runtime, kv, objects), *_shared_keys(keys)),
        configured_kv_kind=_configured_kind(source),
    )


def _without_duplicates(document: Document, key: str, processes: dict[str, Any]) -> dict[str, Any]:
    """Processes by name, if no two names mean the same process.

    Raises:
        ConfigurationError: two names do.
    """
    known: dict[str, str] = {}
    for name in processes:
        other = known.setdefault(process_name(name), name)
        if other != name:
            raise document.wrong(key, name, f"a single name for each process; {other!r} means the same one")
    return processes


def usable_project_id(name: str) -> str:
    """Make a project id from a folder's name."""
    safe = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.")[:100]
    return safe if _PROJECT_ID.fullmatch(safe) else f"project-{safe.strip('_')}".strip("-")


def section_of(file: str, key: str, values: Mapping[str, Any], settings: Settings) -> Section:
    """A store's section that does not come from the configuration file.

    Args:
        file: its origin, for messages.
        key: its key, for messages.
        values: the section.
        settings: the settings of the project.
    """
    return Section(settings.root, settings.runtime_dir, file, key, values, os.environ)


@dataclass(frozen=True)
class _Source:
    """The origin of settings: the environment, and the file, in which older projects have sections elsewhere."""

    root: Path
    document: Document
    environ: Mapping[str, str]

    def environment(self, name: str) -> Setting | None:
        value = self.environ.get(name)
        return Setting(value, "the environment", name) if value else None

    def file(self, key: str, value: str | None) -> Setting | None:
        return self.document.setting(key, value)

    @property
    def ours(self) -> PrefectSection:
        return self.document.content.prefect or PrefectSection()

    @property
    def _experiment(self) -> ExperimentSection:
        return self.document.content.experiment or ExperimentSection()

    @property
    def parameters(self) -> ParametersSection:
        """``experiment.parameters``."""
        return self._experiment.parameters or ParametersSection()

    @property
    def cache(self) -> tuple[str, CacheSection]:
        """The section of the backends and its key."""
        model = self.document.content.model or ModelSection()
        for key, section in (
            ("experiment.cache", self._experiment.cache),
            ("experiment.parameters.cache", self.parameters.cache),
            ("model.cache", model.cache),
        ):
            if section is not None:
                return key, section
        return "experiment.cache", CacheSection()

    @property
    def backend(self) -> BackendSection:
        return self.cache[1].backend or BackendSection()

    @property
    def object_store(self) -> ObjectStoreSection:
        return self.cache[1].object_store or ObjectStoreSection()

    @property
    def pipeline(self) -> PipelineSection:
        return self._experiment.pipeline or self.parameters.pipeline or PipelineSection()

    def section(self, name: str, section: BaseModel, runtime_dir: Path, shared: Section | None = None) -> Section:
        """A store's section, for its backend to read."""
        file = str(self.document.file or "the environment")
        key, values = f"{self.cache[0]}.{name}", section.model_dump(exclude={"type"}, exclude_none=True)
        return Section(self.root, runtime_dir, file, key, values, self.environ, shared)


def _project_id(source: _Source) -> str:
    found = source.environment("EXPOPS_PROJECT_ID") or source.file("prefect.project_id", source.ours.project_id)
    if found is None and source.document.file is None:
        return usable_project_id(source.root.name)
    if found is None:
        found = Setting(source.root.name, str(source.document.file), "prefect.project_id is not set, and the folder")
    if not _PROJECT_ID.fullmatch(found.value):
        raise found.wrong(
            "at most 100 letters, digits, '_', '-' and '.', not starting with '-' or '.', nor of the form __x__; "
            "set prefect.project_id"
        )
    return found.value


def _kv(source: _Source, runtime_dir: Path) -> KVSettings:
    found = source.environment("MLOPS_KV_BACKEND") or source.file(
        f"{source.cache[0]}.backend.type", source.backend.type
    )
    cls = registry.kv_settings(found.value if found else "local")
    if cls is None:
        assert found is not None
        raise found.wrong(", ".join(registry.names(registry.KV_GROUP)))
    return cls.configured(source.section("backend", source.backend, runtime_dir))


def _configured_kind(source: _Source) -> str | None:
    cls = registry.kv_settings(source.backend.type) if source.backend.type else None
    return None if cls is None else cls.kind


def _objects(source: _Source, runtime_dir: Path) -> ObjectSettings:
    found = source.file(f"{source.cache[0]}.object_store.type", source.object_store.type)
    # ExpOps' own variable: setting a bucket chooses the store.
    kind = found.value if found else "gcs" if source.environment("MLOPS_GCS_BUCKET") else "local"
    cls = registry.object_settings(kind)
    if cls is None:
        assert found is not None
        raise found.wrong(", ".join(registry.names(registry.OBJECT_GROUP)))
    shared = source.section("backend", source.backend, runtime_dir)
    return cls.configured(source.section("object_store", source.object_store, runtime_dir, shared))


def _signing_key_file(source: _Source) -> Path | None:
    named = source.file("prefect.cache.signing_key_file", source.ours.cache.signing_key_file)
    if named is None:
        return None
    path = named.below(source.root)
    try:
        read_keys(path)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise named.wrong(
            f"a file, relative to the project's root, with a secret of at least {MIN_KEY_LENGTH} characters a line, "
            f"of which the first signs (openssl rand -hex 32 makes one); it was: {why}",
            no_secret=_is_path(source.root, named.value, path),
        ) from None
    return path


def _is_path(root: Path, text: str, path: Path) -> bool:
    """Whether a text is surely the path of a key file, not a key written there by mistake."""
    if len(text) < MIN_KEY_LENGTH:
        return True
    parts = Path(text).expanduser().parts
    first = parts[: 2 if Path(text).is_absolute() else 1]
    try:
        return path.exists() or (first != parts and root.joinpath(*first).is_dir())
    except OSError:  # not a valid file name
        return False


def _shared_keys(file: Path | None) -> tuple[str, ...]:
    if file is None or not file.stat().st_mode & 0o077:
        return ()
    return (f"{file} can be read by other users, who could then sign cache records: chmod 600 {file}",)


def _data_path(source: _Source) -> Path | None:
    data = source.document.content.data
    if data is None:
        return None
    found = source.file("data.path", data.path) or source.file("data.hash.path", data.hash.path if data.hash else None)
    return found.below(source.root) if found else None


def _notices(source: _Source, project_id: str, runtime_dir: Path) -> tuple[str, ...]:
    if source.document.file is not None:
        return ()
    return (
        f"no {CONFIG_FILE} found: {source.root} is taken as the project {project_id!r}, with the defaults; "
        f"runs and results are stored in {runtime_dir}",
    )


def _warnings(source: _Source, runtime: Setting | None, kv: KVSettings, objects: ObjectSettings) -> tuple[str, ...]:
    found = []
    temporary = Path(tempfile.gettempdir()).resolve() in source.root.resolve().parents
    if runtime is None and temporary and not (kv.is_shared and objects.is_shared):
        found.append(
            f"the project is in a temporary folder ({source.root}): data that a local backend stores there may be lost "
            "after the run. Set EXPOPS_RUNTIME_DIR or prefect.runtime_dir to a permanent folder"
        )
    if kv.is_shared and not objects.is_shared:
        found.append(f"records go to {kv.title} but results to {objects.title}, which other machines cannot read")
    return tuple(found)
