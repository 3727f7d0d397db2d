"""What an import costs: no library that a flow may never need is loaded by it."""

from __future__ import annotations

import json
import subprocess
import sys

SCRIPT = """
import json, sys
import prefect
before = set(sys.modules)
import expops_prefect
bare = sorted(set(sys.modules) - before)
from expops_prefect import EXPOPS, flow, log_metric, task
@task
def part(x): return x
@flow
def whole(): return part(1)
decorated = sorted(name for name in sys.modules if name.startswith("expops_prefect."))
from expops_prefect import DataFile, Project, instrument, log_chart
import expops_prefect.cache.storage_handlers, expops_prefect.cache.keys, expops_prefect.tracking.instrumentation
print(json.dumps([bare, decorated, sorted({name.partition(".")[0] for name in sys.modules})]))
"""
READY = {"cache.policy", "cache.storage", "serialization.serializer"}
LATER = {
    "cache.storage_handlers",
    "cache.keys",
    "fingerprint.code",
    "stores.outbox.outbox",
    "project",
    "tracking.instrumentation",
    "record.cache_records",
}
HEAVY = {"google", "grpc", "joblib", "matplotlib", "numpy", "pandas", "polars", "pyarrow", "sklearn", "sqlite_utils"}


def test_heavy_libraries_are_imported_when_they_are_needed() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120, check=True)
    bare, decorated, loaded = json.loads(done.stdout)
    assert bare == ["expops_prefect"], "the names are looked up when they are asked for"
    parts = {name.removeprefix("expops_prefect.") for name in decorated}
    assert parts >= READY, "Prefect looks for our serializer among what is imported, in whatever takes a result"
    assert not parts & LATER, "what only a run needs is imported by the first run"
    assert HEAVY & set(loaded) == set()


def test_the_command_line_waits_for_no_prefect() -> None:
    command = "import sys, expops_prefect.cli.main; print(sorted({'prefect', *HEAVY} & set(sys.modules)))"
    given = command.replace("HEAVY", repr(sorted(HEAVY)))
    done = subprocess.run([sys.executable, "-c", given], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "[]\n"
