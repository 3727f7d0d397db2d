"""Finding a project and reading its configuration. Nothing else in the package reads YAML or the environment."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from expops_prefect.config.model import (
    ConfigFile,
    FirestoreKV,
    GCSObjects,
    LocalKV,
    LocalObjectsSettings,
    PrefectSection,
    Settings,
)
from expops_prefect.errors import ConfigurationError

CONFIG_FILE: Final = Path("configs") / "project_config.yaml"
_PROJECT_ID: Final = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$")
_KV_TYPES: Final = {"local": "local", "sqlite": "local", "gcp": "gcp", "firestore": "gcp"}
_OBJECT_TYPES: Final = {"local": "local", "gcs": "gcs"}
_ENVIRONMENT: Final = (
    "EXPOPS_PROJECT_ROOT",
    "EXPOPS_PROJECT_ID",
    "EXPOPS_RUNTIME_DIR",
    "MLOPS_KV_BACKEND",
    "MLOPS_KV_PATH",
    "MLOPS_GCS_BUCKET",
    "FIRESTORE_EMULATOR_HOST",
    "STORAGE_EMULATOR_HOST",
    "GOOGLE_CLOUD_PROJECT",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "FIREBASE_API_KEY",
    "NEXT_PUBLIC_FIREBASE_API_KEY",
)


def find_root(
    project: str | os.PathLike[str] | None = None,
    *,
    source_file: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Path:
    """A project's root folder.

    ``project``, else ``EXPOPS_PROJECT_ROOT``, else the nearest folder above ``source_file``, then above
    the current folder, that holds ``configs/project_config.yaml``; else the current folder.

    Raises:
        ConfigurationError: the folder that was named does not exist.
    """
    environ = os.environ if environ is None else environ
    for named, by in ((project, "project="), (environ.get("EXPOPS_PROJECT_ROOT"), "EXPOPS_PROJECT_ROOT")):
        if named:
            root = Path(named).expanduser().absolute()
            if not root.is_dir():
                raise ConfigurationError(
                    f"{by} names {root}, which is no folder; name the folder that holds {CONFIG_FILE}"
                )
            return root
    places = [] if source_file is None else [source_file.absolute().parent]
    here = Path.cwd()
    for place in (*places, here):
        for folder in (place, *place.parents):
            if (folder / CONFIG_FILE).is_file():
                return folder
    return here


def settings_stamp(root: Path) -> object:
    """Changes whenever :func:`load_settings` may give something else for a root."""
    try:
        status = (root / CONFIG_FILE).stat()
        file = (status.st_mtime_ns, status.st_size, status.st_ino)
    except OSError:
        file = None
    return (file, *(os.environ.get(name) for name in _ENVIRONMENT))


def load_settings(root: Path, *, environ: Mapping[str, str] | None = None) -> Settings:
    """Read a project's configuration.

    Args:
        root: its root folder.
        environ: the environment, which beats the file.

    Raises:
        ConfigurationError: something is wrong; names file, key, what was found and what is allowed.
    """
    environ = os.environ if environ is None else environ
    file = root / CONFIG_FILE
    source = _Source(file if file.is_file() else None)
    raw = source.read()
    parsed = source.validate(raw)
    ours = parsed.prefect or PrefectSection()
    project_id = _project_id(source, root, ours, environ)
    notices: list[str] = []
    warnings: list[str] = []
    if source.file is None:
        notices.append(f"no {CONFIG_FILE} found: {root} is taken as the project {project_id!r}, with the defaults")
    runtime = environ.get("EXPOPS_RUNTIME_DIR") or ours.runtime_dir
    runtime_dir = _below(root, runtime) if runtime else root / f".{project_id}"
    cache_key, cache = _legacy(raw, "experiment.cache", "experiment.parameters.cache", "model.cache")
    pipeline_key, pipeline = _legacy(raw, "experiment.pipeline", "experiment.parameters.pipeline")
    kv = _kv(source, root, runtime_dir, cache_key, cache, environ)
    objects = _objects(source, root, runtime_dir, cache_key, cache, environ)
    temporary = Path(tempfile.gettempdir()).resolve() in root.resolve().parents
    if not runtime and temporary and "local" in (kv.type, objects.type):
        warnings.append(
            f"the project lies in a temporary folder ({root}): what a local backend keeps there may be lost after the "
            "run. Set EXPOPS_RUNTIME_DIR or prefect.runtime_dir to a lasting folder"
        )
    if kv.type == "gcp" and objects.type == "local":
        warnings.append("records go to Firestore but results to local files, which other machines cannot read")
    return Settings(
        root=root,
        project_id=project_id,
        runtime_dir=runtime_dir,
        config_file=source.file,
        kv=kv,
        objects=objects,
        cache=ours.cache,
        record=ours.record,
        processes=_processes(source, pipeline_key, pipeline),
        process_adjlist=source.text(pipeline, f"{pipeline_key}.process_adjlist", "process_adjlist") or "",
        environment=raw.get("environment"),
        reproducibility=raw.get("reproducibility") or {},
        data_path=_data_path(source, root, raw),
        scripts=raw.get("scripts") or {},
        notices=tuple(notices),
        warnings=tuple(warnings),
        configured_kv_type=_configured_kv_type(cache),
    )


def version_hash(settings: Settings) -> str:
    """The name of a project's artifact folder, as ExpOps' run server computes it from configuration and scripts.

    The hexadecimal SHA-256 of the file's digest, followed by the digest of the scripts' digests in the
    order of their keys if there are any.
    """
    if settings.config_file is None:
        return hashlib.sha256(b"mlops-cache-v1").hexdigest()
    combined = hashlib.sha256(settings.config_file.read_bytes()).hexdigest()
    if settings.scripts:
        leaves = hashlib.sha256()
        for key, script in sorted(settings.scripts.items()):
            path = settings.root / script if isinstance(script, str) else None
            content = path.read_bytes() if path is not None and path.is_file() else b""
            leaves.update(hashlib.sha256(str(key).encode() + content).hexdigest().encode())
        combined += leaves.hexdigest()
    return hashlib.sha256(combined.encode()).hexdigest()


class _Source:
    """The file that is read, for messages."""

    def __init__(self, file: Path | None) -> None:
        self.file = file

    def error(self, key: str, found: object, allowed: str) -> ConfigurationError:
        place = self.file or "the environment"
        return ConfigurationError(f"{place}: {key} is {found!r}; allowed: {allowed}")

    def read(self) -> dict[str, Any]:
        if self.file is None:
            return {}
        try:
            text = self.file.read_text(encoding="utf-8")
            value = yaml.safe_load(text)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            where = " ".join(str(error).split())
            raise ConfigurationError(f"{self.file}: not YAML: {where}") from error
        except OSError as error:
            raise ConfigurationError(f"{self.file}: cannot be read: {error.strerror}") from error
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise ConfigurationError(
                f"{self.file}: the file holds a {type(value).__name__}; allowed: sections such as 'experiment:' and "
                "'prefect:', each a mapping"
            )
        return value

    def validate(self, raw: dict[str, Any]) -> ConfigFile:
        try:
            return ConfigFile.model_validate(raw)
        except ValidationError as error:
            lines = [self._line(item) for item in error.errors(include_url=False)]
            raise ConfigurationError(f"{self.file}: " + "; ".join(lines)) from error

    def _line(self, item: Any) -> str:
        path = [str(part) for part in item["loc"]]
        key = ".".join(part for part in path if part not in _VALIDATOR_NAMES)
        if item["type"] == "extra_forbidden":
            allowed = _allowed_keys(path[:-1])
            close = difflib.get_close_matches(path[-1], allowed, 1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            return f"{key} is not a known key; {hint}allowed: {', '.join(sorted(allowed))}"
        found = item.get("input")
        allowed = _ALLOWED.get(item["type"], item["msg"].removeprefix("Value error, "))
        return f"{key} is {found!r:.80}; allowed: {allowed}"

    def text(self, mapping: Mapping[str, Any], key: str, name: str) -> str | None:
        value = mapping.get(name)
        if value is not None and not isinstance(value, str):
            raise self.error(key, value, "text")
        return value

    def mapping(self, value: object, key: str) -> dict[str, Any]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self.error(key, value, "a mapping")
        return value


_VALIDATOR_NAMES: Final = frozenset({"int", "float", "constrained-int", "constrained-float"})
_ALLOWED: Final = {
    "string_type": "text (in quotes, if it looks like a number)",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "list_type": "a list",
}


def _allowed_keys(path: list[str]) -> list[str]:
    model: Any = ConfigFile
    for part in path:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        found = [item for item in (annotation, *getattr(annotation, "__args__", ())) if hasattr(item, "model_fields")]
        if not found:
            from expops_prefect.config.model import ProcessCache

            return list(ProcessCache.model_fields)
        model = found[0]
    return list(model.model_fields)


def _project_id(source: _Source, root: Path, ours: PrefectSection, environ: Mapping[str, str]) -> str:
    key, found = "EXPOPS_PROJECT_ID", environ.get("EXPOPS_PROJECT_ID")
    if not found:
        key, found = "prefect.project_id", ours.project_id
    if not found:
        key, found = "the root folder's name", root.name
    if not _PROJECT_ID.match(found):
        raise source.error(
            key, found, "letters, digits, '_', '-' and '.', not starting with '.'; set prefect.project_id"
        )
    return found


def _legacy(raw: dict[str, Any], *places: str) -> tuple[str, dict[str, Any]]:
    """The first of several places in which a section may stand."""
    for place in places:
        value: Any = raw
        for part in place.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            if not isinstance(value, dict):
                raise ConfigurationError(f"{place} is {value!r:.80}; allowed: a mapping")
            return place, value
    return places[0], {}


def _kv(
    source: _Source,
    root: Path,
    runtime_dir: Path,
    cache_key: str,
    cache: Mapping[str, Any],
    environ: Mapping[str, str],
) -> LocalKV | FirestoreKV:
    key = f"{cache_key}.backend"
    backend = source.mapping(cache.get("backend"), key)
    text = {name: source.text(backend, f"{key}.{name}", name) for name in _BACKEND_TEXTS}
    named = environ.get("MLOPS_KV_BACKEND")
    found = named or text["type"] or "local"
    kind = _KV_TYPES.get(found.lower())
    if kind is None:
        by = "MLOPS_KV_BACKEND" if named else f"{key}.type"
        raise source.error(by, found, ", ".join(sorted(_KV_TYPES)))
    if kind == "local":
        path = environ.get("MLOPS_KV_PATH") or text["path"] or text["db_path"]
        return LocalKV(path=_below(root, path) if path else runtime_dir / "metrics.sqlite")
    gcp_project = text["gcp_project"] or environ.get("GOOGLE_CLOUD_PROJECT")
    if not gcp_project:
        raise source.error(
            f"{key}.gcp_project", text["gcp_project"], "the id of a Google Cloud project, needed for type gcp"
        )
    return FirestoreKV(
        gcp_project=gcp_project,
        credentials_json=_credentials(root, text["credentials_json"], environ),
        emulator_host=environ.get("FIRESTORE_EMULATOR_HOST") or text["emulator_host"],
        firebase_api_key=text["firebase_api_key"]
        or environ.get("FIREBASE_API_KEY")
        or environ.get("NEXT_PUBLIC_FIREBASE_API_KEY"),
        firebase_api_key_file=_below(root, text["firebase_api_key_file"]) if text["firebase_api_key_file"] else None,
    )


_BACKEND_TEXTS: Final = (
    "type",
    "path",
    "db_path",
    "gcp_project",
    "credentials_json",
    "emulator_host",
    "firebase_api_key",
    "firebase_api_key_file",
)


def _objects(
    source: _Source,
    root: Path,
    runtime_dir: Path,
    cache_key: str,
    cache: Mapping[str, Any],
    environ: Mapping[str, str],
) -> LocalObjectsSettings | GCSObjects:
    key = f"{cache_key}.object_store"
    store = source.mapping(cache.get("object_store"), key)
    bucket = environ.get("MLOPS_GCS_BUCKET") or source.text(store, f"{key}.bucket", "bucket")
    found = source.text(store, f"{key}.type", "type") or ("gcs" if environ.get("MLOPS_GCS_BUCKET") else "local")
    kind = _OBJECT_TYPES.get(found.lower())
    if kind is None:
        raise source.error(f"{key}.type", found, ", ".join(sorted(_OBJECT_TYPES)))
    if kind == "local":
        return LocalObjectsSettings(root=runtime_dir)
    if not bucket:
        raise source.error(f"{key}.bucket", bucket, "the name of a bucket, needed for type gcs")
    backend = source.mapping(cache.get("backend"), f"{cache_key}.backend")
    credentials = source.text(backend, f"{cache_key}.backend.credentials_json", "credentials_json")
    return GCSObjects(
        bucket=bucket,
        credentials_json=_credentials(root, credentials, environ),
        emulator_host=environ.get("STORAGE_EMULATOR_HOST"),
    )


def _credentials(root: Path, configured: str | None, environ: Mapping[str, str]) -> Path | None:
    named = configured or environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    return _below(root, named) if named else None


def _configured_kv_type(cache: Mapping[str, Any]) -> str | None:
    backend = cache.get("backend")
    named = backend.get("type", "local") if isinstance(backend, dict) else None
    return _KV_TYPES.get(str(named).lower()) if named else None


def _processes(source: _Source, key: str, pipeline: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    listed = pipeline.get("processes")
    if listed is None:
        return {}
    if not isinstance(listed, list):
        raise source.error(f"{key}.processes", listed, "a list of processes, each with a name")
    found: dict[str, dict[str, Any]] = {}
    for index, process in enumerate(listed):
        place = f"{key}.processes[{index}]"
        values = source.mapping(process, place)
        name = source.text(values, f"{place}.name", "name")
        if not name:
            raise source.error(f"{place}.name", name, "the name of the process")
        for part in ("parameters", "hyperparameters"):
            source.mapping(values.get(part), f"{place}.{part}")
        found[name] = values
    return found


def _data_path(source: _Source, root: Path, raw: Mapping[str, Any]) -> Path | None:
    data = source.mapping(raw.get("data"), "data")
    path = source.text(data, "data.path", "path")
    if path is None:
        path = source.text(source.mapping(data.get("hash"), "data.hash"), "data.hash.path", "path")
    return _below(root, path) if path else None


def _below(root: Path, path: str) -> Path:
    return Path(os.path.normpath(root / Path(path).expanduser()))


def usable_project_id(name: str) -> str:
    """A project id made from a folder's name."""
    safe = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.")[:100]
    return safe or "project"
