"""A run's summary as text for Prefect's UI: Markdown, in which nothing that came from a user is mark-up."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from expops_prefect.formatting import between, duration, saving
from expops_prefect.names import CacheKey, readable
from expops_prefect.recording.overview import SHOWN_METRICS, Line, Series
from expops_prefect.records import RunRecord, labels_of

SHOWN_LINES: Final = 200
SHOWN_CHARTS: Final = 6
CHART_BYTES: Final = 256 * 1024
"""A chart beyond that is named, not shown: an artifact lies in Prefect's database."""

_PUNCTUATION: Final = re.compile(r"([\\`*_{}\[\]()#+\-.!|~])")
_HTML: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"}


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of the run.

    Attributes:
        title: its name.
        process: whose it is, for people.
        mime_type: what its bytes are.
        place: where it lies.
        content: its bytes; ``None`` for one that is not shown.
    """

    title: str
    process: str
    mime_type: str
    place: str
    content: bytes | None = None


@dataclass(frozen=True)
class Summary:
    """All that the summary of a run says.

    Attributes:
        record: the run.
        lines: its processes and steps.
        objects: where the result under a cache key lies.
        metrics: by probe path and name.
        charts: its charts.
        linked: how many task runs that were hits get a link to the one that computed them.
        run_url: where Prefect's UI shows the flow run of a run; ``None`` if that is not known.
        log_url: where it shows ``task-run/<id>`` or ``flow-run/<id>``; ``None`` likewise.
    """

    record: RunRecord
    lines: Sequence[Line]
    objects: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[tuple[str, str], Series] = field(default_factory=dict)
    charts: Sequence[Chart] = ()
    linked: int = 0
    run_url: Callable[[str], str | None] = lambda _: None
    log_url: Callable[[str], str | None] = lambda _: None

    def markdown(self) -> str:
        """The text of the artifact."""
        return "\n\n".join(
            filter(
                None,
                [
                    self._head(),
                    self._failure(),
                    self._processes(),
                    self._degraded(),
                    self._charts(),
                    self._keys(),
                    _MORE,
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
        executed = sum(count.total() for count in calls) - cached
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
        shown = self.lines[:SHOWN_LINES]
        table = _table(
            ["process or step", "status", "took", "saved", "computed by", "why executed"],
            [
                [
                    self._name(line.path),
                    _status(line),
                    duration(line.took),
                    saving(line.saved),
                    "<br>".join(self._source(line, run, count) for run, count in line.sources.most_common(3)),
                    "<br>".join(text(reason) for reason, _ in line.reasons.most_common(3)),
                ]
                for line in shown
            ],
        )
        left = len(self.lines) - SHOWN_LINES
        notes = [f"… and {left} more: `expops-prefect runs show`"] if left > 0 else []
        hits = sum(line.calls["cached"] for line in self.lines)
        if self.linked < hits:
            notes.append(f"Only the first {self.linked} of {hits} hits have a link to the task run that computed them.")
        return "\n\n".join([table, *notes])

    def _keys(self) -> str:
        # A list breaks its lines, as a table does not: next to nothing fits beside an object's name.
        keys = [
            f"- {self._name(line.path)}: {code(_short(line.key))}{self._object(line)}"
            for line in self.lines[:SHOWN_LINES]
            if line.key
        ]
        return "### Cache keys and objects\n\n" + "\n".join(keys) if keys else ""

    def _object(self, line: Line) -> str:
        return f" in {code(self.objects[line.key])}" if line.key in self.objects else ""

    def _source(self, line: Line, run: str, count: int) -> str:
        times = f" ({count} times)" if count > 1 else ""
        url = self.run_url(run)
        before = between(line.computed.get(run), line.started)
        return (
            (f"[{text(run[-8:])}]({url})" if url else text(run[-8:])) + (f", {before} before" if before else "") + times
        )

    def _degraded(self) -> str:
        if not self.record.degraded:
            return ""
        lines = [f"- {text(kind)}: {count} times" for kind, count in self.record.degraded.items()]
        return "### Degraded\n\n" + "\n".join(lines)

    def _charts(self) -> str:
        parts = []
        for chart in self.charts:
            parts.append(f"### {text(chart.title)} ({text(chart.process)})")
            if chart.content is None:
                parts.append(f"in {code(chart.place)}")
            else:
                data = base64.b64encode(chart.content).decode()
                parts.append(f"![{text(chart.title)}](data:{chart.mime_type};base64,{data})")
        return "\n\n".join(parts)


_MORE: Final = "Metrics stand in an artifact of their own. Switched off by `prefect.record.artifacts: false`."


def text(value: object) -> str:
    """A text in Markdown that is shown as it is, in one line."""
    plain = "".join(part if part.isprintable() else part.encode("unicode_escape").decode() for part in str(value))
    return "".join(_HTML.get(part, part) for part in _PUNCTUATION.sub(r"\\\1", plain))


def code(value: object) -> str:
    """A text in Markdown in the letters of code, in one line, also inside a table."""
    plain = "".join(part if part.isprintable() else part.encode("unicode_escape").decode() for part in str(value))
    # Neither can be escaped inside.
    return f"`{plain.replace('`', chr(0x27)).replace('|', '/')}`"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(row(cells) for cells in [headings, ["---"] * len(headings), *rows])


def row(cells: Sequence[str]) -> str:
    """A row of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


def _status(line: Line) -> str:
    if line.calls.total() == 1:
        return next(iter(line.calls))
    return ", ".join(f"{count} {status}" for status, count in sorted(line.calls.items()))


def _short(key: str) -> str:
    parsed = CacheKey.parse(key)
    return (
        key[:40] if parsed is None else f"{parsed.task}/{parsed.inputs[:8]}/{parsed.config[:8]}/{parsed.function[:8]}"
    )
