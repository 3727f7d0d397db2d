"""Measure what a task run costs on a project's own stores: ``expops-prefect doctor --count``."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from shutil import rmtree
from typing import Any, Final

from expops_prefect.config import environment_apart, load_settings
from expops_prefect.errors import BackendError
from expops_prefect.project import Project
from expops_prefect.stores.kv.base import Erasable

_TIMEOUT: Final = 300.0


@dataclass(frozen=True)
class Calls:
    """Store operations per task run or flow run, without retries and removals."""

    documents_read: float
    documents_written: float
    objects_read: float
    objects_written: float

    @classmethod
    def of(cls, counted: Mapping[str, Mapping[str, int]]) -> Calls:
        """Convert the counters of the stores."""
        documents, objects = counted["documents"], counted["objects"]
        return cls(
            documents.get("reads", 0),
            documents.get("writes", 0),
            objects.get("reads", 0) + objects.get("stats", 0),
            objects.get("writes", 0),
        )

    def __sub__(self, other: Calls) -> Calls:
        return Calls(*(mine - theirs for mine, theirs in zip(self._values, other._values, strict=True)))

    def __truediv__(self, count: int) -> Calls:
        return Calls(*(value / count for value in self._values))

    @property
    def _values(self) -> tuple[float, float, float, float]:
        return self.documents_read, self.documents_written, self.objects_read, self.objects_written

    def __str__(self) -> str:
        read, written, objects_read, objects_written = (f"{value:.3g}" for value in self._values)
        return (
            f"documents: {read} read, {written} written; objects: {objects_read} requests to read, "
            f"{objects_written} written"
        )


@dataclass(frozen=True)
class Cost:
    """The measured cost.

    Attributes:
        executed: per executed task run whose result, with one payload, was stored.
        cached: per cache hit on a machine without a copy of the payload; ``None`` if nothing was a hit.
        run: per flow run, in addition.
    """

    executed: Calls
    cached: Calls | None
    run: Calls


def measure(project: Project) -> Cost:
    """Run a small flow on the project's stores, under a temporary project id.

    Prefect runs with a server and a folder of its own, which are removed too.

    Raises:
        BackendError: the flow failed, or its data could not be removed.
    """
    with _temporary_project(project) as environ:
        report = _run(environ)
    few, many = report["few"], report["many"]
    executed, cached = (
        (Calls.of(report[f"{kind} many"]) - Calls.of(report[f"{kind} few"])) / (many - few)
        for kind in ("executed", "cached")
    )
    run = Calls.of(report["executed few"]) - executed
    return Cost(executed, cached if report["cached bodies"] == 0 else None, run)


def _run(environ: Mapping[str, str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "expops_prefect.cli.cost_process"]
    try:
        done = subprocess.run(  # noqa: S603 - this package
            command,
            env=environ,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise BackendError(f"the small flow did not finish within {_TIMEOUT:.0f} s") from error
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        output = done.stderr.strip().splitlines() or ["no output"]
        raise BackendError(f"the small flow failed (exit code {done.returncode}): {output[-1]}")
    found: dict[str, Any] = json.loads(lines[-1])
    return found


@contextmanager
def _temporary_project(project: Project) -> Iterator[dict[str, str]]:
    """The environment of a project with the same stores and an id of its own; its data are removed afterwards."""
    settings = project.settings
    name = f"doctor-{secrets.token_hex(6)}"
    runtime = settings.runtime_dir / name
    environ = environment_apart(settings, name, runtime)
    there_before = settings.runtime_dir.exists()
    try:
        # Prefect's server does not create the folder, and then waits for its database forever.
        (runtime / "prefect").mkdir(parents=True)
        yield environ
    finally:
        apart = Project(load_settings(settings.root, environ=environ))
        _erase(apart)
        apart.kv.close()
        apart.objects.close()
        rmtree(runtime, ignore_errors=True)
        if not there_before and {item.name for item in settings.runtime_dir.glob("*")} <= {".gitignore"}:
            rmtree(settings.runtime_dir, ignore_errors=True)


def _erase(project: Project) -> None:
    if project.settings.objects.is_shared:
        for info in list(project.objects.list("")):
            project.objects.delete(info.key)
    if isinstance(project.kv, Erasable):
        project.kv.erase()
