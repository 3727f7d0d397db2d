"""Metrics and charts of a run as stored. They are validated, because others may write to the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from expops_prefect.errors import NameRefusedError
from expops_prefect.models import names
from expops_prefect.stores.kv import tolerant_reads
from expops_prefect.stores.kv.base import JSON, NOT_FINITE, KVStore


def read_metrics(kv: KVStore, run: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Metrics of a run: probe path, metric, step number as text, value. Malformed points are skipped."""
    prefix = names.metrics_prefix(run)
    found = {}
    for key, value in tolerant_reads.scan(kv, prefix):
        try:
            path = names.decode(key[len(prefix) :])
        except NameRefusedError:
            continue
        found[path] = metric_values(value)
    return found


def metric_values(value: JSON) -> dict[str, dict[str, Any]]:
    """The valid points of a stored value: metric, step number as text, value."""
    known = value if isinstance(value, dict) else {}
    points = {
        name: {step: value for step, value in steps.items() if _is_step(step) and _is_metric(value)}
        for name, steps in known.items()
        if isinstance(steps, dict)
    }
    return {name: steps for name, steps in points.items() if steps}


def _is_step(text: str) -> bool:
    try:
        return -(2**63) <= int(text) < 2**63
    except ValueError:
        return False


def _is_metric(value: JSON) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number or (isinstance(value, str) and value in NOT_FINITE)


def read_charts(kv: KVStore, run: str) -> dict[str, list[Mapping[str, JSON]]]:
    """Charts of a run by probe path. Malformed entries are skipped."""
    prefix = names.charts_key(run, "")
    found: dict[str, list[Mapping[str, JSON]]] = {}
    for key, value in tolerant_reads.scan(kv, prefix):
        items = value.get("items") if isinstance(value, dict) else None
        known = items if isinstance(items, list) else []
        found[key[len(prefix) :]] = [item for item in known if isinstance(item, dict)]
    return found
