"""Subflows that are cache entries: what runs of them in the first process, in the next, and after a change."""

from __future__ import annotations

from collections import Counter

import pytest

from expops_prefect import flow
from expops_prefect.errors import ConfigurationError
from tests.e2e.subflows import HELPER, SCRIPT
from tests.support.processes import FlowProject, short

CONFIG = """
experiment:
  pipeline:
    processes: [{name: prepare, parameters: {rate: RATE}}]
prefect: {project_id: shop, cache: {default: all, single_flight: FLIGHT, processes: {training: {enabled: ENABLED}}}}
"""
ALWAYS = {"uncached_caller": 1, "nothing": 1, "unkept": 1, "several_futures": 1, "failing": 1, "again": 2}
"""Not cached: ``None``, states and failures, what must not persist, and a flow that is no subflow, once retried."""


def config(*, rate: int = 1, flight: bool = False, enabled: bool = True) -> str:
    text = CONFIG.replace("RATE", str(rate)).replace("FLIGHT", str(flight).lower())
    return text.replace("ENABLED", str(enabled).lower())


def test_a_cached_subflow_runs_once_until_something_changes(shop: FlowProject) -> None:
    shop.configure(config())
    shop.write("main.py", SCRIPT)
    shop.write("helper.py", HELPER)

    def executed(*flows: str) -> dict[str, int]:
        return dict(shop.run("main.py", *flows).ok().executions)

    def everything() -> Counter[str]:
        # Each half in a process of its own: Prefect takes a second or more for each subflow.
        return Counter(executed("simple", "nested")) + Counter(executed("results", "together", "again", "alone"))

    assert everything() == {
        **ALWAYS,
        **dict.fromkeys(["whole", "caller", "around", "below", "learn"], 1),
        "loading": 2,
        "training": 6,
        "prepare": 7,
        "fit": 4,
    }
    computed = {record.flow: record.run_id for record in shop.project().runs()}
    assert everything() == {**ALWAYS, "training": 1}

    project = shop.project()
    runs = {record.flow: record for record in project.runs() if record.run_id not in computed.values()}
    assert {record.status for record in runs.values()} == {"completed"}

    def rows(name: str) -> dict[str, str]:
        return {short(row.path): row.status for row in project.rows(runs[name].run_id)}

    assert rows("simple") == dict.fromkeys(
        ["training", "p2/training", "p3/training", "p3/training", "prepare"], "cached"
    )
    assert project.kv.get(f"runs:{runs['simple'].run_id}:stats:cache_hit_count") == 4
    # A hit has no steps; one that runs has them as before.
    assert rows("nested") == {
        "whole": "cached",
        "caller": "cached",
        "around": "cached",
        "uncached_caller": "completed",
        "uncached_caller/training": "cached",
    }
    assert rows("results")["failing"] == "failed"
    assert rows("together") == dict.fromkeys(["loading", "p2/loading", "p3/loading"], "cached")
    first = next(row for row in project.rows(runs["simple"].run_id) if short(row.path) == "training")
    assert first.cached_run_id == computed["simple"]
    metrics = {short(path): series for path, series in project.metrics(runs["simple"].run_id).items()}
    assert metrics["training"] == {"x": {"1": 1}}
    assert metrics["training/prepare"] == {"prepared": {"1": 1}}
    assert metrics["p3/training"] == {"x": {"1": 1}}

    # A helper of one of its tasks, in another module: the task, and every subflow and task around it.
    shop.edit("helper.py", "x * FACTOR", "FACTOR * x")
    assert executed("nested") == {"training": 2, "fit": 2, "whole": 1, "caller": 1, "uncached_caller": 1}

    # What is configured for one of its tasks.
    shop.configure(config(rate=2, flight=True))
    assert executed("simple") == {"training": 2, "prepare": 1, "fit": 1}
    assert executed("simple") == {}
    # By its own name in the configuration.
    shop.configure(config(rate=2, enabled=False))
    assert executed("simple") == {"training": 3}


def test_a_flow_that_yields_has_no_result_to_keep() -> None:
    with pytest.raises(ConfigurationError, match="'numbers' yields"):

        @flow(cached=True)
        def numbers():  # type: ignore[no-untyped-def]
            yield 1
