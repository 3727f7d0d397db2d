"""Fold calls of one name with the same outcome into one line, such as ``fit #1`` to ``#48``."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from expops_prefect.models.names import CanonicalName, label_at, parse_path, readable

T = TypeVar("T")
_TO: Final = "–"  # noqa: RUF001
_RANGES: Final = 4
"""How many ranges of numbers a line shows."""


@dataclass(frozen=True, slots=True)
class Fold(Generic[T]):
    """A line: one call, or several with the same outcome.

    Attributes:
        name: the name to show.
        items: the calls, in order.
    """

    name: str
    items: tuple[T, ...]


def fold(
    items: Iterable[T],
    path: Callable[[T], str],
    outcome: Callable[[T], Hashable],
    *,
    labels: Mapping[str, str] | None = None,
    unfold: bool = False,
) -> list[Fold[T]]:
    """Fold calls whose probe paths differ only in their numbers and whose outcomes are equal.

    Args:
        items: the calls; the lines are in the order of the first call of each.
        path: the probe path of a call.
        outcome: the outcome of a call; calls with equal ones are folded.
        labels: the users' names of processes and steps; see :func:`expops_prefect.models.names.readable`.
        unfold: give each call its own line.
    """
    groups: dict[Hashable, list[T]] = {}
    labels = labels or {}
    for number, item in enumerate(items):
        shape = None if unfold else _shape(path(item), labels)
        groups.setdefault((number,) if shape is None else (shape, outcome(item)), []).append(item)
    return [Fold(_name(list(map(path, group)), labels), tuple(group)) for group in groups.values()]


def _links(path: str) -> list[tuple[str, CanonicalName]]:
    """Parse a path: its process, then each step, the last being the path itself; empty for other texts."""
    found: list[tuple[str, CanonicalName]] = []
    parsed = parse_path(path)
    while parsed is not None:
        found.insert(0, (path, parsed))
        path, parsed = parsed.inside, parse_path(parsed.inside) if parsed.step is not None else None
    return found


def _number(parsed: CanonicalName) -> int | None:
    return parsed.call if parsed.step is None else parsed.step_call


def _shape(path: str, labels: Mapping[str, str]) -> Hashable | None:
    """A path without the numbers of its calls; ``None`` for one without numbers."""
    links = _links(path)
    if all(_number(parsed) is None for _, parsed in links):
        return None
    return tuple(
        (
            parsed.step or parsed.process,
            label_at(here, parsed, labels),
            _number(parsed) is None,
            parsed.layers if parsed.call is None else (),
        )
        for here, parsed in links
    )


def _name(paths: list[str], labels: Mapping[str, str]) -> str:
    if len(paths) == 1:
        return readable(paths[0], labels)
    text: list[str] = []
    numbered = True
    for links in zip(*map(_links, paths), strict=True):
        path, one = links[0]
        text += ["/"] if one.step is not None else []
        text.append(label_at(path, one, labels))
        text += one.layers if one.step is None and one.call is None else ()
        numbered = _add_numbers(text, [_number(parsed) for _, parsed in links]) and numbered
    return " ".join(text) + ("" if numbered else f" ({len(paths)} calls)")


def _add_numbers(text: list[str], found: list[int | None]) -> bool:
    """Add the numbers of calls to a name; return whether they show how many calls there are."""
    numbers = sorted({number for number in found if number is not None})
    if not numbers:
        return True
    ranges: list[list[int]] = []
    for value in numbers:
        if ranges and value == ranges[-1][1] + 1:
            ranges[-1][1] = value
        else:
            ranges.append([value, value])
    shown = [f"#{first}" if first == last else f"#{first}{_TO}#{last}" for first, last in ranges[:_RANGES]]
    text.append(", ".join(shown) + (", …" if len(ranges) > _RANGES else ""))
    return len(ranges) == 1 and len(numbers) in (1, len(found))
