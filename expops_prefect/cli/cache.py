"""``expops-prefect cache``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

from cyclopts import App

from expops_prefect._internal.formatting import age, duration, moment
from expops_prefect.cache import reading, reasons
from expops_prefect.cli.explain import explain
from expops_prefect.cli.output import OK, print_json, print_line, print_note, print_table, size
from expops_prefect.cli.project_lookup import Limit, is_empty, open_project
from expops_prefect.effects import dependencies
from expops_prefect.errors import FormatError
from expops_prefect.models.names import CacheKey, normalise, process_name
from expops_prefect.project import Project
from expops_prefect.record.cache_records import CacheRecord, read_cache_records
from expops_prefect.record.run_lookup import short_run

app = App(name="cache", help="The project's cached results.")
app.command(explain)


@app.command(name="list")
def list_records(*, project: Path | None = None, task: str | None = None, limit: Limit = 50, json: bool = False) -> int:
    """List cached results by task.

    Example: expops-prefect cache list --task train --limit 10

    Args:
        project: the project's root folder; by default found from the current folder.
        task: only results of this task.
        limit: the most results to list.
        json: print JSON.
    """
    opened = open_project(project)
    # Earlier releases stored results under another form of the task's name.
    called = [""] if task is None else dict.fromkeys((process_name(task), normalise(task)))
    records = (item for name in called for item in _records(opened, name) if task is None or item[0].task == name)
    found = list(islice(records, limit + 1))
    if json:
        print_json([_as_json(key, record) for key, record in found[:limit]])
        return OK
    if not found:
        of_task = "" if task is None else f" of {task!r}"
        print_line(f"no cached results{of_task} in {opened.kv.describe()}")
        return OK
    print_table(
        ["key", "computed", "took", "size", "run"],
        [
            (
                key.short,
                age(record.ended_at),
                duration(record.execution_time),
                size(record.size),
                short_run(record.run_id),
            )
            for key, record in found[:limit]
        ],
    )
    if len(found) > limit:
        print_note(f"showing the first {limit}; see more with --limit")
    return OK


@app.command
def show(key: str, *, project: Path | None = None, json: bool = False) -> int:
    """Show a cached result: which run computed it, and whether its objects exist.

    Example: expops-prefect cache show train/0f3a

    Args:
        key: ``<task>/<inputs>/<config>/<function>``, or a unique start of its parts, as ``cache list``
            prints it.
        project: the project's root folder; by default found from the current folder.
        json: print JSON.
    """
    opened = open_project(project)
    found, record = reading.find_key(opened, key)
    objects = [(record.object_key, record.size - sum(item.size for item in record.payloads))]
    objects += [(item.key, item.size) for item in record.payloads]
    present = {name: opened.objects.stat(name) is not None for name, _ in objects}
    missing = {name: "MISSING: will be recomputed" for name, _ in objects}
    if record.inline is not None:
        missing[record.object_key] = "only in the record; cache verify --repair writes it"
    if json:
        print_json({**_as_json(found, record), "objects": present})
        return OK
    print_line(str(found), style="bold")
    print_table(
        ["", ""],
        [
            ("computed by", record.run_id),
            ("as", record.path),
            ("on", record.host),
            ("at", moment(record.ended_at)),
            ("took", duration(record.execution_time)),
            ("size", size(record.size)),
            ("expires", moment(record.expires_at) or "never"),
            *(("read from", name) for name in dependencies.described(_dependencies(record))),
            *(("does more", reasons.of_record(record.effects).text) for _ in range(1 if record.effects else 0)),
        ],
    )
    print_table(
        ["object", "size", ""],
        [(name, size(count), "there" if present[name] else missing[name]) for name, count in objects],
    )
    return OK


def _dependencies(record: CacheRecord) -> tuple[dependencies.Dependency, ...]:
    try:
        return dependencies.load(record.dependencies)
    except FormatError:
        return ()


def _records(project: Project, beginning: str) -> Iterator[tuple[CacheKey, CacheRecord]]:
    return iter(()) if is_empty(project) else read_cache_records(project.kv, beginning=beginning)


def _as_json(key: CacheKey, record: CacheRecord) -> dict[str, Any]:
    # Leave out an inline result: it is as long as all else together, and not readable.
    return {"key": str(key), **asdict(replace(record, inline=None)), "inline": record.inline is not None}
