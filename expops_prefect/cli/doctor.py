"""``expops-prefect doctor``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from expops_prefect.cache.unmatched_names import names_of, unmatched
from expops_prefect.cli.output import OK, PROBLEM, print_json, print_table
from expops_prefect.cli.project_lookup import is_empty
from expops_prefect.errors import ExpOpsPrefectError
from expops_prefect.project import Project
from expops_prefect.stores.settings import Check

_FEW_WRITES: Final = 3
"""Its record, its row at the end, and its row while running if it runs longer than a flush."""


def doctor(project: Path | None = None, *, count: bool = False, json: bool = False) -> int:
    """Check the configuration, the backends and the versions. Exit code 1 if a check fails.

    With --count, also run a small flow on the project's stores, under a temporary project id, and print
    how many documents and objects a task run reads and writes.

    Example: expops-prefect doctor --project ~/churn --count

    Args:
        project: the project's root folder; by default found from the current folder.
        count: count the store operations of a small flow.
        json: print JSON.
    """
    checks = list(_checks(project))
    if count and not any(check.verdict == "failed" for check in checks):
        checks += _cost(Project.open(project))
    if json:
        print_json([asdict(check) for check in checks])
    else:
        print_table(["check", "", "found"], [line for check in checks for line in _lines(check)])
    return PROBLEM if any(check.verdict == "failed" for check in checks) else OK


def _lines(check: Check) -> Iterator[tuple[str, str, str]]:
    yield check.name, check.verdict, check.found
    if check.advice:
        yield "", "", f"to do: {check.advice}"


def _checks(path: Path | None) -> Iterator[Check]:
    yield from _versions()
    try:
        project = Project.open(path)
    except ExpOpsPrefectError as error:
        yield Check("configuration", "failed", str(error), "correct it, then run this again")
        return
    settings = project.settings
    file = settings.config_file
    yield Check(
        "configuration",
        "ok" if file else "warning",
        f"project {settings.project_id!r}, {file or 'no configs/project_config.yaml, defaults'}",
        "" if file else "run: expops-prefect init",
    )
    for notice in settings.warnings:
        yield Check("configuration", "warning", notice)
    data = settings.data_path
    if data is not None and not data.exists():
        yield Check(
            "configuration", "warning", f"{data} (data.path) does not exist", "correct it, unless a flow makes it"
        )
    configured = settings.configured_kv_kind
    if configured is not None and configured != settings.kv.kind:
        yield Check(
            "environment",
            "warning",
            f"MLOPS_KV_BACKEND chooses {settings.kv.kind}, the configuration says {configured}",
            "ExpOps' web server follows the configuration: make them equal to see your runs there",
        )
    yield from _caching(project)
    yield _reach("KV store", project.kv.describe(), project.kv.ping)
    yield _reach("object store", project.objects.describe(), project.objects.ping)
    yield from settings.kv.checks()
    yield from settings.objects.checks()


_RULES: Final = {
    "pure": "tasks that only compute are cached",
    "all": "every task that returns something is cached",
    "none": "only tasks that ask for it are cached",
}
_MOST_NAMED: Final = 10


def _caching(project: Project) -> Iterator[Check]:
    """The caching rule, and which tasks of the newest run it excluded."""
    cache = project.settings.cache
    if not cache.enabled:
        yield Check("caching", "warning", "prefect.cache.enabled is false: only processes that are enabled are cached")
    else:
        yield Check(
            "caching", "ok", f"prefect.cache.default: {cache.default or 'pure'}: {_RULES[cache.default or 'pure']}"
        )
    try:
        run = None if is_empty(project) else next(iter(project.runs(limit=1)), None)
        rows = () if run is None else project.rows(run.run_id)
        seen = names_of(row.path for row in rows)
        whole = not any(row.calls.get("cached") for row in rows)
        wrong = [] if run is None else list(unmatched(project, seen, complete=whole))
    except ExpOpsPrefectError:
        return  # the checks of the stores report the cause
    for text in wrong:
        yield Check("caching", "warning", text, "correct the name, or remove its section")
    why = {row.label: str(row.fields.get("miss_reason")) for row in rows if row.fields.get("miss") == "effect"}
    for label, text in list(why.items())[:_MOST_NAMED]:
        yield Check("caching", "ok", f"{label}: {text}")
    if len(why) > _MOST_NAMED:
        yield Check("caching", "ok", f"and {len(why) - _MOST_NAMED} more; see expops-prefect runs show latest")


def _reach(name: str, place: str, ping: Callable[[], None]) -> Check:
    try:
        ping()
    except ExpOpsPrefectError as error:
        return Check(name, "failed", str(error))
    return Check(name, "ok", f"{place}: wrote, read and deleted a test entry")


def _cost(project: Project) -> Iterator[Check]:
    from expops_prefect.cli.cost import measure

    try:
        cost = measure(project)
    except ExpOpsPrefectError as error:
        yield Check("cost", "failed", str(error))
        return
    yield Check(
        "cost",
        "ok",
        f"each task run that is executed: {cost.executed}",
        ""
        if cost.executed.documents_written <= _FEW_WRITES
        else "write less often: raise prefect.record.flush_seconds",
    )
    if cost.cached is None:
        yield Check("cost", "warning", "nothing was cached", "see prefect.cache in the configuration, and the warnings")
    else:
        yield Check("cost", "ok", f"each hit: {cost.cached}")
    yield Check("cost", "ok", f"each flow run in addition: {cost.run}")


def _versions() -> Iterator[Check]:
    yield _version("prefect", lambda found: found >= (3, 8) and found < (4,), "pip install 'prefect>=3.8,<4'")
    yield _version("fastapi", lambda found: found < (0, 151), "pip install 'fastapi<0.151' (Prefect's server breaks)")
    try:
        yield Check("expops", "ok", f"expops {version('expops')}: its UI can show your runs")
    except PackageNotFoundError:
        yield Check("expops", "ok", "not installed", "for ExpOps' UI: pip install 'expops-prefect[expops]'")


def _version(name: str, supported: Callable[[tuple[int, ...]], bool], advice: str) -> Check:
    try:
        found = version(name)
    except PackageNotFoundError:
        return Check(name, "failed", "not installed", advice)
    numbers = tuple(int(part) for part in found.split(".")[:2] if part.isdigit())
    good = supported(numbers)
    return Check(name, "ok" if good else "failed", f"{name} {found}", "" if good else advice)
