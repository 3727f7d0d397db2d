"""What a cache key was made of, as digests of its parts, so that two keys can be compared part by part.

The parts of inputs and configuration are one JSON text in the record. Those of the code, with the
sources, are one object under the function's digest, which task runs of the same code share. While a
key is computed, only references are kept; a hit costs nothing more.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import orjson

from expops_prefect._internal.redaction import HIDDEN, masked, masked_source, masked_text
from expops_prefect.cache import stability
from expops_prefect.explain.components import FORMAT
from expops_prefect.fingerprint.canonical import Note
from expops_prefect.fingerprint.code import CodeFingerprint
from expops_prefect.fingerprint.value_summary import short_digest, summaries
from expops_prefect.models import names
from expops_prefect.project import Project
from expops_prefect.stores.objects.base import GRACE
from expops_prefect.stores.outbox.changes import KeepObject

_VALUES: Final = ("parameters", "hyperparameters")
"""Sections of a process whose values are kept, without secrets; for all others only digests are kept."""
_NOT_SHOWN: Final = f'"{HIDDEN}"'
_MOST_VALUE: Final = 120
_MOST_KEYS: Final = 128
_MOST_SOURCE: Final = 1 << 20


@dataclass(slots=True)
class KeyComponents:
    """What a key is made of, until it is known whether it has to be recorded.

    Attributes:
        values, digests, notes: of the arguments by parameter.
        others: the keys of other policies.
        config: see :func:`config_parts`.
        code: the function's fingerprint.
        root: the project's folder; paths below it are relative to it.
        process: digests of changed process settings that affect computing, by description.
    """

    values: Mapping[str, Any]
    digests: Mapping[str, str]
    notes: Mapping[str, list[Note]]
    others: tuple[str, ...]
    config: Mapping[str, str]
    code: CodeFingerprint
    root: Path | None = None
    process: Mapping[str, str] = field(default_factory=dict)

    def snapshot(self, task: str = "", *, looked_at: Collection[str] = ()) -> KeySnapshot:
        """The parts, before the task's body may change its arguments.

        Args:
            task: its name, for warnings about unstable parts.
            looked_at: the parameters whose arguments are checked again after the body.
        """
        inputs = summaries(self.digests, self.values, self.notes, self.root)
        others = [short_digest(key.encode()) for key in self.others]
        value: dict[str, Any] = {"format": FORMAT, "inputs": inputs, "others": others, "config": self.config}
        if self.process:
            value["process"] = {name: digest[:16] for name, digest in self.process.items()}
        unstable = stability.unstable_arguments(task, self, looked_at), stability.unstable_constants(task, self.code)
        if any(unstable):
            value["unstable"] = {"inputs": unstable[0], "code": unstable[1]}
        return KeySnapshot(orjson.dumps(value).decode(), self.code)


@dataclass(frozen=True, slots=True)
class KeySnapshot:
    """The parts of a key, recorded with the result.

    Attributes:
        text: the parts of inputs and configuration, JSON.
        code: the function's fingerprint.
    """

    text: str
    code: CodeFingerprint

    def unstable(self, task: str, kinds: Mapping[str, type]) -> KeySnapshot:
        """The same parts, with more arguments marked as unstable; warns once for each.

        Args:
            task: the task's name.
            kinds: the types of the unstable arguments by parameter.
        """
        value = orjson.loads(self.text)
        known = value.get("unstable") or {"inputs": [], "code": []}
        for name, kind in kinds.items():
            if name not in known["inputs"]:
                known["inputs"].append(name)
                stability.tell(task, name, kind)
        value["unstable"] = known
        return replace(self, text=orjson.dumps(value).decode())


def config_parts(part: Mapping[str, Any], data: str | None, data_path: str) -> dict[str, str]:
    """The keys of a process's configuration, each with a digest, and with its value if that may be shown.

    Args:
        part: what enters the key, see :meth:`~expops_prefect.config.Settings.config_part`.
        data: the digest of the data file; ``None`` for none.
        data_path: the data file as it is configured.
    """
    found: dict[str, str] = {}
    for section in (part["process"], {"reproducibility": part["reproducibility"]}):
        shown = {path: _text(value) for path, value in _flat(masked(section), "") if path.startswith(_VALUES)}
        for path, value in _flat(section, ""):
            # Like YAML and the key, JSON tells 1 from 1.0 and from true.
            digest, text = short_digest(_text(value).encode()), shown.get(path, "")
            found[path] = f"{digest} {text}" if text and text != _NOT_SHOWN and len(text) <= _MOST_VALUE else digest
            if len(found) >= _MOST_KEYS:
                break
    if data is not None:
        found["data.path"] = f"{data[:16]} {masked_text(data_path)}"
    return found


def _text(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS, default=str).decode()


def _flat(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _flat(item, f"{path}.{name}" if path else str(name))
    elif path:
        yield path, value


class _KeptSources(dict[str, tuple[float, int]]):
    """The functions whose sources are stored: by digest, the time of storing and the size in bytes."""

    def __init__(self, _: Project) -> None:
        super().__init__()


def keep_sources(project: Project, code: CodeFingerprint) -> int:
    """Store the parts and sources of a function in the background, once per process.

    Returns:
        The size of their object, bytes.
    """
    known = project.part(_KeptSources)
    now = time.time()
    found = known.get(code.digest)
    if found is not None and now - found[0] < GRACE / 4:
        return found[1]
    sources: dict[str, str] = {}
    room = _MOST_SOURCE
    for name, source in code.sources.items():
        room -= len(source)
        if room > 0:
            sources[name] = masked_source(source, name)
    # Python's version is kept as it is; all others are digests.
    parts = {name: digest if name == "python" else digest[:16] for name, digest in code.parts.items()}
    content = {"format": FORMAT, "function": code.digest, "parts": parts, "sources": sources}
    try:
        data = zlib.compress(orjson.dumps(content, option=orjson.OPT_SORT_KEYS))
    except TypeError:  # a string with lone surrogates
        return 0
    project.outbox.write(KeepObject(names.sources_key(code.digest), data))
    known[code.digest] = now, len(data)
    return len(data)
