"""A runtime folder that goes away under a running flow is made anew, and the run's record is whole at its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.processes import FlowProject

FLOW = """
import shutil, sys
from pathlib import Path

from executions import ran
from expops_prefect import flow, log_chart, log_metric, task
from expops_prefect.project import Project


@task
def first(x):
    ran("first")
    for number in range(3):
        log_metric("loss", number)
    log_chart("drawn", bytes.fromhex("89504e470d0a1a0a"))
    return x + 1


@task
def second(x):
    ran("second")
    log_metric("loss", 9)
    return x + 1


@flow
def main():
    found = first(1)
    assert Project.open().outbox.flush(30)
    folder = Path(".shop")
    if sys.argv[1] == "folder":
        shutil.rmtree(folder)
    elif sys.argv[1] == "moved":
        folder.rename("elsewhere")
    else:
        for file in folder.glob("**/*.sqlite*"):
            file.unlink()
    return second(found)


main()
"""


@pytest.mark.parametrize("loss", ["folder", "moved", "file"])
def test_the_record_is_whole(tmp_path: Path, loss: str) -> None:
    shop = FlowProject(tmp_path)
    shop.write("flow.py", FLOW)
    done = shop.run("flow.py", loss).ok()
    assert done.output.count("was removed or moved while it was in use") == 1, done.output
    run = shop.last_run()
    assert run.status == "completed"
    # The database alone went, or the charts too: their bytes are nowhere else.
    lost = {} if loss == "file" else {"charts lost": 1}
    assert run.degraded == {"database gone": 1, **lost}
    assert done.output.count("charts lost: ") == len(lost), done.output
    assert shop.statuses() == {"first": "completed", "second": "completed"}
    assert shop.metrics() == {
        "first": {"loss": {"1": 0, "2": 1, "3": 2}},
        "second": {"loss": {"1": 9}},
    }
