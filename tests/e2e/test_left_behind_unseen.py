"""What stands in no code of Python's, or depends on the process alone, is executed in each process."""

from __future__ import annotations

import json

from tests.support.processes import FlowProject

FLOW = """
import ctypes, json, os, sqlite3
from pathlib import Path

import pandas as pd
import sqlalchemy as sa
from {module} import flow, task

told = {{}}
PLACE = Path(__file__).stem + ".db"
LIBC = ctypes.CDLL(None)
c_rmdir = LIBC.rmdir


class Native:
    def __init__(self):
        self.library = ctypes.CDLL(None)

    def make(self, name):
        return self.library.mkdir(name.encode(), 0o777)


NATIVE = Native()


@task
def in_c(name):
    return ctypes.CDLL(None).mkdir(name.encode(), 0o777)


@task
def by_global(name):
    return LIBC.rmdir(name.encode())


@task
def by_object(name):
    return NATIVE.make(name)


@task
def by_argument(native, name):
    return native.make(name)


@task
def by_function(name):
    return c_rmdir(name.encode())


@task
def below(folder):
    number = os.open(folder, os.O_RDONLY)
    with open("data.txt", opener=lambda name, flags: os.open(name, flags, dir_fd=number)) as file:
        text = file.read()
    os.close(number)
    return text


@task
def size_below(folder):
    number = os.open(folder, os.O_RDONLY)
    size = os.stat("data.txt", dir_fd=number).st_size
    os.close(number)
    return size


@task
def walked(folder):
    return sorted(name for _, _, names, _ in os.fwalk(folder) for name in names)


@task
def made_below(folder):
    number = os.open(folder, os.O_RDONLY)
    os.close(os.open("made.txt", os.O_CREAT | os.O_WRONLY, dir_fd=number))
    os.close(number)
    return 1


ENGINE = sa.create_engine("sqlite:///" + PLACE)
with ENGINE.begin() as connection:  # the pool has an open connection from now on
    connection.execute(sa.text("create table if not exists sales (a integer)"))


@task
def stored(rows):
    frame = pd.DataFrame(rows).rename(columns=str.lower)
    frame.to_sql("sales", ENGINE, if_exists="append", index=False)
    return len(frame)


class Store:
    def __init__(self, engine):
        self.engine = engine

    def bulk(self, rows):
        pd.DataFrame(rows).to_sql("sales", self.engine, if_exists="append", index=False)


STORE = Store(ENGINE)


@task
def stored_by(rows):
    STORE.bulk(rows)
    return len(rows)


@task
def attached(place):
    memory = sqlite3.connect(":memory:")
    memory.execute("attach ? as there", (place,))
    memory.execute("insert into there.sales values (100)")
    memory.commit()
    return 1


made = {{"task": task, "LINES": told.setdefault("lines", [])}}
exec("@task\\ndef of_text(x):\\n    LINES.append(x)\\n    return 1\\n", made)


@flow
def main():
    stored([{{"A": 1}}])
    stored_by([{{"a": 10}}])
    attached(PLACE)
    made["of_text"](1)
    with ENGINE.connect() as connection:
        told["sales"] = connection.execute(sa.text("select sum(a) from sales")).scalar()
    in_c("one")
    told["one"] = Path("one").is_dir()
    by_global("one")
    by_object("two")
    told["two"] = Path("one").is_dir(), Path("two").is_dir()
    by_function("two")
    by_argument(NATIVE, "three")
    told["three"] = Path("two").is_dir(), Path("three").is_dir()
    by_function("three")
    told["below"] = below("folder"), size_below("folder"), walked("folder")
    made_below("folder")
    told["made"] = Path("folder/made.txt").exists()
    Path("folder/made.txt").unlink()


if __name__ == "__main__":
    main()
    print("TOLD", json.dumps(told))
"""


def test_each_process_sees_what_plain_prefect_leaves(shop: FlowProject) -> None:
    shop.configure("prefect: {project_id: shop}\n")
    shop.write("plain.py", FLOW.format(module="prefect"))
    shop.write("ours.py", FLOW.format(module="expops_prefect"))
    runs: dict[str, list[dict[str, object]]] = {"plain.py": [], "ours.py": []}
    for number in (1, 1, 22):
        shop.write("folder/data.txt", str(number))
        shop.write(f"folder/more{number}.txt", "")
        for script, told in runs.items():
            output = shop.run(script).ok().output
            told.append(json.loads(output.split("TOLD ", 1)[1].splitlines()[0]))
    assert runs["ours.py"] == runs["plain.py"]
