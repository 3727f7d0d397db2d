"""Charts: pictures of a run, stored where ExpOps' UI looks for them."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from expops_prefect.models import names
from expops_prefect.project import Project
from expops_prefect.stores.kv.base import JSON
from expops_prefect.stores.outbox.changes import Change

_MIME: Final[Mapping[str, str]] = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".svg": "image/svg+xml",
    ".pdf": "application/pdf",
}
_HEADS: Final = ((b"\x89PNG", ".png"), (b"\xff\xd8\xff", ".jpg"), (b"GIF8", ".gif"), (b"%PDF", ".pdf"))


class ChartRefusedError(ValueError):
    """Raised for a value that is not a chart."""


def chart_bytes(chart: Any) -> tuple[bytes, str]:
    """The bytes of a chart and the suffix for their format.

    Args:
        chart: a matplotlib figure (or anything with ``savefig``), the path of a picture, or its bytes.

    Raises:
        ChartRefusedError: it is none of these, the path does not exist, or the kind of file is unknown.
    """
    if isinstance(chart, bytes | bytearray | memoryview):
        data = bytes(chart)
        return data, _sniff(data)
    if callable(getattr(chart, "savefig", None)):
        buffer = io.BytesIO()
        chart.savefig(buffer, format="png", bbox_inches="tight")
        return buffer.getvalue(), ".png"
    if not isinstance(chart, str | os.PathLike):
        raise ChartRefusedError(f"{type(chart).__name__} is not a chart; pass a matplotlib figure, a path or bytes")
    path = Path(chart)
    suffix = path.suffix.lower()
    if suffix not in _MIME:
        raise ChartRefusedError(f"{path}: unknown kind of picture; known: {', '.join(sorted(_MIME))}")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ChartRefusedError(f"cannot read the chart {path}: {error.strerror or error}") from error
    if suffix == ".svg" and data:
        return data, suffix  # its root element may follow a long preamble
    try:
        return data, _sniff(data)
    except ChartRefusedError as error:
        raise ChartRefusedError(f"{path} is not a picture: {error}") from error


def store_chart(project: Project, run_id: str, path: str, name: str, data: bytes, suffix: str) -> None:
    """Store a chart and add it to the run's index, replacing one of the same name."""
    key = names.chart_key(project.version_hash, run_id, path, names.normalise(name.removesuffix(suffix)), suffix)
    uri = project.objects.uri(key)
    item: dict[str, JSON] = {
        "title": names.shown(name),
        "object_path": uri,
        "cache_path": uri,
        "mime_type": _MIME[suffix],
        "size_bytes": len(data),
        "created_at": time.time(),
        "chart_type": "static",
        "object_key": key,
    }
    project.outbox.write_object(key, data)
    project.outbox.write(Change(names.charts_key(run_id, path), "charts.add", item))


def _sniff(data: bytes) -> str:
    for head, suffix in _HEADS:
        if data.startswith(head):
            return suffix
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ".webp"
    if b"<svg" in data[:1000]:
        return ".svg"
    raise ChartRefusedError("these bytes are not PNG, JPEG, GIF, WebP, SVG or PDF")
