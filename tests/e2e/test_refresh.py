"""Prefect's ``refresh_cache``, option and setting: computed anew once; the new result is the hit from then on."""

from __future__ import annotations

from tests.support.processes import FlowProject

SCRIPT = """
import os
from executions import ran
from expops_prefect import flow, task


@task
def numbered(x):
    ran("numbered")
    with open("number", "a") as file:
        file.write("+")
    return [x, os.path.getsize("number")]


@flow
def main():
    option = numbered.with_options(refresh_cache=True)
    never = numbered.with_options(refresh_cache=False)
    print("GOT", numbered(0)[1], numbered(0)[1], option(0)[1], numbered(0)[1], never(0)[1])


if __name__ == "__main__":
    main()
"""


def test_a_refreshed_result_is_the_hit_from_then_on(shop: FlowProject) -> None:
    shop.write("main.py", SCRIPT)
    first = shop.run("main.py").ok()
    assert "GOT 1 1 2 2 2" in first.output
    assert first.executions == {"numbered": 2}
    # Everything but what says that it does not want to.
    refreshed = shop.run("main.py", env={"PREFECT_TASKS_REFRESH_CACHE": "true"}).ok()
    assert "GOT 3 4 5 6 6" in refreshed.output
    shop.edit("main.py", "option(0)", "never(0)")
    last = shop.run("main.py").ok()
    assert "GOT 6 6 6 6 6" in last.output
    assert last.total == 0
    assert shop.statuses()["numbered"] == "cached"
