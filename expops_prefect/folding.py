"""Calls of one name with one outcome as one line, ``fit #1`` to ``#48`` in place of 48; what differs stays apart."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from expops_prefect.names import CanonicalName, parse_path, readable

T = TypeVar("T")
_TO: Final = "–"  # noqa: RUF001
_RANGES: Final = 4
"""Ranges of numbers that a line names."""


@dataclass(frozen=True, slots=True)
class Fold(Generic[T]):
    """A line: one call, or several that are alike.

    Attributes:
        name: for people.
        items: the calls, as they came.
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
    """Fold calls whose probe paths differ in their numbers alone and whose outcomes are equal.

    Args:
        items: the calls; the lines stand in the order of the first call of each.
        path: the probe path of a call.
        outcome: what makes two calls alike.
        labels: what users call processes and steps, by their names.
        unfold: leave each call a line of its own.
    """
    groups: dict[Hashable, list[T]] = {}
    for number, item in enumerate(items):
        shape = None if unfold else _shape(path(item))
        groups.setdefault((number,) if shape is None else (shape, outcome(item)), []).append(item)
    return [Fold(_name(list(map(path, group)), labels), tuple(group)) for group in groups.values()]


def _shape(path: str) -> Hashable | None:
    """A path but for the numbers of its calls; ``None`` for one without."""
    parsed = parse_path(path)
    if parsed is None or (parsed.call is None and parsed.step_call is None):
        return None
    numbered = parsed.call is not None, parsed.step_call is not None
    return parsed.process, () if parsed.call is not None else parsed.layers, parsed.step, numbered


def _name(paths: list[str], labels: Mapping[str, str] | None) -> str:
    if len(paths) == 1:
        return readable(paths[0], labels)
    parsed = [found for found in map(parse_path, paths) if found is not None]
    one, labels = parsed[0], labels or {}
    process = [labels.get(one.process, one.process), *(() if one.call is not None else one.layers)]
    told = _add_numbers(process, parsed, lambda item: item.call)
    if one.step is not None:
        step = [labels.get(one.step, one.step)]
        told = _add_numbers(step, parsed, lambda item: item.step_call) and told
        process += ["/", *step]
    return " ".join(process) + ("" if told else f" ({len(paths)} calls)")


def _add_numbers(text: list[str], parsed: list[CanonicalName], number: Callable[[CanonicalName], int | None]) -> bool:
    """Add the numbers of calls to a name; whether they say how many there are."""
    numbers = sorted({found for item in parsed if (found := number(item)) is not None})
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
    return len(ranges) == 1 and len(numbers) in (1, len(parsed))
