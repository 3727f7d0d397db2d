"""Canonical names: probe paths, run ids, KV keys, object keys.

All names that ExpOps' clients read are made only here. The functions are pure.
"""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import lru_cache
from typing import Final

from expops_prefect._internal.process import of_process
from expops_prefect.errors import NameRefusedError

PROCESS_STEP: Final = "__process__"
"""The step name of ExpOps' row for the process itself."""

MAX_NAME: Final = 80
MAX_SHOWN: Final = 200
_LOOK_ALIKES: Final = {"<": "‹", ">": "›", '"': "”", "'": "’", "&": "＆", "`": "‘"}  # noqa: RUF001
_SAFE: Final = re.compile(r"[^A-Za-z0-9_.-]+")
_WORDS: Final = re.compile(r"[A-Za-z0-9_.-]+(?: [A-Za-z0-9_.-]+)*")
_HASHED: Final = re.compile(r"-[0-9a-f]{8}$")
_LETTERS: Final = {
    "ß": "ss",
    "æ": "ae",
    "Æ": "AE",
    "œ": "oe",
    "Œ": "OE",
    "ø": "o",
    "Ø": "O",
    "ł": "l",
    "Ł": "L",
    "đ": "d",
    "Đ": "D",
    "ð": "d",
    "Ð": "D",
    "þ": "th",
    "Þ": "Th",
    "ı": "i",  # noqa: RUF001
}
"""Letters that do not decompose into a letter and an accent."""
_REFUSED: Final = frozenset({"status"})
_TEMPORARY: Final = ".tmp"
_STEP: Final = r"(?:/\*\[@partition='p\d+'\])?/step\[@name='[A-Za-z0-9_.-]+'\]"
_CANONICAL: Final = re.compile(
    r"^(?P<inside>//(?P<layers>(?:\*\[@(?:partition='p\d+'|seed='-?\d+')\]/)*)"
    rf"process\[@name='(?P<process>[A-Za-z0-9_.-]+)'\](?P<around>(?:{_STEP})*?))"
    r"(?P<step>(?:/\*\[@partition='p(?P<sk>\d+)'\])?/step\[@name='(?P<name>[A-Za-z0-9_.-]+)'\])?$"
)
_LAYER: Final = re.compile(r"@(?:partition='p(?P<k>\d+)'|seed='(?P<seed>-?\d+)')")


def short_hash(text: str, digits: int = 8) -> str:
    """Hexadecimal digits that tell texts apart; not safe against an attacker."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()[:digits]


@lru_cache(maxsize=1024)  # called for each task run
def normalise(name: str) -> str:
    """Convert a user's name to one that every client accepts: ``[A-Za-z0-9_.-]``, at most 80 characters.

    A changed name carries eight digits of its hash, so different names stay different, in every process
    and on every machine. ``status``, names made only of dots or underscores, and names that start like
    temporary files are changed, because clients and stores cannot handle them.
    """
    safe = _SAFE.sub("-", name).strip("-") or "unnamed"
    changed = safe != name or len(safe) > MAX_NAME or safe.lower() in _REFUSED
    reserved = not safe.strip("._") or safe.startswith(_TEMPORARY)
    if not (changed or reserved or (safe.startswith("__") and safe.endswith("__"))):
        return safe
    if reserved or safe.startswith("__"):
        safe = "n" + safe
    return f"{safe[: MAX_NAME - 9]}-{short_hash(name)}"


@lru_cache(maxsize=1024)
class _OlderNames(dict[str, str]):
    """The names in earlier releases of the processes and steps whose labels this process has seen."""


def process_name(label: str) -> str:
    """The name of a process or step for a user's label.

    Spaces become dashes and letters lose their accents: ``Données du jour`` becomes ``Donnees-du-jour``. Labels that
    need other changes go through :func:`normalise`. Two labels may get the same name: see :func:`apart`.
    """
    name, older = _names_of(label)
    if older:
        of_process(_OlderNames)[name] = older
    return name


@lru_cache(maxsize=1024)  # asked for with each task run
def _names_of(label: str) -> tuple[str, str]:
    """The name of a label, and the one that earlier releases gave it where that differs."""
    plain = "".join(
        _LETTERS.get(letter, letter)
        for letter in unicodedata.normalize("NFKD", label)
        if not unicodedata.combining(letter)
    )
    older = normalise(label)
    name = normalise(plain.replace(" ", "-")) if _WORDS.fullmatch(plain) else older
    return name, "" if name == older else older


def older_name(name: str) -> str | None:
    """The name in earlier releases of a process or step, if this process has seen its label."""
    return of_process(_OlderNames).get(name)


def apart(label: str) -> str:
    """An alternative name for a label whose :func:`process_name` another label has."""
    return f"{process_name(label)[: MAX_NAME - 9]}-{short_hash(label)}"


def is_named_by(name: str, label: str) -> bool:
    """Whether the name of a process or step was made from this label, in this release or an earlier one.

    It was not if the user named another process. A label may have been cut, so its hash may be unknown.
    """
    return name in (process_name(label), normalise(label), apart(label)) or (
        label != normalise(label) and bool(_HASHED.search(name))
    )


@lru_cache(maxsize=1024)
def shown(name: str) -> str:
    """A user's name as clients can show it: one line without markup, at most 200 characters.

    ExpOps' UI inserts names into HTML without escaping. Characters that would be markup there, or end an attribute,
    are replaced by look-alikes, which clients that escape show as well.
    """
    plain = "".join(_LOOK_ALIKES.get(part, part) if part.isprintable() else " " for part in name[: MAX_SHOWN + 1])
    return plain if len(plain) <= MAX_SHOWN else f"{plain[: MAX_SHOWN - 1]}…"


def process_path(process: str, call: int | None = None) -> str:
    """The probe path of a process, or of its ``call``-th call (1-based, an ExpOps partition)."""
    _check_normalised(process)
    if call is None:
        return f"//process[@name='{process}']"
    return f"//*[@partition='p{call}']/process[@name='{process}']"


def split_path(process: str, partitions: Iterable[int] = (), seeds: Iterable[int] = ()) -> str:
    """The probe path of a process inside splits of a pipeline: data layers first, then seeds.

    Args:
        process: its normalised name.
        partitions: the number of the partition (1-based) in each data layer, the outermost first.
        seeds: the seed in each seed layer, the outermost first.
    """
    _check_normalised(process)
    layers = [f"*[@partition='p{number}']" for number in partitions] + [f"*[@seed='{seed}']" for seed in seeds]
    return "//" + "/".join([*layers, f"process[@name='{process}']"])


def step_path(process: str, step: str, call: int | None = None) -> str:
    """The path of a step below a process path, or of the ``call``-th call of that step in it."""
    _check_normalised(step)
    layer = "" if call is None else f"/*[@partition='p{call}']"
    return f"{process}{layer}/step[@name='{step}']"


@dataclass(frozen=True, slots=True)
class CanonicalName:
    """A parsed probe path.

    Attributes:
        process: the process.
        call: 1-based; ``None`` without a partition, or in more than one layer.
        step: the step; ``None`` for the process itself.
        step_call: 1-based; ``None`` if the step has no partition of its own.
        layers: the splits around it as ExpOps labels them, ``P1`` and ``S41``, the outermost first.
        inside: the probe path that contains a step: that of its process, or of a subflow in it.
    """

    process: str
    call: int | None
    step: str | None
    step_call: int | None
    layers: tuple[str, ...] = ()
    inside: str = ""


def parse_path(path: str) -> CanonicalName | None:
    """Parse a probe path; ``None`` for any other text."""
    match = _CANONICAL.match(path)
    if match is None:
        return None
    found = list(_LAYER.finditer(match["layers"]))
    layers = tuple(f"P{layer['k']}" if layer["k"] else f"S{layer['seed']}" for layer in found)
    call = int(found[0]["k"]) if len(found) == 1 and found[0]["k"] else None
    sk = match["sk"]
    return CanonicalName(match["process"], call, match["name"], int(sk) if sk else None, layers, match["inside"])


def readable(path: str, labels: Mapping[str, str] | None = None) -> str:
    """A probe path for people: ``train``, ``train #2`` for its second call, ``train P1 S41`` inside splits,
    ``train / load`` for a step, ``train / tune / fit`` for one of a subflow in it.

    Args:
        path: the probe path.
        labels: the users' names of processes and steps: by name, or by path where two have the same name.
    """
    parsed = parse_path(path)
    if parsed is None:
        return path
    label = label_at(path, parsed, labels or {})
    if parsed.step is None:
        return f"{label} #{parsed.call}" if parsed.call else " ".join((label, *parsed.layers))
    return f"{readable(parsed.inside, labels)} / {label}" + (f" #{parsed.step_call}" if parsed.step_call else "")


def label_at(path: str, parsed: CanonicalName, labels: Mapping[str, str]) -> str:
    """The user's name of the process or step at a probe path; see :func:`readable`."""
    name = parsed.step or parsed.process
    return labels.get(path) or labels.get(name, name)


def first_call_path(path: str) -> str:
    """The path with number 1 of a name's first call, which is recorded under the name's own path."""
    parsed = parse_path(path)
    if parsed is None:
        return path
    if parsed.step is not None:
        return step_path(parsed.inside, parsed.step, 1) if parsed.step_call is None else path
    return path if parsed.layers else process_path(parsed.process, 1)


def total_path(path: str) -> str:
    """The path of the row that sums up all calls of a path's name."""
    parsed = parse_path(path)
    if parsed is None:
        return path
    return process_path(parsed.process) if parsed.step is None else step_path(parsed.inside, parsed.step)


def encode(text: str) -> str:
    """ExpOps' encoding of a name in a key or document id: ``p_`` and URL-safe base64 without padding."""
    return "p_" + base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(text: str) -> str:
    """The inverse of :func:`encode`.

    Raises:
        NameRefusedError: the text is not such an encoding.
    """
    try:
        if not text.startswith("p_"):
            raise ValueError(text)
        body = text[2:]
        return base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)).decode()
    except ValueError as error:
        raise NameRefusedError(f"not an encoded name: {text!r}") from error


def enclosing_process(path: str) -> str:
    """The probe path of the process that a probe path names, or that contains its step."""
    begin = path.find(_PROCESS_PART)
    end = path.find("/", begin) if begin >= 0 else -1
    return path if end < 0 else path[:end]


def process_record_prefix(beginning: str) -> str:
    """The prefix of the KV keys of records of tasks whose names start with ``beginning``."""
    return f"{PROCESS_RECORD_PREFIX}//{_PROCESS_PART}{beginning}"


def first_run_id(project_id: str, start: float) -> str:
    """A text that sorts before the ids of runs that started at this time or later, and after all earlier ids."""
    return run_id(project_id, start, "0" * 8)[:-9]


def run_id(project_id: str, start: float, flow_run_id: str) -> str:
    """``project-<project>-<UTC start>-<8 hex of the flow run>``; ExpOps' UI sorts by it."""
    moment = datetime.fromtimestamp(start, tz=timezone.utc).strftime("%Y%m%d%H%M%S")
    digits = re.sub(r"[^0-9a-f]", "", flow_run_id.lower())
    # The tail of a time-ordered uuid is its random part; the head is shared by neighbours.
    tail = digits[-8:] if len(digits) >= 8 else short_hash(flow_run_id)
    return f"project-{project_id}-{moment}-{tail}"


def project_of_run(run: str) -> str | None:
    """The project of a run; ``None`` if the id has another form."""
    found = re.fullmatch(r"project-(.+)-\d{14}-[0-9a-z]+", run)
    return None if found is None else found[1]


# KV keys that ExpOps' clients read ---------------------------------------------------------------


def run_status_key(run: str) -> str:
    """ExpOps' key of a run's status word."""
    return f"runs:{run}:status"


def run_timestamps_key(run: str) -> str:
    """ExpOps' key of a run's ``{start, end}``, epoch seconds."""
    return f"runs:{run}:timestamps"


def run_rows_prefix(run: str) -> str:
    """The prefix of the keys of all rows of a run."""
    return f"runs:{run}:steps:"


def row_key(run: str, path: str) -> str:
    """The row of a process, one of its calls, or a step: each under its own path."""
    return f"runs:{run}:steps:{path}:{PROCESS_STEP}"


def stat_key(run: str, stat: str) -> str:
    """ExpOps' key of a counter of a run, such as ``cache_hit_count``."""
    return f"runs:{run}:stats:{stat}"


def charts_key(run: str, path: str) -> str:
    """ExpOps' key of the charts of a process in a run."""
    return f"runs:{run}:charts:{path}"


def metrics_prefix(run: str) -> str:
    """The prefix of the metrics keys of a run."""
    return f"metric:{run}:probe_path:"


@lru_cache(maxsize=1024)  # called for each point of a series
def metrics_key(run: str, path: str) -> str:
    """ExpOps' key of the metrics of a probe path in a run."""
    return f"{metrics_prefix(run)}{encode(path)}"


def run_prefixes(run: str) -> tuple[str, ...]:
    """The prefixes of all keys of a run that ExpOps' clients read."""
    return (
        run_status_key(run),
        run_timestamps_key(run),
        run_rows_prefix(run),
        stat_key(run, ""),
        charts_key(run, ""),
        metrics_prefix(run),
    )


# KV keys of this package -------------------------------------------------------------------------


def run_record_key(run: str) -> str:
    """This package's record of a run: flow, parameters, flow run id, graph, degraded events."""
    return f"expops_prefect:run:{run}"


RUN_RECORD_PREFIX: Final = "expops_prefect:run:"


def flow_run_key(flow_run_id: str) -> str:
    """Maps the id of a flow run or subflow run to its run id."""
    return f"expops_prefect:flow_run:{flow_run_id}"


def retry_key(key: str) -> str:
    """The location of a result that a flow run has computed, by Prefect's own key for it."""
    return f"expops_prefect:retry:{key}"


def prefect_result_key(key: str) -> str:
    """The run that computed a result in Prefect's own cache, and its metrics and charts."""
    return f"expops_prefect:computed:{short_hash(key, 32)}"


SIGN_PREFIX: Final = "expops_prefect:alive:"


def sign_key(run: str) -> str:
    """The latest heartbeat of a run; exists while the run is open."""
    return f"{SIGN_PREFIX}{run}"


def degraded_key(run: str) -> str:
    """The failures beside a run in its worker processes: how often each kind, and since when."""
    return f"expops_prefect:degraded:{run}"


LEASE_PREFIX: Final = "expops_prefect:lease:"


def lease_key(key: str) -> str:
    """The lease on a transaction key, of this package or foreign: the process that is computing it."""
    return f"{LEASE_PREFIX}{short_hash(key, 32)}"


def counter_key(run: str, path: str) -> str:
    """The last call number assigned to a path in a run."""
    return f"expops_prefect:calls:{run}:{path}"


# Cache keys --------------------------------------------------------------------------------------

_HEX64: Final = re.compile(r"^[0-9a-f]{64}$")
PROCESS_RECORD_PREFIX: Final = "process:"
_PROCESS_PART: Final = "process[@name='"
STEP_RECORD_PREFIX: Final = "steps:"
FOREIGN_RECORD_PREFIX: Final = "expops_prefect:result:"
"""Records under foreign transaction keys."""
USE_PREFIX: Final = "expops_prefect:used:"
REMOVED_PREFIX: Final = "expops_prefect:removed:"


def use_key(record_key: str) -> str:
    """The time of a cached result's last use; apart from its record, which is not rewritten."""
    return f"{USE_PREFIX}{short_hash(record_key, 32)}"


def removed_key(record_key: str) -> str:
    """The time and manner of a record's last removal."""
    return f"{REMOVED_PREFIX}{short_hash(record_key, 32)}"


@dataclass(frozen=True, slots=True)
class CacheKey:
    """One computation: the task's normalised name and the three digests, each 64 hex digits."""

    task: str
    inputs: str
    config: str
    function: str

    def __post_init__(self) -> None:
        _check_normalised(self.task)
        if not all(_HEX64.match(part) for part in (self.inputs, self.config, self.function)):
            raise NameRefusedError(f"a cache key has three digests of 64 hex digits: {self}")

    def __str__(self) -> str:
        """The transaction key and object path, ``<task>/<inputs>/<config>/<function>``."""
        return f"{self.task}/{self.inputs}/{self.config}/{self.function}"

    @property
    def short(self) -> str:
        """A short form for display, long enough to find it by."""
        return f"{self.task}/{self.inputs[:8]}/{self.config[:8]}/{self.function[:8]}"

    @classmethod
    def parse(cls, text: str) -> CacheKey | None:
        """Parse a transaction key; ``None`` for a foreign key."""
        parts = text.split("/")
        if len(parts) != 4 or not all(_HEX64.match(part) for part in parts[1:]):
            return None
        return cls(*parts) if is_normalised(parts[0]) else None

    def begins_with(self, text: str) -> bool:
        """Whether each slash-separated part of ``text`` is the start of the corresponding part of the key."""
        given, whole = text.split("/"), str(self).split("/")
        return len(given) <= len(whole) and all(
            part.startswith(begun) for part, begun in zip(whole, given, strict=False)
        )

    @property
    def record_key(self) -> str:
        """The KV key of the cache record, under the task's own name."""
        return f"{PROCESS_RECORD_PREFIX}{process_path(self.task)}:{self.inputs}:{self.config}:{self.function}"

    def step_record_key(self, process: str, step: str) -> str:
        """The KV key of the alias that ExpOps reads for a step of a process."""
        return f"{STEP_RECORD_PREFIX}{process}:{step}:{self.inputs}:{self.config}:{self.function}"


# Object keys, relative to the project's folder or prefix -------------------------------------------

CACHE_PREFIX: Final = "cache/"
ARTIFACT_PREFIX: Final = "artifacts/"
MANIFEST_PREFIX: Final = "cache/steps/"
PAYLOAD_PREFIX: Final = "cache/payloads/"
MODEL_PREFIX: Final = "cache/model_spill/"
SOURCES_PREFIX: Final = "cache/sources/"


def manifest_key(run: str, task: str, digest: str) -> str:
    """``cache/steps/<run>/<task>/<digest>.pkl``: content-addressed, so no writer changes another's."""
    return f"{MANIFEST_PREFIX}{run}/{task}/{digest}.pkl"


def payload_key(digest: str, suffix: str) -> str:
    """``cache/payloads/<aa>/<digest><suffix>``, models below ``cache/model_spill``."""
    prefix = MODEL_PREFIX if suffix == ".joblib" else PAYLOAD_PREFIX
    return f"{prefix}{digest[:2]}/{digest}{suffix}"


def sources_key(function: str) -> str:
    """``cache/sources/<aa>/<function digest>.json.z``: the components of the code with this digest."""
    return f"{SOURCES_PREFIX}{function[:2]}/{function}.json.z"


_CONTENT_KEY: Final = re.compile(
    rf"^(?:{MANIFEST_PREFIX}[^/]+/[^/]+/(?P<manifest>[0-9a-f]{{64}})\.pkl"
    rf"|(?:{PAYLOAD_PREFIX}|{MODEL_PREFIX}|{SOURCES_PREFIX})[0-9a-f]{{2}}/(?P<payload>[0-9a-f]{{64}})(?:\.[^/]*)?)$"
)


def content_digest(key: str) -> str | None:
    """The digest in the name of a manifest, payload or sources object; ``None`` for others, such as ExpOps' own."""
    match = _CONTENT_KEY.match(key)
    return None if match is None else match["manifest"] or match["payload"]


def chart_key(version_hash: str, run: str, path: str, name: str, suffix: str) -> str:
    """``artifacts/<version_hash>/<run>/<encoded path>/<name>.<suffix>``."""
    return f"{ARTIFACT_PREFIX}{version_hash}/{run}/{short_hash(path, 12)}/{name}{suffix}"


def is_normalised(name: str) -> bool:
    """Whether :func:`normalise` could have made a name."""
    return 0 < len(name) <= MAX_NAME and not _SAFE.search(name) and name.lower() not in _REFUSED


@lru_cache(maxsize=1024)
def _check_normalised(name: str) -> None:
    if not is_normalised(name):
        raise NameRefusedError(f"{name!r} is not a normalised name; allowed: [A-Za-z0-9_.-], at most {MAX_NAME}")
