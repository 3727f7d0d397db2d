"""A run as HTML: when each call ran, and the curves of its metrics, as inline SVG.

Every name is escaped, because names come from users and from other machines.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from expops_prefect._internal.formatting import saving
from expops_prefect.models.names import readable
from expops_prefect.record.process_rows import Row, row_labels, single_calls
from expops_prefect.record.run_records import RunRecord

SHOWN_CALLS: Final = 60
SHOWN_METRICS: Final = 12
SHOWN_CURVES: Final = 8
SHOWN_POINTS: Final = 200

_COLOURS: Final = {"completed": "#2e9e5b", "cached": "#3b82f6", "failed": "#d64545", "running": "#d9a521"}
_OTHER: Final = "#8a8f98"
_CURVES: Final = ("#3b82f6", "#d9822b", "#2e9e5b", "#d64545", "#8e5bd6", "#2aa6a6", "#b35c8f", "#8a8f98")
_WIDTH: Final = 760
_NAMES: Final = 230
_LINE: Final = 20


def draw_run(record: RunRecord, rows: Sequence[Row], metrics: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """A run as a self-contained HTML fragment.

    Args:
        record: the run.
        rows: its rows.
        metrics: its metrics by probe path, name and step number.
    """
    single = [row for row in single_calls(rows) if row.started_at is not None]
    cached = sum(row.status == "cached" for row in single)
    saved = sum(row.saved or 0.0 for row in single)
    head = (
        f"<div><b>{escape(record.flow)}</b> <code>{escape(record.run_id)}</code>: {escape(record.status)}, "
        f"{len(single) - cached} executed, {cached} from the cache{f', {saved:.2f} s saved' if saved else ''}</div>"
    )
    return f'<div style="font-family: sans-serif">{head}{_timeline(record, single)}{_curves(metrics)}</div>'


def _timeline(record: RunRecord, rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    began = (row for row in rows if row.status != "pending" or row.started_at is not None)
    ordered = sorted(began, key=lambda row: (row.started_at or 0.0, row.path))
    shown = ordered[:SHOWN_CALLS]
    start = min(record.started_at, *(row.started_at or record.started_at for row in shown))
    end = max([record.ended_at or start, *(row.ended_at or start for row in shown)])
    scale = (_WIDTH - _NAMES - 70) / max(end - start, 1e-3)
    labels, parts = row_labels(rows), []
    for number, row in enumerate(shown):
        top = number * _LINE
        begun, ended = row.started_at or start, row.ended_at or end
        left, width = _NAMES + (begun - start) * scale, max((ended - begun) * scale, 2.0)
        took = f"{ended - begun:.2f} s"
        saved = f", saved {saving(row.saved)}" if saving(row.saved) else ""
        name = readable(row.path, labels)
        parts.append(
            f'<text x="{_NAMES - 8}" y="{top + 14}" text-anchor="end">{escape(_cut(name))}</text>'
            f'<rect x="{left:.1f}" y="{top + 4}" width="{width:.1f}" height="12" rx="2" '
            f'fill="{_COLOURS.get(row.status, _OTHER)}"><title>{escape(f"{name}: {row.status}, {took}{saved}")}</title>'
            f'</rect><text x="{left + width + 5:.1f}" y="{top + 14}">{took}</text>'
        )
    more = f"<div>… and {len(ordered) - len(shown)} more calls</div>" if len(ordered) > len(shown) else ""
    return _picture("".join(parts), len(shown) * _LINE + 4, _WIDTH) + more


def _curves(metrics: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    by_name: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for path, values in sorted(metrics.items()):
        for name, series in values.items():
            points = [(int(step), float(value)) for step, value in series.items() if not isinstance(value, str)]
            points = sorted(point for point in points if math.isfinite(point[1]))
            if len(points) > 1:
                by_name.setdefault(name, {})[path] = points
    parts = [_curve(name, curves) for name, curves in sorted(by_name.items())[:SHOWN_METRICS]]
    more = len(by_name) - len(parts)
    return "".join(parts) + (f"<div>… and {more} more metrics</div>" if more > 0 else "")


def _curve(name: str, curves: Mapping[str, Sequence[tuple[int, float]]]) -> str:
    width, height, left, top = 340, 150, 60, 24
    points = [point for series in curves.values() for point in series]
    (first, last), (low, high) = (
        (min(values), max(values)) for values in ([step for step, _ in points], [value for _, value in points])
    )
    across = (width - left - 10) / max(last - first, 1)
    up = (height - top - 24) / ((high - low) or 1.0)
    parts = [
        f'<text x="{left}" y="14" font-weight="bold">{escape(_cut(name))}</text>',
        f'<text x="{left - 6}" y="{top + 6}" text-anchor="end">{high:.4g}</text>',
        f'<text x="{left - 6}" y="{height - 24}" text-anchor="end">{low:.4g}</text>',
        f'<text x="{left}" y="{height - 6}">{first}</text>',
        f'<text x="{width - 10}" y="{height - 6}" text-anchor="end">{last}</text>',
    ]
    for number, (path, series) in enumerate(list(curves.items())[:SHOWN_CURVES]):
        line = " ".join(
            f"{left + (step - first) * across:.1f},{height - 24 - (value - low) * up:.1f}"
            for step, value in _thin(series)
        )
        parts.append(
            f'<polyline points="{line}" fill="none" stroke="{_CURVES[number]}" stroke-width="1.5">'
            f"<title>{escape(readable(path))}</title></polyline>"
        )
    return _picture("".join(parts), height, width)


def _thin(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Thin points out for drawing, keeping the first and the last."""
    if len(points) <= SHOWN_POINTS:
        return list(points)
    every = (len(points) - 1) / (SHOWN_POINTS - 1)
    return [points[round(number * every)] for number in range(SHOWN_POINTS)]


def _picture(content: str, height: int, width: int) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="11" fill="currentColor">{content}</svg>'
    )


def _cut(name: str) -> str:
    return name if len(name) <= 34 else f"{name[:33]}…"
