"""``expops-prefect cache load``."""

from __future__ import annotations

import json as json_text
import sys
from pathlib import Path
from pprint import pformat
from typing import Annotated, Any, Final

from cyclopts import Parameter
from cyclopts.validators import Number

from expops_prefect._internal.formatting import age
from expops_prefect.cache import reading
from expops_prefect.cli.output import OK, UsageError, print_line, print_note, size
from expops_prefect.cli.project_lookup import find_run, open_project
from expops_prefect.cli.result_files import as_json, endings_for, is_shortened, write_result
from expops_prefect.project import Project
from expops_prefect.record.run_lookup import short_run

_PRINTED_BYTES: Final = 64 * 1024
"""A larger result is only described, unless its text is short anyway, as that of frames and arrays is."""
_PRINTED_LINES: Final = 200
_WIDTH: Final = 100

Call = Annotated[int, Parameter(validator=Number(gte=1))]
Output = Annotated[Path, Parameter(name=["--output", "-o"])]


def load_result(
    name: str,
    process: str | None = None,
    *,
    call: Call | None = None,
    output: Output | None = None,
    project: Path | None = None,
    json: bool = False,
) -> int:
    """Print a stored result, or write it to a file.

    Name a run and a process, or a cache key. The result is verified before it is loaded. A small one is printed as
    it is, without hiding secrets; a larger one is described. The ending of --output chooses the format: .parquet or
    .csv for a frame, .npy for an array, .json, and .pkl, .pickle or .joblib for anything.

    Example: expops-prefect cache load latest evaluate -o scores.json

    Args:
        name: a run: its id, the start or the end of its digits, or ``latest``; or, without a process, a cache key or a
            unique start of its parts, as ``cache list`` prints it.
        process: the process or step.
        call: which of several calls, from 1.
        output: the file to write; one that exists is replaced.
        project: the project's root folder; by default found from the current folder.
        json: print JSON.
    """
    opened = open_project(project)
    found = _find(opened, name, process, call)
    # Classes of the project's own modules are needed to load their objects.
    sys.path.append(str(opened.settings.root))
    try:
        value = reading.load(opened, found)
    finally:
        sys.path.remove(str(opened.settings.root))
    if output is not None:
        write_result(value, output)
    if json:
        sys.stdout.write(json_text.dumps(_description(found, value, output), indent=2) + "\n")
    elif output is None:
        _print(found, value)
    else:
        print_line(f"wrote {_kind(value)} into {output}")
    return OK


def _find(project: Project, name: str, process: str | None, call: int | None) -> reading.StoredResult:
    if process is None:
        if call is not None:
            raise UsageError("--call needs a run and a process")
        return reading.find(project, name, None, None)
    return reading.find(project, find_run(project, name), process, call)


def _description(found: reading.StoredResult, value: Any, output: Path | None) -> dict[str, Any]:
    record = found.record
    said: dict[str, Any] = {"key": found.key, "run": record.run_id, "path": found.path or record.path}
    said |= {"type": _kind(value), "size": record.size}
    if output is not None:
        return {**said, "written": str(output)}
    text = as_json(value)
    return said if text is None else {**said, "value": json_text.loads(text)}


def _print(found: reading.StoredResult, value: Any) -> None:
    record = found.record
    whole = record.size <= _PRINTED_BYTES
    if whole or is_shortened(value):
        lines = (repr(value) if is_shortened(value) else pformat(value, width=_WIDTH, sort_dicts=False)).splitlines()
        for line in lines[:_PRINTED_LINES]:
            print_line(line)
        whole = whole and len(lines) <= _PRINTED_LINES
    else:
        count = f" with {len(value)} items" if hasattr(value, "__len__") else ""
        print_line(f"{_kind(value)}{count}")
    if not whole:
        by = f" by run {short_run(record.run_id)}" if record.run_id else ""
        print_note(
            f"{size(record.size)}, computed {age(record.ended_at)}{by}; "
            f"write it with --output, as {', '.join(endings_for(value))}"
        )


def _kind(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
