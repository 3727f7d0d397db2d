"""``expops-prefect cache explain``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from expops_prefect.cli.opening import Limit, find_run, open_project
from expops_prefect.cli.output import OK, print_json, print_line, print_note, print_table
from expops_prefect.explain import Explanation
from expops_prefect.formatting import age, duration, moment, saving
from expops_prefect.lookup import short_run
from expops_prefect.names import readable


def explain(
    run: str, process: str | None = None, *, project: Path | None = None, limit: Limit = 50, json: bool = False
) -> int:
    """Explain a run: why each process and step was executed, or whose result it was given.

    What was executed although there are earlier results is compared with the nearest of them, down to
    the parameter, the key of the configuration, and the lines of a function that changed.

    Example: expops-prefect cache explain latest train

    Args:
        run: its id, the beginning or the end of its digits, or ``latest``.
        process: only this process or step; without it all.
        project: the project's root folder; without it found from the current folder.
        limit: how many processes and steps at most.
        json: print JSON.
    """
    opened = open_project(project)
    record = find_run(opened, run)
    found = opened.explain(record, process)
    if json:
        print_json([asdict(item) for item in found[:limit]])
        return OK
    print_line(f"{record.run_id}: flow {record.flow} {record.status}, {moment(record.started_at)}", style="bold")
    print_table(
        ["process or step", "status", "took", "saved", "because"],
        [
            (readable(item.path), item.status, duration(item.took), saving(item.saved), _because(item))
            for item in found[:limit]
        ],
    )
    for item in found[:limit]:
        if item.differences:
            _print_differences(item)
    if len(found) > limit:
        print_note(f"the first {limit} of {len(found)}; more with --limit")
    return OK


def _because(item: Explanation) -> str:
    one = "last" if item.computed_by is not None else "first"
    calls = f"; the {one} of {item.calls} calls" if item.calls > 1 and item.because != "calls" else ""
    by = item.computed_by
    if by is None:
        return item.reason + calls
    who = f"run {short_run(by.run_id)}" if by.run_id else "a task outside any run"
    where = f" on {by.host}" if by.host else ""
    if by.ended_at is None:
        return f"computed by {who}{where}{calls}"
    when = f"at {moment(by.ended_at)} in {duration(by.execution_time)}"
    return f"computed {age(by.ended_at)} by {who}{where} {when}{calls}"


def _print_differences(item: Explanation) -> None:
    with_ = item.compared_with
    who = "" if with_ is None else f", compared with run {short_run(with_.run_id)} of {moment(with_.ended_at)}"
    print_line("")
    print_line(f"{readable(item.path)}{who}", style="bold")
    if item.upstream and any(difference.kind == "input" for difference in item.differences):
        print_line(f"  executed in this run too, and its input: {', '.join(item.upstream)}")
    for difference in item.differences:
        print_line(f"  {difference.text}")
        for line in difference.diff:
            print_line(f"    {line}", style={"+": "green", "-": "red"}.get(line[:1]))
