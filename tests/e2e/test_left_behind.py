"""What a task leaves behind beside its result is there in the next process too: such tasks are executed."""

from __future__ import annotations

import json

from tests.support.processes import FlowProject

FLOW = """
import collections, decimal, functools, json, linecache, logging, operator, random, sqlite3, struct, sys, time, warnings
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pandas as pd
from lxml import etree
from sklearn.preprocessing import StandardScaler
from {module} import flow, task

matplotlib.use("Agg")
from matplotlib import pyplot as plt

told = {{}}


@functools.lru_cache
def settings():
    return json.loads(Path("settings.json").read_text())


class Lazy:
    @functools.cached_property
    def data(self):
        return json.loads(Path("settings.json").read_text())


LAZY = Lazy()


@functools.cache
def base():
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    connection.execute("create table rows (x)")
    return connection


class Keeps:
    def __init__(self, held):
        self.held = held

    def go(self):
        self.held.append(4)

    @task
    def all(self):
        return self.held


@task
def first_setting():
    return settings()["v"]


@task
def second_setting():
    return settings()["v"] * 10


@task
def lazily():
    return LAZY.data["v"]


@task
def lazily_again(lazy):
    return lazy.data["v"] * 10


@task
def line(path):
    return linecache.getline(path, 1)


@task
def insert(x):
    base().execute("insert into rows values (?)", (x,))
    return x


@task
def seed(number):
    random.seed(number)
    np.random.seed(number)
    return number


@task
def seeded(number):
    np.random.seed(number)
    return np.random.rand(2).tolist()


@task
def add_path():
    sys.path.insert(0, "extra")
    return True


@task
def precise():
    decimal.getcontext().prec = 4
    return 4


@task
def draw():
    plt.figure()
    plt.plot([1, 5, 2])
    return "drawn"


@task
def lines():
    count = len(plt.gca().lines)
    plt.close("all")
    return count


@task
def divided(number):
    return str(decimal.Decimal(1) / number)


@task
def printed(array):
    return str(array)


@task
def drawing(values):
    figure, axes = plt.subplots()
    axes.plot(values)
    return figure


@task
def current():
    return len(plt.gcf().axes), plt.get_fignums()


@task
def set_up(level):
    log = logging.getLogger("app")
    log.setLevel(level)
    log.addHandler(logging.NullHandler())
    logging.basicConfig(level=level, force=True)
    return log.name


@task
def is_loud():
    return logging.getLogger("app").isEnabledFor(logging.INFO)


@task
def saved_tree(path):
    etree.ElementTree(etree.fromstring("<a/>")).write(path)
    return path


@task
def quiet():
    warnings.filterwarnings("ignore", message="nobody says this")
    return True


@task
def child(root):
    ElementTree.SubElement(root, "item").text = "a"
    return len(root)


@task
def renamed(root):
    root.find("item").text = "b"
    return 1


@task
def shuffled(items):
    random.Random(0).shuffle(items)
    return 1


@task
def mixed(array):
    np.random.default_rng(0).shuffle(array)
    return 1


@task
def dropped(frame):
    options = {{"inplace": True}}
    frame.dropna(**options)
    return 1


@task
def scaled(array):
    return StandardScaler(copy=False).fit_transform(array).shape


@task
def mapped(items):
    return len(list(map(items.append, [7, 8])))


@task
def called(items):
    operator.methodcaller("append", 5)(items)
    return 1


@task
def partly(items):
    functools.partial(items.append, 6)()
    return 1


@task
def kept(items):
    Keeps(items).go()
    return 1


@task
def packed(buffer):
    struct.pack_into("<I", buffer, 0, 77)
    return 1


@task
def missing(counts):
    return counts["new"]


@task
def validated(order):
    assert order["n"] > 0
    return order


@task
def listed(order):
    return [order, 1]


@task
def head(array):
    return array[:2]


@task
def started():
    return time.monotonic()


@task
def since(start):
    return time.monotonic() - start


@task
def reserved(seat):
    return seat


@reserved.on_commit
def committed(transaction):
    with open("hooks.txt", "a") as hooks:
        hooks.write("commit\\n")


@flow
def main():
    settings()
    told["settings"] = first_setting(), second_setting(), lazily(), lazily_again(LAZY)
    told["line"] = line("in.txt")
    insert(1)
    insert(2)
    told["rows"] = base().execute("select count(*) from rows").fetchone()[0]
    seed(42)
    told["drawn"] = random.random(), np.random.rand()
    told["seeded"] = seeded(7), np.random.rand()
    add_path()
    import extra_module

    told["path"] = extra_module.V
    precise()
    told["precise"] = str(decimal.Decimal(1) / 3)
    told["divided"] = [divided(7)]
    decimal.getcontext().prec = 9
    told["divided"].append(divided(7))
    array = np.array([1.23456])
    told["printed"] = [printed(array)]
    np.set_printoptions(precision=2)
    told["printed"].append(printed(array))
    np.set_printoptions(precision=8)
    figure = drawing([1, 2])
    told["drawing"] = plt.get_fignums(), plt.gcf() is figure, figure.number, current()
    plt.title("seen")
    told["drawing"] += figure.axes[0].get_title(), drawing([1, 2]).number, plt.get_fignums()
    plt.close("all")
    told["drawing"] += current()
    plt.close("all")
    told["loud"] = [is_loud()]
    told["set up"] = set_up(10), logging.getLogger("app").level, len(logging.getLogger("app").handlers)
    told["loud"] += is_loud(), logging.root.level
    saved_tree("tree.xml")
    told["tree"] = Path("tree.xml").exists()
    Path("tree.xml").unlink()
    quiet()
    told["quiet"] = any("nobody" in str(entry[1]) for entry in warnings.filters)
    draw()
    told["lines"] = lines()
    root, items, array = ElementTree.Element("items"), [3, 1, 2], np.array([[1.0], [5.0]])
    frame, numbers, buffer = pd.DataFrame({{"a": [1.0, None]}}), np.arange(9), bytearray(4)
    child(root), renamed(root), shuffled(items), mixed(numbers), dropped(frame), scaled(array), mapped(items)
    called(items), partly(items), kept(items), packed(buffer)
    told["xml"] = ElementTree.tostring(root).decode()
    told["changed"] = items, numbers.tolist(), len(frame), array.tolist(), buffer.hex()
    counts = collections.defaultdict(int)
    missing(counts)
    told["counts"] = dict(counts)
    order, view = {{"n": 1}}, np.arange(4)
    validated(order)["checked"] = listed(order)[0]["listed"] = True
    head(view)[0] = 9
    shelf = Keeps({{"n": 1}})
    shelf.all()["taken"] = True
    told["same"] = order, view.tolist(), shelf.held
    start = started()
    told["elapsed"] = 0 <= time.monotonic() - start < 100 and 0 <= since(start) < 100
    reserved(2)


if __name__ == "__main__":
    main()
    told["hooks"] = Path("hooks.txt").read_text().count("commit")
    print("TOLD", json.dumps(told))
"""


def test_each_process_sees_what_plain_prefect_leaves(shop: FlowProject) -> None:
    shop.configure("prefect: {project_id: shop}\n")
    shop.write("plain.py", FLOW.format(module="prefect"))
    shop.write("ours.py", FLOW.format(module="expops_prefect"))
    shop.write("extra/extra_module.py", "V = 5\n")
    runs: dict[str, list[dict[str, object]]] = {"plain.py": [], "ours.py": []}
    for number in (1, 1, 2):
        shop.write("settings.json", json.dumps({"v": number}))
        shop.write("in.txt", f"line {number}\n")
        for script, told in runs.items():
            (shop.root / "hooks.txt").unlink(missing_ok=True)
            output = shop.run(script).ok().output
            told.append(json.loads(output.split("TOLD ", 1)[1].splitlines()[0]))
    assert runs["ours.py"] == runs["plain.py"]
    assert runs["ours.py"][2]["settings"] == [2, 20, 2, 20]
