"""Results that would be another code's, or another moment's: none of them is given to anybody."""

from __future__ import annotations

from tests.support.processes import FlowProject

EDITED_WHILE_IT_RUNS = """
import sys
from pathlib import Path

from executions import ran
from expops_prefect import flow, task


@task
def compute(x):
    ran("compute")
    from lazy import f
    return f(x)


@flow
def main():
    return compute(1)


if len(sys.argv) > 1:
    import lazy  # by something else, before it is edited

    file = Path(lazy.__file__)
    file.write_text(file.read_text().replace("x + 1", "x + 100"))
print("result", main())
"""


def test_code_that_was_edited_after_its_import(shop: FlowProject) -> None:
    """What a process computes with the old code is no result of the new one."""
    shop.write("lazy.py", "def f(x):\n    return x + 1\n")
    shop.write("main.py", EDITED_WHILE_IT_RUNS)
    old = shop.run("main.py", "edit").ok()
    assert "result 2" in old.output
    new = shop.run("main.py").ok()
    assert "result 101" in new.output
    assert new.executions == {"compute": 1}
    assert shop.run("main.py").ok().total == 0


BY_NAME = """
import importlib
import sys

from executions import ran
from expops_prefect import flow, task


def load(path):
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


@task
def given(path):
    ran("given")
    return load(path)(1)


@task
def anywhere(letters):
    ran("anywhere")
    return load("".join(letters))(1)


@flow
def main():
    print("result", given("plugin.f"), anywhere(list("plugin.f")))


main()
"""


def test_modules_that_are_imported_by_name(shop: FlowProject) -> None:
    """A name among the arguments is followed; where none can be told, the task is executed, and it is said why."""
    shop.write("plugin.py", "def f(x):\n    return x + 1\n")
    shop.write("main.py", BY_NAME)
    assert "result 2 2" in shop.run("main.py").ok().output
    again = shop.run("main.py").ok()
    assert again.executions == {"anywhere": 1}
    assert again.output.count("anywhere runs uncached: ") == 1
    assert "imports a module by a name that is neither in the code nor in the arguments" in again.output
    shop.write("plugin.py", "def f(x):\n    return x + 2\n")
    edited = shop.run("main.py").ok()
    assert "result 3 3" in edited.output
    assert edited.executions == {"given": 1, "anywhere": 1}


CHANGED_IN_A_TRANSACTION = """
from executions import ran
from expops_prefect import flow, task
from prefect.transactions import transaction


@task
def make():
    ran("make")
    return [1, 2]


@task
def left_alone():
    ran("left_alone")
    return [1, 2]


@flow
def main():
    with transaction():
        numbers, others = make(), left_alone()
        before = list(numbers)
        numbers.append(99)
    print("result", before, others)


main()
"""


def test_a_result_that_is_changed_before_its_transaction_ends(shop: FlowProject) -> None:
    shop.write("main.py", CHANGED_IN_A_TRANSACTION)
    for executed in ({"make": 1, "left_alone": 1}, {"make": 1}, {"make": 1}):
        done = shop.run("main.py").ok()
        assert "result [1, 2] [1, 2]" in done.output
        assert done.executions == executed
    assert "its result was changed in place" in done.output
    assert shop.last_run().degraded.keys() == {"results not cached"}


ONE_TEXT_IN_TWO_PLACES = """
from pathlib import Path

from executions import ran
from expops_prefect import task


@task
def which():
    ran("which")
    return (Path(__file__).parent / "data.txt").read_text()
"""


def test_tasks_that_ask_where_they_are(shop: FlowProject) -> None:
    for place in ("one", "two"):
        shop.write(f"{place}/__init__.py", "")
        shop.write(f"{place}/data.txt", place)
        shop.write(f"{place}/tasks.py", ONE_TEXT_IN_TWO_PLACES)
    shop.write(
        "main.py",
        """
        from expops_prefect import flow
        from one.tasks import which as one
        from two.tasks import which as two

        flow(name="main")(lambda: print("result", one(), two()))()
        """,
    )
    first = shop.run("main.py").ok()
    assert "result one two" in first.output
    assert first.executions == {"which": 2}
    assert shop.run("main.py").ok().total == 0


VALIDATED = """
from executions import ran
from expops_prefect import flow


@flow(cached=True)
def sub(x: float):
    ran("sub")
    return repr(x)


@flow
def main():
    print("result", sub(2))


main()
"""


def test_annotations_by_which_a_flow_converts_its_arguments(shop: FlowProject) -> None:
    shop.write("main.py", VALIDATED)
    assert "result 2.0" in shop.run("main.py").ok().output
    assert shop.run("main.py").ok().total == 0
    shop.write("main.py", VALIDATED.replace("x: float", "x: int"))
    edited = shop.run("main.py").ok()
    assert "result 2\n" in edited.output
    assert edited.executions == {"sub": 1}
