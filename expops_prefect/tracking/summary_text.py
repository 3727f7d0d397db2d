"""A run's summary as Markdown for Prefect's UI; text from users is never interpreted as markup."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from expops_prefect._internal.formatting import between, duration, saving
from expops_prefect.models.names import CacheKey, readable
from expops_prefect.record.process_rows import BY_PREFECT, labels_of
from expops_prefect.record.run_records import RunRecord
from expops_prefect.tracking.run_summary import SHOWN_METRICS, EndedCall, ProcessSummary, Series
from expops_prefect.tracking.summary_diagram import diagram

SHOWN_LINES: Final = 200
SHOWN_CHARTS: Final = 6
SHOWN_OF_REASON: Final = 10
_SHORT: Final = 24
CHART_BYTES: Final = 256 * 1024
"""A larger chart is named but not shown, because artifacts are kept in Prefect's database."""

_PUNCTUATION: Final = re.compile(r"([\\`*_{}\[\]()#+\-.!|~])")
_LONG: Final = re.compile(r"\S{20}(?=\S)|.+?(?=\S{21})|.+", re.DOTALL)
"""Pieces of a text: each ends inside an overlong word, or at the end of the text."""
_HTML: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"}


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of the run.

    Attributes:
        title: its name.
        process: its process, as shown to people.
        mime_type: the format of its bytes.
        place: its URI.
        content: its bytes; ``None`` for a chart that is not shown.
    """

    title: str
    process: str
    mime_type: str
    place: str
    content: bytes | None = None


@dataclass(frozen=True)
class Summary:
    """The content of a run's summary.

    Attributes:
        record: the run.
        lines: its processes and steps.
        calls: its single calls.
        objects: the URIs of results by cache key.
        metrics: by probe path and name.
        charts: its charts.
        linked: how many hits get a link to the task run that computed them.
        run_url: the page of a run's flow run in Prefect's UI; ``None`` if unknown.
        log_url: the page of ``task-run/<id>`` or ``flow-run/<id>`` there; ``None`` if unknown.
    """

    record: RunRecord
    lines: Sequence[ProcessSummary]
    objects: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[tuple[str, str], Series] = field(default_factory=dict)
    charts: Sequence[Chart] = ()
    linked: int = 0
    run_url: Callable[[str], str | None] = lambda _: None
    calls: Sequence[EndedCall] = ()
    log_url: Callable[[str], str | None] = lambda _: None

    def markdown(self) -> str:
        """The text of the artifact."""
        return "\n\n".join(
            filter(
                None,
                [
                    *(self._head(), self._failure(), self._processes(), self._graph(), self._degraded()),
                    *(self._reasons(), self._origins(), self._names(), self._charts(), self._keys(), _MORE),
                ],
            )
        )

    def metric_rows(self) -> list[dict[str, Any]]:
        """The rows of the table of metrics."""
        return [
            {
                "process": readable(path, self._labels),
                "metric": name,
                "last": series.last,
                "lowest": series.lowest,
                "highest": series.highest,
                "points": series.points,
            }
            for (path, name), series in sorted(self.metrics.items())[:SHOWN_METRICS]
        ]

    @cached_property
    def _labels(self) -> dict[str, str]:
        return labels_of((line.path, line.label) for line in self.lines)

    def _name(self, path: str) -> str:
        return text(readable(path, self._labels))

    def _head(self) -> str:
        calls = [line.calls for line in self.lines]
        cached = sum(count["cached"] for count in calls)
        executed = sum(count["completed"] + count["failed"] for count in calls)
        saved = saving(sum(line.saved for line in self.lines))
        hits = f"{cached} from the cache" + (f", {saved} saved" if saved else "")
        return (
            f"**{self.record.status}**: {executed} executed, {hits}. "
            f"ExpOps run `{self.record.run_id}`: see it with `expops-prefect ui` or "
            f"`expops-prefect runs show {self.record.run_id[-23:]}` in the project's folder."
        )

    def _failure(self) -> str:
        record = self.record
        if record.status != "failed":
            return ""
        lines = [f"- failed: {text(record.failure)}"] if record.failure else []
        if record.failed_path:
            because = f": {text(record.failed_because)}" if record.failed_because else ""
            lines.append(f"- failed first: {self._name(record.failed_path)}{because}")
        url = self.log_url(record.failed_log or f"flow-run/{record.flow_run_id}")
        lines.append(f"- its log: {f'[in this UI]({url}), ' if url else ''}{code(record.log)}")
        return "\n".join(lines)

    def _processes(self) -> str:
        if not self.lines:
            return ""
        shown, short = self.lines[:SHOWN_LINES], self._short
        # The table shares the page with a panel, and names do not wrap: long texts go below it.
        table = _table(
            ["status", "process or step", "took", "saved", "computed by"],
            [
                [
                    _status(line),
                    text(short[line.path]),
                    _unbroken(duration(line.took)),
                    _unbroken(saving(line.saved)),
                    ", ".join(self._sources(line)),
                ]
                for line in shown
            ],
        )
        left = len(self.lines) - SHOWN_LINES
        notes = [f"… and {left} more: `expops-prefect runs show`"] if left > 0 else []
        if any(line.calls.total() > 1 for line in shown):
            notes.append("For several calls, the time runs from the first start to the last end.")
            notes.append("Single calls and metrics have artifacts of their own.")
        hits = sum(line.calls["cached"] for line in self.lines)
        if self.linked < hits:
            notes.append(f"Only the first {self.linked} of {hits} hits have a link to the task run that computed them.")
        return "\n\n".join([table, *notes])

    def _graph(self) -> str:
        drawn = diagram(self.lines, self._labels)
        return f"### Graph\n\n{drawn}" if drawn else ""

    @cached_property
    def _short(self) -> dict[str, str]:
        """Shortened names by probe path."""
        found: dict[str, str] = {}
        for line in self.lines[:SHOWN_LINES]:
            name = shortened(self._whole(line))
            found[line.path] = name if name not in found.values() else f"{name} ({len(found)})"
        return found

    def _whole(self, line: ProcessSummary) -> str:
        return readable(line.path, self._labels)

    def _names(self) -> str:
        names = [
            f"- {text(self._short[line.path])}: {breakable(self._whole(line))}"
            for line in self.lines[:SHOWN_LINES]
            if self._short[line.path] != self._whole(line)
        ]
        return "### Whole names\n\n" + "\n".join(names) if names else ""

    def _origins(self) -> str:
        """When the results from the cache were computed."""
        first: dict[str, float] = {}
        for line in self.lines[:SHOWN_LINES]:
            for run, _ in line.sources.most_common(3):
                if run and run in line.computed:
                    first[run] = min(line.computed[run], first.get(run, line.computed[run]))
        ages = [f"- {self._link(run)}: {text(between(at, self.record.started_at))} before" for run, at in first.items()]
        return "### Computed by\n\n" + "\n".join(ages) if ages else ""

    def _reasons(self) -> str:
        by_reason: dict[str, list[str]] = {}
        for line in self.lines[:SHOWN_LINES]:
            for reason, count in line.reasons.most_common(3):
                times = f" ({count} calls)" if count > 1 else ""
                by_reason.setdefault(reason, []).append(text(self._short[line.path]) + times)
        reasons = [
            f"- {breakable(reason)}: {', '.join(of[:SHOWN_OF_REASON])}"
            + (f" and {len(of) - SHOWN_OF_REASON} more" if len(of) > SHOWN_OF_REASON else "")
            for reason, of in by_reason.items()
        ]
        return "### Why executed\n\n" + "\n".join(reasons) if reasons else ""

    def call_rows(self) -> list[dict[str, Any]]:
        """The rows of the table of single calls; empty if each process and step was called once."""
        if all(line.calls.total() <= 1 for line in self.lines):
            return []
        return [
            {
                "status": call.status,
                "process or step": shortened(readable(call.path, self._labels)),
                "took": duration(call.took),
                "saved": saving(call.saved),
                "computed by": call.source,
                "why executed": call.reason,
                "whole name": readable(call.path, self._labels),
                "task run": call.task_run_id,
            }
            for call in self.calls
        ]

    def _keys(self) -> str:
        # Object keys must be complete, and the page does not wrap them; a block can be scrolled.
        keys = [
            plain(f"{readable(line.path, self._labels)}: {_short(line.key)}{self._object(line)}")
            for line in self.lines[:SHOWN_LINES]
            if line.key
        ]
        return "### Cache keys and objects\n\n" + "\n".join(["```text", *keys, "```"]) if keys else ""

    def _object(self, line: ProcessSummary) -> str:
        return f" in {self.objects[line.key]}" if line.key in self.objects else ""

    def _sources(self, line: ProcessSummary) -> Iterator[str]:
        for run, count in line.sources.most_common(3):
            if run:
                yield self._link(run) + (f" ({count} times)" if count > 1 else "")
        if line.by_prefect:
            yield text(BY_PREFECT)

    def _link(self, run: str) -> str:
        url = self.run_url(run)
        return f"[{text(run[-8:])}]({url})" if url else text(run[-8:])

    def _degraded(self) -> str:
        if not self.record.degraded:
            return ""
        lines = [f"- {text(kind)}: {count} times" for kind, count in self.record.degraded.items()]
        return "### Degraded\n\n" + "\n".join(lines)

    def _charts(self) -> str:
        parts = []
        for chart in self.charts:
            parts.append(f"### {breakable(chart.title)} ({breakable(chart.process)})")
            if chart.content is None:
                parts.append(f"in {code(chart.place)}")
            else:
                data = base64.b64encode(chart.content).decode()
                parts.append(f"![{text(chart.title)}](data:{chart.mime_type};base64,{data})")
        return "\n\n".join(parts)


_MORE: Final = "Metrics have an artifact of their own. Switch artifacts off with `prefect.record.artifacts: false`."


def text(value: object) -> str:
    """Escape a text for Markdown, on one line."""
    plain = "".join(part if part.isprintable() else part.encode("unicode_escape").decode() for part in str(value))
    return "".join(_HTML.get(part, part) for part in _PUNCTUATION.sub(r"\\\1", plain))


def breakable(value: object) -> str:
    """Escape a text for Markdown and let long words wrap, because unwrapped text overlaps its neighbours."""
    return "\N{ZERO WIDTH SPACE}".join(map(text, _LONG.findall(str(value))))


def plain(value: object) -> str:
    """Prepare a text for a code span, on one line: backticks cannot be escaped there."""
    shown = "".join(part if part.isprintable() else part.encode("unicode_escape").decode() for part in str(value))
    return shown.replace("`", chr(0x27))


def code(value: object) -> str:
    """A text as a Markdown code span, on one line, also valid inside a table."""
    return f"`{plain(value).replace('|', '/')}`"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(row(cells) for cells in [headings, ["---"] * len(headings), *rows])


def shortened(name: str) -> str:
    """A name cut to at most 24 characters: its start, and its end, in which names differ most."""
    return name if len(name) <= _SHORT else f"{name[: _SHORT - 11]}…{name[-10:]}"


def row(cells: Sequence[str]) -> str:
    """A row of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


_BY_WEIGHT: Final = ("failed", "pending", "completed", "cached")


def _status(line: ProcessSummary) -> str:
    if line.calls.total() == 1:
        return next(iter(line.calls))
    counted = sorted(line.calls.items(), key=lambda item: _BY_WEIGHT.index(item[0]) if item[0] in _BY_WEIGHT else 9)
    return ", ".join(_unbroken(f"{count} {status}") for status, count in counted)


def _unbroken(said: str) -> str:
    return said.replace(" ", "\N{NO-BREAK SPACE}")


def _short(key: str) -> str:
    parsed = CacheKey.parse(key)
    return key[:40] if parsed is None else parsed.short
