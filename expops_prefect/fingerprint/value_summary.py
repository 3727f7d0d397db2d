"""Summaries of values: a digest for each part, so that two values can be compared part by part.

A walk notes the parts as it goes, at almost no cost; digests are computed from the notes only when
they are needed. A summary is bounded: for a value with too many parts, it has only the whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from pathlib import Path, PurePath
from types import NoneType
from typing import Any, Final, TypeAlias

from blake3 import blake3

from expops_prefect._internal.redaction import is_secret, masked_text
from expops_prefect.fingerprint.canonical import ATOMS, GROUP, MOST_PARTS, Note, Walk
from expops_prefect.fingerprint.encoding_primitives import roots_of
from expops_prefect.fingerprint.registry import resolve

ValueSummary: TypeAlias = str | dict[str, str]
"""A digest, type and shape; for a value with parts, the same for each path, with the whole under ``""``."""

_DIGITS: Final = 16
_MOST_TEXT: Final = 60
_MOST_SCALAR: Final = 40
_MOST_NUMBER: Final = 10**30
VALUE: Final = ": "
"""The separator between the type of a scalar and its value."""
_WORD: Final = re.compile(r"[\w-]+")
_TOKEN: Final = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[\w+/=.~-]{16,}")
"""Matches text that looks like an access key, whatever its name."""
_DATA: Final = frozenset(
    {
        *("numpy.ndarray", "numpy.generic", "torch.Tensor", "pandas.DataFrame", "pandas.Series", "pandas.Index"),
        *("pandas.ExtensionArray", "polars.DataFrame", "polars.Series", "scipy._spbase", "scipy.spmatrix"),
        *("scipy.sparray", "pyarrow.Array", "pyarrow.ChunkedArray", "pyarrow.Table", "pyarrow.RecordBatch"),
    }
)
"""Classes, by package and name, whose objects are fully in memory. Others may compute or read data when used."""
_MOST_COLUMNS: Final = 160
"""Columns of a frame that are summarised; hashing this many takes so long that their digests add little."""
_HIDDEN: Final = re.compile(r"\.__dict__\['(\w+)'\]|\.?<state>|\.__pydantic_\w+.*")
"""Paths into the internal state of pydantic models and slots, which are not shown to people."""


def short_digest(form: bytes) -> str:
    """A short digest, long enough to detect a change."""
    return blake3(form).hexdigest(_DIGITS // 2)


def summary_of(digest: str, value: object, notes: list[Note], name: str = "", root: Path | None = None) -> ValueSummary:
    """Summarise a value from the notes of its walk.

    Args:
        name: the parameter's name, which tells whether values are secret.
        digest: the digest of the value.
        value: the value, as it was during the walk.
        notes: the notes of the walk.
        root: the project's folder, as in the walk.
    """
    whole = f"{digest[:_DIGITS]} {described(value)}{_scalar(value, name)}"
    if not notes or _is_leaf(value):
        return whole
    # Digests are computed last, because a value with too many parts needs none.
    most = _MOST_COLUMNS if _is_frame(value) else MOST_PARTS
    leaves = list(islice(_leaves(notes, 0, len(notes), ""), most + 1))
    if len(leaves) > most:
        return whole
    parts = {"": whole}
    walk = Walk(resolve, lenient=True, roots=roots_of(root))
    for path, known, part in leaves:
        form = walk.encode(part) if known is None else known
        shown = _HIDDEN.sub(_shown, path)
        # A dictionary's key may be a URL with a password.
        shown = (masked_text(shown) if "://" in shown else shown)[:_MOST_TEXT]
        if shown:
            parts[shown] = f"{short_digest(form)} {described(part)}{_scalar(part, name, path)}"
    return parts if len(parts) > 1 else whole


def described(value: object) -> str:
    """Describe type and shape: ``int``, ``float64[1000,3]``, ``DataFrame[1000,5]``, ``list[3]``."""
    kind = type(value)
    if kind in (list, tuple, dict, set, frozenset):
        return f"{kind.__name__}[{len(value)}]"  # type: ignore[arg-type]
    if kind not in ATOMS and _is_data(value):
        shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
        if isinstance(shape, tuple):
            name = kind.__name__ if dtype is None else str(dtype)
            return f"{name}[{','.join(map(str, shape))}]"[:_MOST_TEXT]
    return kind.__name__[:_MOST_TEXT]


def _scalar(value: object, *named: str) -> str:
    """A small value after the separator; empty if it may be a secret."""
    if isinstance(value, PurePath):
        value = str(value)
    if type(value) not in (bool, int, float, str, NoneType) or any(
        is_secret(word) for name in named for word in _WORD.findall(name)
    ):
        return ""
    if isinstance(value, int) and abs(value) >= _MOST_NUMBER:
        return ""
    if isinstance(value, str) and (
        len(value) > _MOST_SCALAR or _TOKEN.fullmatch(value) or masked_text(value) != value or not value.isprintable()
    ):
        return ""
    return f"{VALUE}{value!r}"


def _is_data(value: object) -> bool:
    """Whether it has the attributes of arrays and frames; reading them of other objects may have effects."""
    kind: Any = type(value)
    return _of_library(kind)


@lru_cache(maxsize=1024)
def _of_library(kind: type) -> bool:
    return any(f"{str(base.__module__).partition('.')[0]}.{base.__name__}" in _DATA for base in kind.__mro__)


def _is_leaf(value: object) -> bool:
    """Whether a value is shown as a whole although it is walked in parts: an array, a column, an index."""
    return _is_data(value) and hasattr(value, "dtype")


def _is_frame(value: object) -> bool:
    return _is_data(value) and hasattr(value, "columns")


def _leaves(notes: list[Note], begin: int, end: int, path: str) -> Iterator[tuple[str, bytes | None, Any]]:
    """The leaf parts among the notes in a range, with their forms if known."""
    children: list[tuple[int, Note]] = []
    place = end - 1
    while place >= begin:
        note = notes[place]
        first = place if note[1] == GROUP else note[3]
        children.append((first, note))
        place = first - 1
    place = end
    for number in range(len(children) - 1, -1, -1):
        first, (step, index, form, _, value) = children[number]
        last = children[number - 1][0] - 1 if number else end - 1
        if index == GROUP:
            for item, part in enumerate(value):
                yield f"{path}{_step(step, item)}", None, part
            continue
        here = f"{path}{_step(step, index)}"
        if first < last and not _is_leaf(value):
            yield from _leaves(notes, first, last, here)
        else:
            yield here, form, value


def _step(step: Callable[[int], str] | str | None, index: int) -> str:
    if isinstance(step, str):
        return step
    return step(index) if step is not None else f"[{index}]"


def _shown(match: re.Match[str]) -> str:
    return f".{match[1]}" if match[1] else ""


def summaries(
    digests: Mapping[str, str], values: Mapping[str, Any], notes: Mapping[str, list[Note]], root: Path | None = None
) -> dict[str, Any]:
    """The summaries of a call's arguments by parameter, with a common bound."""
    found: dict[str, Any] = {}
    room = MOST_PARTS + _MOST_COLUMNS
    for parameter, value in values.items():
        made = summary_of(digests[parameter], value, notes.get(parameter, []), parameter, root)
        if isinstance(made, dict):
            room -= len(made)
            if room < 0:
                made = made[""]
        found[parameter] = made
    return found
