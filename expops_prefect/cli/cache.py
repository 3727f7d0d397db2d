"""``expops-prefect cache``."""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from cyclopts import App

from expops_prefect.cli.output import OK, ProblemError, age, duration, moment, print_json, print_line, print_table, size
from expops_prefect.names import CacheKey
from expops_prefect.project import Project
from expops_prefect.records import CacheRecord, read_cache_records

app = App(name="cache", help="The project's cached results.")


@app.command(name="list")
def list_records(*, project: Path | None = None, task: str | None = None, limit: int = 50, json: bool = False) -> int:
    """List cached results by task.

    Example: expops-prefect cache list --task train --limit 10

    Args:
        project: the project's root folder; without it found from the current folder.
        task: only results of this task.
        limit: how many at most.
        json: print JSON.
    """
    opened = Project.open(project)
    found = list(islice(_records(opened, task), limit))
    if json:
        print_json([_as_json(key, record) for key, record in found])
        return OK
    if not found:
        print_line(f"no cached results in {opened.kv.describe()}")
        return OK
    print_table(
        ["key", "computed", "took", "size", "run"],
        [
            (_short(key), age(record.ended_at), duration(record.execution_time), size(record.size), record.run_id)
            for key, record in found
        ],
    )
    if len(found) == limit:
        print_line(f"the first {limit}; more with --limit")
    return OK


@app.command
def show(key: str, *, project: Path | None = None, json: bool = False) -> int:
    """Show a cached result: who computed it, and whether its objects are there.

    Example: expops-prefect cache show train/0f3a

    Args:
        key: ``<task>/<inputs>/<config>/<function>``, or a beginning of its parts that is unique, as
            ``cache list`` prints it.
        project: the project's root folder; without it found from the current folder.
        json: print JSON.
    """
    opened = Project.open(project)
    matching = list(islice((item for item in _records(opened, key.split("/")[0]) if _matches(item[0], key)), 2))
    if len(matching) != 1:
        many = "more than one cached result" if matching else "no cached result"
        raise ProblemError(f"{many} under {key!r} in {opened.kv.describe()}; see expops-prefect cache list")
    found, record = matching[0]
    objects = [(record.object_key, record.size - sum(item.size for item in record.payloads))]
    objects += [(item.key, item.size) for item in record.payloads]
    present = {name: opened.objects.stat(name) is not None for name, _ in objects}
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
        ],
    )
    print_table(
        ["object", "size", ""],
        [
            (name, size(count), "there" if present[name] else "MISSING: the next use recomputes")
            for name, count in objects
        ],
    )
    return OK


def _records(project: Project, task: str | None) -> Any:
    return (item for item in read_cache_records(project.kv) if task is None or item[0].task == task)


def _matches(key: CacheKey, text: str) -> bool:
    given, whole = text.split("/"), str(key).split("/")
    return len(given) <= len(whole) and all(part.startswith(begun) for part, begun in zip(whole, given, strict=False))


def _short(key: CacheKey) -> str:
    return f"{key.task}/{key.inputs[:8]}/{key.config[:8]}/{key.function[:8]}"


def _as_json(key: CacheKey, record: CacheRecord) -> dict[str, Any]:
    return {"key": str(key), **asdict(record)}
