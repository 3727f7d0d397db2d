"""``expops-prefect cache invalidate | verify | gc``."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter
from cyclopts.validators import Number
from pydantic import TypeAdapter, ValidationError

from expops_prefect._internal.formatting import age
from expops_prefect.cli.output import (
    OK,
    PROBLEM,
    ProblemError,
    UsageError,
    print_json,
    print_line,
    print_note,
    print_table,
    size,
)
from expops_prefect.cli.progress import progress_bar
from expops_prefect.cli.project_lookup import is_empty, open_project
from expops_prefect.config.model import Duration
from expops_prefect.errors import RunNotFoundError
from expops_prefect.maintenance import Collected, Entry, Policy, Selection, Verified, collect, invalidate, verify
from expops_prefect.project import Project
from expops_prefect.record.run_lookup import short_run
from expops_prefect.stores.objects.base import GRACE

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?) ?([KMGT]?)(?:i?B)?", re.IGNORECASE)
_POWERS: Final = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_SHOWN: Final = 50


def _length(type_: Any, tokens: Any) -> timedelta:  # noqa: ARG001
    (token,) = tokens
    try:
        found: timedelta = TypeAdapter(Duration).validate_python(token.value)
    except ValidationError as error:
        raise ValueError(f"{token.value!r} is not a duration such as 90s, 12h, 30d or 4w") from error
    return found


def _bytes(type_: Any, tokens: Any) -> int:  # noqa: ARG001
    (token,) = tokens
    match = _SIZE.fullmatch(token.value.strip())
    if match is None:
        raise ValueError(f"{token.value!r} is not a size such as 500M, 20G or 1T")
    return int(float(match[1]) * 1024 ** _POWERS[match[2].upper()])


Age = Annotated[timedelta | None, Parameter(converter=_length)]
Size = Annotated[int | None, Parameter(converter=_bytes)]
Count = Annotated[int | None, Parameter(validator=Number(gte=0))]


def invalidate_records(
    key: str | None = None,
    *,
    process: str | None = None,
    run: str | None = None,
    older_than: Age = None,
    dry_run: bool = False,
    project: Path | None = None,
    json: bool = False,
) -> int:
    """Remove cached results, so that their next use recomputes them. ``cache gc`` removes their files.

    A result is removed if it matches all the given options.

    Example: expops-prefect cache invalidate --process train --older-than 30d --dry-run

    Args:
        key: a task, or a start of a key's parts, as ``cache list`` prints it.
        process: results of this process and of the steps inside it.
        run: results that this run computed: its id, a part of it, or ``latest``.
        older_than: results computed at least this long ago, such as 12h or 30d.
        dry_run: only print what would be removed.
        project: the project's root folder; by default found from the current folder.
        json: print JSON.
    """
    if key is None and process is None and run is None and older_than is None:
        raise UsageError("which results? give a key, --process, --run or --older-than")
    # An option may be empty because of an unset variable in a script; it would match everything.
    for name, text in (("the key", None if key is None else key.split("/")[0]), ("--process", process), ("--run", run)):
        if text is not None and not text.strip():
            raise UsageError(f"{name} is empty, which would mean every result; for that give --older-than 1s")
    opened = open_project(project)
    selection = Selection(key, process, _run_id(opened, run), older_than)
    chosen = [] if is_empty(opened) else invalidate(opened, selection, dry_run=dry_run)
    if not chosen and (key, process, run) != (None, None, None):
        raise ProblemError(f"no cached result matches in {opened.kv.describe()}; see expops-prefect cache list")
    if json:
        print_json({"dry_run": dry_run, "results": [_as_json(entry) for entry in chosen]})
        return OK
    _print_entries([(entry, "") for entry in chosen])
    verb = "would be invalidated" if dry_run else "invalidated"
    print_line(f"{_count(len(chosen), 'result')} {verb}" + ("" if dry_run else "; their next use recomputes them"))
    return OK


def verify_records(*, repair: bool = False, project: Path | None = None, json: bool = False) -> int:
    """Read all cached results again and compare them with their digests.

    Exit code 1 if a result is missing, damaged, lacks a required signature or belongs to another key, unless it was
    repaired. Flows do not need this command: they detect such results and recompute them.

    Example: expops-prefect cache verify --repair

    Args:
        repair: remove unusable results, so that their next use recomputes them, and write the missing files
            of small results that are kept in their records.
        project: the project's root folder; by default found from the current folder.
        json: print JSON.
    """
    opened = open_project(project)
    if is_empty(opened):
        found = Verified(0, 0, 0, 0, (), 0)
    else:
        with progress_bar(f"verifying {opened.objects.describe()}", visible=not json) as progress:
            found = verify(opened, repair=repair, progress=progress)
    broken = len(found.broken) + len(found.unreadable)
    left = broken + len(found.files) if not repair else 0
    if json:
        print_json(asdict(found))
        return PROBLEM if left else OK
    if broken or found.files:
        print_table(
            ["record", "object", ""],
            [
                (item.stored.kv_key, key, what)
                for item in (*found.broken, *found.files)
                for what, keys in (("MISSING", item.missing), ("DAMAGED", item.damaged))
                for key in keys
            ]
            + [(item.stored.kv_key, "", "NOT SIGNED") for item in found.broken if not item.stored.trusted]
            + [(item.stored.kv_key, "", "OF ANOTHER KEY") for item in found.broken if item.misleading]
            + [(item.stored.kv_key, "list of its files", "DAMAGED") for item in found.broken if item.stored.lost_files]
            + [(key, "", "DAMAGED") for key in found.unreadable],
        )
    print_line(
        f"{_count(found.records, 'record')} verified, {_count(found.objects, 'object')} ({size(found.bytes)}) read: "
        f"{broken or 'none'} broken"
        + (f", {found.repaired} removed" if repair and broken else "")
        + (f", {_count(len(found.files), 'file')} of small results missing or damaged" if found.files else "")
    )
    if found.written:
        print_line(f"{_count(found.written, 'file')} of small results written")
    elif found.files:
        print_note(
            f"{_count(len(found.files), 'small result')} only in the record: hits need no file, but other readers do; "
            "cache verify --repair writes it"
        )
    if found.unwritten and not repair:
        print_note(f"{_count(found.unwritten, 'file')} of small results about to be written by a flow of this machine")
    if found.elsewhere:
        print_note(f"{found.elsewhere} more results have files on other machines; verify there")
    if broken and not repair:
        print_note("their next use recomputes them; cache verify --repair removes them now")
    return PROBLEM if left else OK


def collect_garbage(
    *,
    older_than: Age = None,
    unused_for: Age = None,
    keep_last: Count = None,
    max_size: Size = None,
    now: bool = False,
    alone: bool = False,
    dry_run: bool = False,
    project: Path | None = None,
    json: bool = False,
) -> int:
    """Free space: drop results, and remove files that no result needs.

    Drops expired results, and those that match any of the options. Flows may run meanwhile. The files of a
    dropped result are kept for another hour, for tasks that are reading it; the next collection removes them.
    Runs, their metrics and their charts are not touched.

    Example: expops-prefect cache gc --unused-for 30d --max-size 50G

    Args:
        older_than: drop results computed at least this long ago, such as 12h or 30d.
        unused_for: drop results that were not used for this long; use is recorded once a day.
        keep_last: keep only this many of the newest results of each task.
        max_size: drop the least recently used results until the rest takes no more than this, such as 20G.
        now: remove unneeded files without waiting for an hour. Only safe while no flow of the project runs anywhere.
        alone: confirm that no other machine uses the bucket under this project's id; needed if records are local.
        dry_run: only print what would be done.
        project: the project's root folder; by default found from the current folder.
        json: print JSON.
    """
    opened = open_project(project)
    policy = Policy(older_than, unused_for, keep_last, max_size)
    if is_empty(opened):
        done = Collected()
    else:
        with progress_bar(f"collecting in {opened.objects.describe()}", visible=not json) as progress:
            done = collect(opened, policy, dry_run=dry_run, at_once=now, alone=alone, progress=progress)
    if json:
        dropped = [{**_as_json(item.entry), "reason": item.reason} for item in done.dropped]
        print_json({"dry_run": dry_run, **asdict(done), "dropped": dropped})
        return OK
    _print_entries([(item.entry, item.reason) for item in done.dropped])
    for line in _summary(done, dry_run):
        print_line(line)
    return OK


def _summary(done: Collected, dry_run: bool) -> list[str]:
    would = "would be " if dry_run else ""
    reasons = Counter(item.reason for item in done.dropped)
    why = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    lines = [
        f"{_count(len(done.dropped), 'result')} {would}dropped"
        + (f" ({why})" if why else "")
        + f", {done.kept} kept ({size(done.kept_bytes)})",
        f"{_count(done.freed, 'object')} {would}freed ({size(done.freed_bytes)})",
    ]
    if done.waiting:
        lines.append(
            f"{_count(done.waiting, 'object')} more ({size(done.waiting_bytes)}) can be freed by a collection in "
            f"{GRACE / 60:.0f} minutes: running flows may need them until then"
        )
    if done.copies:
        lines.append(
            f"{_count(done.copies, 'downloaded copy', 'downloaded copies')} {would}removed ({size(done.copies_bytes)})"
        )
    if done.temporaries:
        lines.append(f"{_count(done.temporaries, 'unfinished write')} of killed processes removed")
    return lines


def _print_entries(entries: list[tuple[Entry, str]]) -> None:
    if not entries:
        return
    print_table(
        ["key", "computed", "size", "run", ""],
        [
            (
                entry.name if entry.key is None else entry.key.short,
                age(entry.record.ended_at),
                size(entry.record.size),
                short_run(entry.record.run_id),
                reason,
            )
            for entry, reason in entries[:_SHOWN]
        ],
    )
    if len(entries) > _SHOWN:
        print_note(f"showing the first {_SHOWN}; see all with --json")


def _run_id(project: Project, text: str | None) -> str | None:
    if text is None or is_empty(project):
        return text
    try:
        return project.run(text).run_id
    except RunNotFoundError:
        # A run whose record is gone can still be named by its full id.
        return text


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _as_json(entry: Entry) -> dict[str, Any]:
    return {
        "key": entry.name,
        "records": [stored.kv_key for stored in entry.stored],
        "size": entry.record.size,
        "ended_at": entry.record.ended_at,
        "used_at": entry.used_at,
        "run_id": entry.record.run_id,
    }
