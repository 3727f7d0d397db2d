"""What all measures share: rounds in turn, medians, ratios, verdicts, the table."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal

Kind = Literal["overhead", "speedup", "size"]
Seconds = float

BEGIN = "<!-- make bench-report: begin -->"
END = "<!-- make bench-report: end -->"


@dataclass(frozen=True)
class Goal:
    """What a ratio has to be.

    Attributes:
        kind: ``overhead``: our time over the peer's, at most ``bound``; ``speedup``: the peer's time over
            ours, at least ``bound``; ``size``: our bytes over those of the value, at most ``bound``.
        bound: ``None`` for a measure that is only reported.
    """

    kind: Kind
    bound: float | None = None

    def ratio(self, ours: float, peer: float) -> float:
        """The ratio that the bound is for."""
        return peer / ours if self.kind == "speedup" else ours / peer

    def met(self, ratio: float) -> bool | None:
        """The verdict; ``None`` without a bound."""
        if self.bound is None:
            return None
        return ratio >= self.bound if self.kind == "speedup" else ratio <= self.bound

    def __str__(self) -> str:
        if self.bound is None:
            return "-"
        return f"{'>=' if self.kind == 'speedup' else '<='} {self.bound:g}"


@dataclass(frozen=True)
class Measure:
    """Samples of one measure, ours and the peer's in pairs; seconds, or bytes for a size.

    Attributes:
        name: what was measured.
        goal: what is asked of it.
        ours, peer: the samples; those of one index were taken right after one another.
        against: the peer's name.
    """

    name: str
    goal: Goal
    ours: Sequence[float]
    peer: Sequence[float]
    against: str = "Prefect"

    def __post_init__(self) -> None:
        if not self.ours or len(self.ours) != len(self.peer):
            raise ValueError(f"{self.name}: {len(self.ours)} samples of ours for {len(self.peer)} of the peer's")

    @property
    def ratio(self) -> float:
        """The median of the ratios of the pairs: what disturbs both of a pair leaves it alone."""
        return median(self.goal.ratio(*pair) for pair in zip(self.ours, self.peer, strict=True))

    @property
    def ratio_of_medians(self) -> float:
        """The ratio of the two medians, to see that it agrees."""
        return self.goal.ratio(median(self.ours), median(self.peer))

    @property
    def ok(self) -> bool | None:
        """Whether the goal is met; ``None`` where there is none."""
        return self.goal.met(self.ratio)

    def summary(self) -> dict[str, Any]:
        """The JSON form: samples and what follows from them."""
        return {
            **asdict(self),
            "median_ours": median(self.ours),
            "median_peer": median(self.peer),
            "ratio": self.ratio,
            "ratio_of_medians": self.ratio_of_medians,
            "ok": self.ok,
        }

    @classmethod
    def load(cls, value: Mapping[str, Any]) -> Measure:
        """Read the JSON form back."""
        return cls(value["name"], Goal(**value["goal"]), value["ours"], value["peer"], value["against"])


def one_round(contestants: Mapping[str, Callable[[], Seconds]], number: int) -> dict[str, Seconds]:
    """Let each contestant run once; who goes first changes from round to round."""
    names = list(contestants)
    first = number % len(names)
    return {name: contestants[name]() for name in names[first:] + names[:first]}


def compared(rounds: Sequence[Mapping[str, float]], name: str, goal: Goal, *, against: str = "Prefect") -> Measure:
    """The measure of ``ours`` against another contestant, over all rounds."""
    return Measure(
        name, goal, [samples["ours"] for samples in rounds], [samples[against] for samples in rounds], against
    )


def table(measures: Sequence[Measure]) -> str:
    """The measures as a table in Markdown, one a line."""
    head = ("measure", "pairs", "ours", "peer's", "peer", "ratio", "of medians", "target", "ok")
    rows = [head, *(_cells(measure) for measure in measures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    rule = ["-" * width if column in _TEXTS else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    return "\n".join([_line(head, widths), _line(rule, widths), *(_line(row, widths) for row in rows[1:])])


_TEXTS = frozenset({0, 4, 8})
"""Columns to the left; numbers stand to the right."""


def _cells(measure: Measure) -> tuple[str, ...]:
    shown = size_text if measure.goal.kind == "size" else time_text
    verdict = {None: "", True: "yes", False: "NO"}[measure.ok]
    return (
        measure.name,
        str(len(measure.ours)),
        shown(median(measure.ours)),
        shown(median(measure.peer)),
        measure.against,
        _number(measure.ratio),
        _number(measure.ratio_of_medians),
        str(measure.goal),
        verdict,
    )


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        text.ljust(width) if column in _TEXTS else text.rjust(width)
        for column, (text, width) in enumerate(zip(row, widths, strict=True))
    ]
    return f"| {' | '.join(cells)} |"


def reported(text: str, measures: Sequence[Measure], machine: Mapping[str, str]) -> str:
    """A document with a new report between its two markers.

    Raises:
        ValueError: they are not there.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no lines {BEGIN} and {END}")
    host = "; ".join(f"{name} {value}" for name, value in machine.items())
    return f"{before}{BEGIN}\n\nOn {host}.\n\n{table(measures)}\n\n{END}{after}"


def time_text(seconds: Seconds) -> str:
    """Seconds for people: ``1.23 s``, ``4.56 ms``, ``789 us``."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * factor >= 1 or unit == "us":
            return f"{seconds * factor:.3g} {unit}"
    raise AssertionError


def size_text(count: float) -> str:
    """Bytes for people, in MiB."""
    return f"{count / 2**20:.2f} MiB"


def _number(ratio: float) -> str:
    digits = 3 - max(0, math.floor(math.log10(ratio)) + 1) if ratio > 0 else 3
    return f"{ratio:.{max(1, digits)}f}"


def dump(measures: Sequence[Measure], machine: Mapping[str, str]) -> str:
    """The whole report as JSON."""
    return json.dumps({"machine": machine, "measures": [measure.summary() for measure in measures]}, indent=1)
