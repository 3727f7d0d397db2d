"""The parts of a value with a digest each, so that two values can be told apart part by part.

What a walk meets is noted as it goes, which costs next to nothing; digests are made of the notes
only when they are asked for. A summary is bounded: where there are too many parts, the whole
stands for them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from pathlib import Path
from types import NoneType
from typing import Any, Final, TypeAlias

from blake3 import blake3

from expops_prefect._internal.redaction import is_secret, masked_text
from expops_prefect.fingerprint.canonical import ATOMS, GROUP, MOST_PARTS, Note, Walk
from expops_prefect.fingerprint.encoding_primitives import roots_of
from expops_prefect.fingerprint.registry import resolve

ValueSummary: TypeAlias = str | dict[str, str]
"""A digest and a few words on type and shape; of a value with parts, the same by their paths, its own under ``""``."""

_DIGITS: Final = 16
_MOST_TEXT: Final = 60
_MOST_SCALAR: Final = 40
_MOST_NUMBER: Final = 10**30
VALUE: Final = ": "
"""What stands between the type of a scalar and its value."""
_WORD: Final = re.compile(r"[\w-]+")
_TOKEN: Final = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[\w+/=.~-]{16,}")
"""What looks like a key that somebody issued, whatever it is called."""
_DATA: Final = frozenset(
    {
        *("numpy.ndarray", "numpy.generic", "torch.Tensor", "pandas.DataFrame", "pandas.Series", "pandas.Index"),
        *("pandas.ExtensionArray", "polars.DataFrame", "polars.Series", "scipy._spbase", "scipy.spmatrix"),
        *("scipy.sparray", "pyarrow.Array", "pyarrow.ChunkedArray", "pyarrow.Table", "pyarrow.RecordBatch"),
    }
)
"""Classes, by package and name, whose objects are there as a whole. Others may compute or read what they are asked."""
_MOST_COLUMNS: Final = 160
"""Hashing that many columns takes so long that their digests do not count."""
_HIDDEN: Final = re.compile(r"\.__dict__\['(\w+)'\]|\.?<state>|\.__pydantic_\w+.*")
"""How pydantic and slots keep their state means nothing to people."""


def short_digest(form: bytes) -> str:
    """Enough of a digest to see that something changed."""
    return blake3(form).hexdigest(_DIGITS // 2)


def summary_of(digest: str, value: object, notes: list[Note], name: str = "", root: Path | None = None) -> ValueSummary:
    """Summarise what was noted.

    Args:
        name: the parameter's: it says whether values are secret.
        digest: the value's own.
        value: the value, as it was when it was walked.
        notes: of the walk.
        root: the project's folder, as the walk had it.
    """
    whole = f"{digest[:_DIGITS]} {described(value)}{_scalar(value, name)}"
    if not notes or _is_leaf(value):
        return whole
    # Digests are made last: a value with many parts needs none.
    most = _MOST_COLUMNS if _is_frame(value) else MOST_PARTS
    leaves = list(islice(_leaves(notes, 0, len(notes), ""), most + 1))
    if len(leaves) > most:
        return whole
    parts = {"": whole}
    walk = Walk(resolve, lenient=True, roots=roots_of(root))
    for path, known, part in leaves:
        form = walk.encode(part) if known is None else known
        shown = _HIDDEN.sub(_shown, path)
        # A key of a dictionary may be an address.
        shown = (masked_text(shown) if "://" in shown else shown)[:_MOST_TEXT]
        if shown:
            parts[shown] = f"{short_digest(form)} {described(part)}{_scalar(part, name, path)}"
    return parts if len(parts) > 1 else whole


def described(value: object) -> str:
    """Type and shape in a few words: ``int``, ``float64[1000,3]``, ``DataFrame[1000,5]``, ``list[3]``."""
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
    """A small value itself, behind a colon, if nothing says that it is a secret."""
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
    """Whether it has attributes as arrays and frames have; asking others for them may have effects."""
    kind: Any = type(value)
    return _of_library(kind)


@lru_cache(maxsize=1024)
def _of_library(kind: type) -> bool:
    return any(f"{str(base.__module__).partition('.')[0]}.{base.__name__}" in _DATA for base in kind.__mro__)


def _is_leaf(value: object) -> bool:
    """Whether a value is shown as one, however it is walked: an array, a column, an index."""
    return _is_data(value) and hasattr(value, "dtype")


def _is_frame(value: object) -> bool:
    return _is_data(value) and hasattr(value, "columns")


def _leaves(notes: list[Note], begin: int, end: int, path: str) -> Iterator[tuple[str, bytes | None, Any]]:
    """The parts without parts, of the notes in a range, with their forms if those are known."""
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
    """The summaries of a call's arguments by parameter, bounded together."""
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
