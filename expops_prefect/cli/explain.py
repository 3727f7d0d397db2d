"""``expops-prefect cache explain``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from expops_prefect._internal.formatting import age, duration, moment, saving, span
from expops_prefect.cli.output import OK, print_json, print_line, print_note, print_table
from expops_prefect.cli.project_lookup import Limit, Unfold, find_run, open_project
from expops_prefect.explain import Explanation
from expops_prefect.record.process_rows import row_labels
from expops_prefect.record.run_lookup import short_run
from expops_prefect.views.folding import Fold, fold


def explain(
    run: str = "latest",
    process: str | None = None,
    *,
    unfold: Unfold = False,
    project: Path | None = None,
    limit: Limit = 50,
    json: bool = False,
) -> int:
    """Explain a run: why each process and step was executed, or which run its result came from.

    If there are earlier results, an executed task is compared with the nearest one, down to the
    parameter, the configuration key, and the lines of a function that changed.

    Example: expops-prefect cache explain latest train

    Args:
        run: its id, the start or the end of its digits, or ``latest``, which is the default.
        process: only this process or step; by default all.
        unfold: print a line for each call of a mapped or looped task.
        project: the project's root folder; by default found from the current folder.
        limit: the most processes and steps to print.
        json: print JSON.
    """
    opened = open_project(project)
    record = find_run(opened, run)
    found = opened.explain(record, process)
    if json:
        print_json([asdict(item) for item in found[:limit]])
        return OK
    print_line(f"{record.run_id}: flow {record.flow} {record.status}, {moment(record.started_at)}", style="bold")
    labels = row_labels(opened.rows(record))
    lines = fold(found, _path, _outcome, labels=labels, unfold=unfold)
    print_table(["process or step", "status", "took", "saved", "because"], map(_line, lines[:limit]))
    for line in lines[:limit]:
        if line.items[0].differences:
            _print_differences(line)
    if len(lines) > limit:
        print_note(f"showing the first {limit} of {len(lines)}; see more with --limit")
    return OK


def _path(item: Explanation) -> str:
    return item.path


def _outcome(item: Explanation) -> tuple[object, ...]:
    by, with_ = item.computed_by, item.compared_with
    what = [(difference.kind, difference.name) for difference in item.differences]
    return (
        *(item.status, item.because, item.calls, tuple(what) if what else item.reason),
        *(None if by is None else by.run_id, None if with_ is None else with_.run_id),
    )


def _line(line: Fold[Explanation]) -> tuple[object, ...]:
    one = line.items[0]
    took = [item.took for item in line.items if item.took is not None]
    alike = " and the like" if one.differences and len({item.reason for item in line.items}) > 1 else ""
    return (
        line.name,
        one.status,
        (span if one.because == "calls" else duration)(sum(took) if took else None),
        saving(sum(item.saved or 0.0 for item in line.items)),
        _because(one) + alike,
    )


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


def _print_differences(line: Fold[Explanation]) -> None:
    item = line.items[0]
    with_ = item.compared_with
    who = "" if with_ is None else f", compared with run {short_run(with_.run_id)} of {moment(with_.ended_at)}"
    print_line("")
    first = f", of the first of {len(line.items)}" if len(line.items) > 1 else ""
    print_line(f"{line.name}{who}{first}", style="bold")
    if item.upstream and any(difference.kind == "input" for difference in item.differences):
        print_line(f"  its inputs were also executed in this run: {', '.join(item.upstream)}")
    for difference in item.differences:
        print_line(f"  {difference.text}")
        for part in difference.diff:
            print_line(f"    {part}", style={"+": "green", "-": "red"}.get(part[:1]))
