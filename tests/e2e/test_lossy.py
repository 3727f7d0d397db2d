"""A result that comes back from the cache as less than it was is named, once."""

from __future__ import annotations

from pathlib import Path

from tests.support.processes import FlowProject

FLOW = """
from executions import ran
from expops_prefect import flow, task


class Forgetful:
    def __init__(self, note):
        self.kept, self.note, self._handle = 1, note, object()

    def __reduce__(self):
        return Remembering, ()


class Remembering(Forgetful):
    def __init__(self):
        self.kept = 1

    def __reduce__(self):
        return Remembering, ()


class Private:
    def __init__(self):
        self.name, self._handle = "a", lambda: 1

    def __getstate__(self):
        return {"name": self.name}

    def __expops_fingerprint__(self):
        return hasattr(self, "_handle")


class Counted(Private):
    def __init__(self):
        super().__init__()
        self.note = 1


class Silent:
    def __init__(self):
        self.weight, self.callback = 1, print

    def __getstate__(self):
        return {"weight": self.weight}


@task
def silent(x):
    ran("silent")
    return Silent()


@task
def becomes(x):
    ran("becomes")
    return [1, {"a": Forgetful("n")}]


@task
def drops(x):
    ran("drops")
    return Counted()


@task
def keeps(x):
    ran("keeps")
    return Private()


@flow
def main():
    for n in range(2):
        becomes(n), drops(n), keeps(n), silent(n)


main()
"""


def test_what_is_lost_is_said_once(tmp_path: Path) -> None:
    shop = FlowProject(tmp_path, config="prefect: {project_id: shop}\n")
    shop.write("flow.py", FLOW)
    done = shop.run("flow.py").ok()
    assert done.executions == dict.fromkeys(("becomes", "drops", "keeps", "silent"), 2), done.output
    said = [line for line in done.output.splitlines() if "is not the same when it is loaded from the cache" in line]
    assert len(said) == 3, done.output
    assert "becomes: " in said[0]
    assert "flow.Forgetful becomes flow.Remembering ([1]['a'])." in said[0].replace("__main__", "flow")
    assert "drops: " in said[1]
    assert "Counted loses its attribute 'note'." in said[1]
    assert "silent: " in said[2]
    assert "Silent loses its attribute 'callback'." in said[2]
    again = shop.run("flow.py").ok()
    assert not again.executions, again.output
    assert "is not the same when it is loaded" not in again.output
