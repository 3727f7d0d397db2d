"""Folders of data as arguments, and what in them is no data."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.processes import FlowProject

FLOW = """
import sys
from pathlib import Path

from executions import ran
from expops_prefect import DataFile, flow, task


@task
def named(data):
    ran("named")
    return str(data)


@task
def listed(data):
    ran("listed")
    return sorted(path.name for path in Path(data).iterdir())


@task
def nested(data):
    ran("nested")
    return len(data["train"])


@task
def configured(x):
    ran("configured")
    return x


@flow
def main(folder):
    ran(f":{folder}")
    data = DataFile(folder)
    named(data)
    listed(data)
    nested({"train": [data]})
    configured(1)


if __name__ == "__main__":
    for folder in sys.argv[1:]:
        main(folder)
"""
NO_DATA = (".DS_Store", "Thumbs.db", ".notes.csv.swp", "notes.csv~", "deep/.ipynb_checkpoints/a.ipynb", ".git/HEAD")
CONFIG = "prefect: {{project_id: shop, record: {{artifacts: false}}, cache: {{{}}}}}\ndata: {{path: data}}\n"


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def test_a_data_folder_counts_by_what_is_in_it(shop: FlowProject) -> None:
    shop.configure(CONFIG.format(""))
    shop.write("main.py", FLOW)
    data = shop.root / "data"
    write(data, "a.csv", "1")
    write(data, "deep/b.csv", "2")
    (data / "link.csv").symlink_to("a.csv")
    (data / "nowhere").symlink_to("none")
    others = {name: shop.root / name for name in ("copy", "content", "renamed", "link")}
    for other in others.values():
        shutil.copytree(data, other, symlinks=True)
    write(others["content"], "deep/b.csv", "3")
    (others["renamed"] / "deep" / "b.csv").rename(others["renamed"] / "deep" / "c.csv")
    (others["link"] / "nowhere").unlink()
    (others["link"] / "nowhere").symlink_to("nothing")

    def ran(*folders: str) -> list[tuple[str, ...]]:
        shop.run("main.py", *folders).ok()
        return [tuple(part.split()) for part in " ".join(shop.executed()).split(":")[1:]]

    tasks = ("named", "listed", "nested")
    assert ran("data", *others, ".") == [
        ("data", *tasks, "configured"),
        ("copy",),
        ("content", *tasks),
        ("renamed", *tasks),
        ("link", *tasks),
        (".", *tasks),
    ]
    for name in NO_DATA:
        write(data, name, "x")
    assert ran("data", ".") == [("data",), (".",)], "files of editors, of the system, and the runtime folder"
    shop.configure(CONFIG.format("ignore_files: [Thumbs.db, '*~', .git]"))
    assert ran("data") == [("data", *tasks, "configured")], "the list is the configuration's"


MISSING = """
from executions import ran
from expops_prefect import DataFile, flow, task


@task
def make(data):
    ran("make")
    with open("made.csv", "w") as file:
        file.write("1")
    return 1


@task
def read(data):
    ran("read")
    return 1


@flow
def main():
    make(DataFile("made.csv"))
    for _ in range(2):
        read([DataFile("data/trian.csv")])
    read([DataFile("made.csv")])


if __name__ == "__main__":
    main()
    main()
"""


def test_a_missing_data_file_is_named(shop: FlowProject) -> None:
    shop.write("main.py", MISSING)
    outcome = shop.run("main.py").ok()
    assert outcome.executions == {"make": 2, "read": 5}, "what is there is a hit"
    missing = f"{shop.root / 'data' / 'trian.csv'} does not exist"
    (said,) = [line for line in outcome.output.splitlines() if "trian.csv" in line and "uncached" in line]
    assert said.endswith(
        f"read runs uncached: its parameter 'data' is hashed by content, and {missing}. "
        "Create it before the task is called, or correct the path."
    )
    reasons = [row.fields.get("miss_reason") for row in shop.rows().values()]
    assert f"the content of data[0] is part of the key, and {missing}" in reasons
