"""Encoders for lazy data: polars' lazy frames, Arrow's datasets, Dask's frames. They are never computed here.

Lazy data is encoded by its plan and by the content of the files that it scans. It is refused if these
cannot be determined (remote files, a Python function, a user-defined source).
"""

from __future__ import annotations

import glob
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from expops_prefect.fingerprint.canonical import Encoder, Walk
from expops_prefect.fingerprint.encoding_primitives import named, text
from expops_prefect.fingerprint.files import DataRules, counting, data_digest
from expops_prefect.fingerprint.identity import class_name
from expops_prefect.fingerprint.leftovers import with_attributes

_MOST_PLAN: Final = 64 << 20
_MOST_FILES: Final = 5000
_REMOTE: Final = re.compile(r"^[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_REASON: Final = "its source files cannot be determined ({}); pass their paths as DataFile, or the computed data"
_FUNCTIONS: Final = frozenset(
    {"OpaquePython", "AnonymousFunction", "PythonScan", "PythonFunction", "Anonymous", "Opaque"}
)
"""Polars' names for the parts of a plan that are Python functions."""


# It is unknown which files a library skips in a folder that it scans.
_EVERYTHING: Final = DataRules(names=())


class _UnknownSourceError(Exception):
    """A source of a plan is not a local file."""


def _content(path: str) -> tuple[str, str]:
    """The name and the content's digest of a file, of the files below a folder, or of those of a glob pattern."""
    if path.startswith("file://"):
        path = path[len("file://") :]
    if _REMOTE.match(path):
        raise _UnknownSourceError(f"{path} is not on this machine")
    path = os.path.expanduser(path)  # noqa: PTH111 - a string is needed
    if Path(path).exists():
        return path, data_digest(path)
    if glob.has_magic(path):
        found = sorted(glob.glob(path, recursive=True))  # noqa: PTH207 - patterns may be absolute
        if len(found) > _MOST_FILES:
            raise _UnknownSourceError(f"{path} matches more than {_MOST_FILES} files")
        return path, "\n".join(f"{one} {data_digest(one)}" for one in found)
    raise _UnknownSourceError(f"{path} does not exist")


def _form(walk: Walk, value: Any, plan: Any, files: list[str]) -> bytes:
    if walk.classes is not None:
        walk.classes.add(type(value))
    with counting(_EVERYTHING):
        contents = [_content(path) for path in files]
    return named("plan", text(class_name(type(value))), walk.encode(plan), walk.encode(contents))


def _refusing(encode: Encoder) -> Encoder:
    def encoder(walk: Walk, value: Any) -> bytes:
        try:
            return encode(walk, value)
        except (_UnknownSourceError, OSError) as error:
            return walk.refuse(value, _REASON.format(error), error)

    return encoder


# polars ------------------------------------------------------------------------------------------


def _polars(walk: Walk, value: Any) -> bytes:
    import orjson

    data = value.serialize()
    if len(data) > _MOST_PLAN:
        raise _UnknownSourceError("it contains too much data itself")
    # Not by serialize(format="json"), which emits a warning.
    plan = io.BytesIO()
    value._ldf.serialize_json(plan)
    form = _form(walk, value, data, list(_scanned(orjson.loads(plan.getvalue()))))
    return with_attributes(walk, value, form, frozenset())


def _scanned(plan: Any) -> Iterator[str]:
    """The files of a plan's scans."""
    waiting = [plan]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            if not part or not isinstance(part[0], int):
                waiting.extend(part)
        elif isinstance(part, dict):
            if functions := _FUNCTIONS.intersection(part):
                raise _UnknownSourceError(f"it contains a Python function, {min(functions)}")
            scan = part.get("Scan")
            if isinstance(scan, dict):
                yield from _sources(scan.get("sources"))
                if isinstance(kind := scan.get("scan_type"), dict) and _FUNCTIONS.intersection(kind):
                    raise _UnknownSourceError("a source in Python")
            waiting.extend(part.values())


def _sources(sources: Any) -> Iterator[str]:
    if isinstance(sources, dict) and set(sources) == {"Buffers"}:
        return  # their bytes are part of the plan
    if not isinstance(sources, dict) or set(sources) != {"Paths"}:
        raise _UnknownSourceError("it reads open files")
    for path in sources["Paths"]:
        inner = path.get("inner", path.get("Local")) if isinstance(path, dict) else path
        if not isinstance(inner, str):
            raise _UnknownSourceError("a source of an unknown kind")
        yield inner


# Arrow -------------------------------------------------------------------------------------------


def _dataset(walk: Walk, value: Any) -> bytes:
    from pyarrow import dataset, fs

    if isinstance(value, dataset.UnionDataset):
        parts = [walk.at(f".children[{index}]", child) for index, child in enumerate(value.children)]
        return named("dataset", text(class_name(type(value))), walk.encode(value.schema), *parts)
    if not isinstance(value, dataset.FileSystemDataset):
        raise _UnknownSourceError("it reads no files")
    files = value.filesystem
    prefix = ""
    while isinstance(files, fs.SubTreeFileSystem):
        prefix = files.base_path + prefix
        files = files.base_fs
    if not isinstance(files, fs.LocalFileSystem):
        raise _UnknownSourceError(f"its files are in a {type(files).__name__}")
    options = getattr(value, "_scan_options", None) or {}
    said = (
        value.schema,
        str(value.partition_expression),
        str(value.format),
        str(getattr(value, "partitioning", None) and value.partitioning.schema),
        str(sorted((name, str(option)) for name, option in options.items())),
    )
    return _form(walk, value, said, [prefix + file for file in value.files])


# Dask --------------------------------------------------------------------------------------------


def _dask(walk: Walk, value: Any) -> bytes:
    """A Dask frame by its expression and the files it reads; its name contains times and addresses."""
    files: list[str] = []
    for part in value.expr.walk():
        kind = type(part).__name__
        if kind.startswith("Read"):
            files += _read(part)
        elif not part.dependencies() and kind not in ("FromPandas", "Literal"):
            raise _UnknownSourceError(f"it begins with {kind}")
    return _form(walk, value, _expression(walk, value.expr), files)


def _expression(walk: Walk, part: Any) -> bytes:
    """The form of an expression: its kind and its operands, recursively."""
    parts = []
    for name, operand in zip(part._parameters, part.operands, strict=False):
        if hasattr(operand, "operands"):
            parts.append(_expression(walk, operand))
        elif not name.endswith("_cache"):
            # Frames are in a wrapper that has their digest.
            held = getattr(operand, "_data", operand) if type(operand).__name__ == "_BackendData" else operand
            parts.append(walk.at(f".{name}", held))
    return named("expression", text(type(part).__name__), *parts)


def _read(part: Any) -> list[str]:
    for name in ("path", "filename", "urlpath"):
        if name in part._parameters:
            given = part.operand(name)
            paths = list(given) if isinstance(given, (list, tuple)) else [given]
            return [os.fspath(path) for path in paths]
    raise _UnknownSourceError(f"the files that {type(part).__name__} reads")


def _file_manager(walk: Walk, value: Any) -> bytes:
    """An xarray file manager."""
    given = getattr(value, "_args", ())
    if not given or not isinstance(given[0], (str, os.PathLike)):
        raise _UnknownSourceError("it reads an open file")
    mode = str(getattr(value, "_mode", ""))
    return named("file manager", text(class_name(type(value))), walk.encode((_content(os.fspath(given[0])), mode)))


def _lock(_walk: Walk, value: Any) -> bytes:
    return named("lock", text(class_name(type(value))))


def _refused(walk: Walk, value: Any) -> bytes:
    return walk.refuse(value, _REASON.format("a " + type(value).__name__))


def _delayed(walk: Walk, value: Any) -> bytes:
    """A delayed Dask function; its key is random."""
    function = getattr(value, "_obj", None)
    if not callable(function):
        return _refused(walk, value)
    known = walk.enter(value)
    if known is not None:
        return known
    options = walk.encode((value._pure, value._nout))
    return walk.leave(value, named("delayed", walk.at("", function), options))


_BY_NAME: Final[dict[str, Encoder]] = {
    "polars.lazyframe.frame:LazyFrame": _refusing(_polars),
    "pyarrow._dataset:Dataset": _refusing(_dataset),
    "pyarrow._dataset:Scanner": _refused,
    "dask.dataframe.dask_expr._collection:FrameBase": _refusing(_dask),
    "dask.bag.core:Bag": _refused,
    "dask.array.core:Array": _refused,
    "xarray.backends.file_manager:FileManager": _refusing(_file_manager),
    "xarray.backends.locks:CombinedLock": _lock,
    "xarray.backends.locks:SerializableLock": _lock,
    "dask.utils:SerializableLock": _lock,
    "dask.delayed:DelayedLeaf": _delayed,
    "dask.delayed:Delayed": _refused,
    "django.db.models.query:QuerySet": _refused,
    "duckdb:DuckDBPyRelation": _refused,
    "_duckdb:DuckDBPyRelation": _refused,
    "ibis.expr.types.core:Expr": _refused,
    "pyspark.sql.dataframe:DataFrame": _refused,
}


def encoder_of(cls: type) -> Encoder | None:
    """The encoder of a class of lazy data and its subclasses; ``None`` for other classes."""
    return _BY_NAME.get(f"{cls.__module__}:{cls.__qualname__}")
