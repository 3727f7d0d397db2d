"""Where each KV key is kept in Firestore: ExpOps' documents, and this package's beside them. Pure functions.

Paths are relative to ``mlops_projects/<project>``::

    runs/<run>                             fields status, timestamps, stats.<name>; last_updated
    runs/<run>/steps/<id>                  one row
    runs/<run>/charts_index/index          fields charts.<path>; last_updated
    metric/<run>/probes_by_path/<id>       one field for each series
    metric/<run>/expops_prefect_series/<id>         how many overflow documents the series has
    metric/<run>/expops_prefect_overflow/<id>.<n>   points that do not fit into the series' document
    step_indices/<id>, process_indices/<id>     one cache record
    expops_prefect/<id>                    every other key: key, value
    expops_prefect_tokens/<id>             additions that were made to counters

Rows, records and other keys carry the key in a field ``key``, so that a scan is a range query.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final, Literal

from expops_prefect.errors import KVRefusedError, NameRefusedError
from expops_prefect.models import names
from expops_prefect.stores.kv.encoding import check_key

Kind = Literal["entry", "row", "field", "series"]

ENTRIES: Final = "expops_prefect"
TOKENS: Final = "expops_prefect_tokens"
DOCUMENTS: Final = {
    "runs": ("steps", "charts_index"),
    "metric": ("probes_by_path", "expops_prefect_series", "expops_prefect_overflow"),
    "step_indices": (),
    "process_indices": (),
    ENTRIES: (),
    TOKENS: (),
}
"""The collections of a project, with those below each of their documents."""
KEY_FIELD: Final = "key"
REST_FIELD: Final = "key_rest"
"""The rest of a key that does not fit into ``key``."""
STAMP_FIELD: Final = "last_updated"
"""A float. ExpOps' run list omits runs without this field."""

_MAX_ID: Final = 1500
_MAX_SORTED: Final = 1400
"""Bytes of a key in the field ``key``: Firestore indexes and compares 1,500 bytes of a text."""
_MAX_FIELD: Final = 1200
"""Firestore allows 1,500 bytes for the whole path of a field."""
_RESERVED: Final = re.compile(r"__.*__", re.DOTALL)
_ESCAPED: Final = "~p_"


@dataclass(frozen=True, slots=True)
class DocumentPath:
    """The location of a key.

    Attributes:
        kind: ``entry`` (a document with ``key`` and ``value``), ``row`` (a document whose fields are
            the value's), ``field`` (a field of a document that holds several keys) or ``series``.
        document: path of the document, relative to the project's.
        field: path of the field in it; empty unless ``kind`` is ``field``.
    """

    kind: Kind
    document: str
    field: tuple[str, ...] = ()

    @property
    def documents(self) -> tuple[str, ...]:
        """The documents to read, at one moment, to know the value; without the overflow of a series."""
        return (self.document, self.part_count) if self.kind == "series" else (self.document,)

    @property
    def part_count(self) -> str:
        """The document that says how many overflow documents a series has."""
        head, _, name = self.document.rpartition("/")
        return f"{head.rpartition('/')[0]}/expops_prefect_series/{name}"

    def part(self, number: int) -> str:
        """The ``number``-th overflow document of a series, from 1."""
        head, _, name = self.document.rpartition("/")
        return f"{head.rpartition('/')[0]}/expops_prefect_overflow/{name}.{number}"


def place(key: str) -> DocumentPath:
    """The location of a key.

    Raises:
        KVRefusedError: the key is not text that UTF-8 can express.
    """
    check_key(key)
    found: DocumentPath | None = None
    if key.startswith("runs:"):
        found = _in_run(key)
    elif key.startswith("metric:"):
        found = _series(key)
    elif key.startswith(names.STEP_RECORD_PREFIX):
        found = DocumentPath("row", f"step_indices/{_step_record_id(key)}")
    elif key.startswith(names.PROCESS_RECORD_PREFIX):
        found = DocumentPath("row", f"process_indices/{_process_record_id(key)}")
    return found or DocumentPath("entry", f"{ENTRIES}/{_own_id(key)}")


def sorted_part(key: str) -> str:
    """The start of a key that Firestore can sort by."""
    return _cut(key, _MAX_SORTED)


def group_of(key: str) -> str:
    """The start that a long key shares with all keys that Firestore cannot sort among each other.

    A short key is returned whole: Firestore sorts it correctly, beside long ones too.
    """
    return key if len(key.encode()) <= _MAX_SORTED - 4 else _cut(key, _MAX_SORTED - 8)


def token_document(key: str, token: str) -> str:
    """The document that records an addition to a counter."""
    return f"{TOKENS}/{_digest(f'{len(key)}:{check_key(key)}:{check_key(token)}')}"


def is_id(text: str) -> bool:
    """Whether Firestore accepts a text as a document id."""
    return (
        0 < len(text.encode()) <= _MAX_ID
        and "/" not in text
        and text not in (".", "..")
        and not _RESERVED.fullmatch(text)
    )


def is_field(name: str) -> bool:
    """Whether Firestore accepts a text as a field name."""
    return 0 < len(name.encode()) <= _MAX_FIELD and not _RESERVED.fullmatch(name)


def escape(name: str) -> str:
    """A name as a field name: unchanged where possible, so that clients show it unchanged.

    Raises:
        KVRefusedError: it is too long.
    """
    escaped = name if is_field(name) and not name.startswith(_ESCAPED) else f"~{names.encode(name)}"
    if not is_field(escaped):
        raise KVRefusedError(f"a name of {len(name)} characters is too long for Firestore: {name[:80]!r}…")
    return escaped


def unescape(field: str) -> str:
    """The inverse of :func:`escape`; a field name that others wrote is returned unchanged."""
    if not field.startswith(_ESCAPED):
        return field
    try:
        return names.decode(field[1:])
    except NameRefusedError:
        return field


# Scans -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RunArea:
    """The part of a run that a prefix selects; ``run`` is ``None`` if the prefix does not name a single run."""

    run: str | None
    rest: str


def run_area(prefix: str, head: str) -> RunArea | None:
    """The part that a prefix selects below ``runs:`` or ``metric:``; ``None`` for nothing.

    Args:
        prefix: of a scan.
        head: ``runs:`` or ``metric:``.
    """
    if head.startswith(prefix):
        return RunArea(None, "")
    if not prefix.startswith(head):
        return None
    run, colon, rest = prefix[len(head) :].partition(":")
    if not colon:
        return RunArea(None, run)
    return RunArea(run, rest) if is_id(run) else None


def only_rows(prefix: str) -> bool:
    """Whether all keys with this prefix are rows, so that no other document can hold one."""
    if prefix.startswith((names.STEP_RECORD_PREFIX, names.PROCESS_RECORD_PREFIX)):
        return True
    area = run_area(prefix, "runs:")
    return area is not None and area.run is not None and area.rest.startswith("steps:")


# Ids -------------------------------------------------------------------------------------------------


def _in_run(key: str) -> DocumentPath | None:
    run, _, rest = key[len("runs:") :].partition(":")
    if not is_id(run):
        return None
    document = f"runs/{run}"
    if rest in ("status", "timestamps"):
        return DocumentPath("field", document, (rest,))
    kind, colon, name = rest.partition(":")
    if not colon:
        return None
    if kind == "steps":
        path, colon, step = name.rpartition(":")
        own = f"{names.encode(path)}.{names.encode(step)}" if colon else ""
        return DocumentPath("row", f"{document}/steps/{_id_or_digest(own, key)}")
    if kind in ("stats", "charts"):
        try:
            field = escape(name)
        except KVRefusedError:
            return None
        return DocumentPath("field", document if kind == "stats" else f"{document}/charts_index/index", (kind, field))
    return None


def _series(key: str) -> DocumentPath | None:
    run, _, rest = key[len("metric:") :].partition(":")
    head, _, name = rest.partition(":")
    # The ids of overflow documents are a few characters longer.
    if not is_id(run) or head != "probe_path" or not is_id(name) or len(name.encode()) > _MAX_ID - 20:
        return None
    return DocumentPath("series", f"metric/{run}/probes_by_path/{name}")


def _step_record_id(key: str) -> str:
    parts = key[len(names.STEP_RECORD_PREFIX) :].rsplit(":", 4)
    own = ""
    if len(parts) == 5:
        own = ":".join([names.encode(parts[0]), names.encode(parts[1]), *parts[2:]])
    return _id_or_digest(own, key)


def _process_record_id(key: str) -> str:
    parts = key[len(names.PROCESS_RECORD_PREFIX) :].rsplit(":", 3)
    return _id_or_digest(":".join([names.encode(parts[0]), *parts[1:]]) if len(parts) == 4 else "", key)


def _own_id(key: str) -> str:
    return _id_or_digest("" if key.startswith("h_") else key, key)


def _id_or_digest(own: str, key: str) -> str:
    return own if is_id(own) else f"h_{_digest(key)}"


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()


def _cut(text: str, size: int) -> str:
    # Leave out a character that the cut splits.
    return text.encode()[:size].decode(errors="ignore")
