"""What making objects and classes leaves behind is there in the next process too, as with plain Prefect."""

from __future__ import annotations

import json

from tests.support.processes import FlowProject

FLOW = """
import dataclasses, itertools, json

import pydantic
from {module} import flow, task

told = {{}}


class Registry:
    one = None

    def __new__(cls):
        if cls.one is None:
            cls.one = super().__new__(cls)
            cls.one.items = []
        return cls.one


class Shared:
    state = {{}}

    def __init__(self):
        self.__dict__ = self.state


class Job:
    total = 0

    def __init__(self):
        type(self).total += 1


class Plugin:
    names = []

    def __init_subclass__(cls, **options):
        Plugin.names.append(cls.__name__)


@dataclasses.dataclass
class Order:
    number: int = dataclasses.field(default_factory=itertools.count(1).__next__)


class Checked(pydantic.BaseModel):
    n: int

    @pydantic.field_validator("n")
    @classmethod
    def remembered(cls, n):
        told.setdefault("checked", []).append(n)
        return n


class Encoder(json.JSONEncoder):
    def default(self, value):
        told["encoded"] = value.real
        return value.real


class Root:
    def __init__(self):
        self.ready()


class Child(Root):
    def ready(self):
        told["ready"] = True


class Gauge:
    def __init__(self):
        self.kept = 0

    @property
    def level(self):
        return self.kept

    @level.setter
    def level(self, level):
        told.setdefault("levels", []).append(level)
        self.kept = level


def made(cls):
    return cls()


@task
def registered(x):
    Registry().items.append(x)
    return x


@task
def shared(x):
    Shared().x = x
    return x


@task
def counted(x):
    Job()
    return x


@task
def plugged(x):
    class Csv(Plugin):
        pass

    return x


@task
def numbered():
    return Order().number


@task
def checked(x):
    return Checked(n=x).n


@task
def encoded(x):
    return json.dumps(x, cls=Encoder)


@task
def child(x):
    made(Child)
    return x


@task
def leveled(x):
    gauge = Gauge()
    gauge.level = x
    return gauge.level


@task
def plain(x):
    print("EXECUTED plain")
    return Plain(n=x).twice()


class Plain(pydantic.BaseModel):
    n: int
    rows: list[int] = pydantic.Field(default_factory=list)

    def twice(self):
        self.rows.extend([self.n, self.n])
        return self.rows


@flow
def main():
    registered(1), registered(2), shared(3), counted(1), counted(1), plugged(1), checked(4), encoded(2j), child(5)
    leveled(6)
    told["plain"] = plain(7)
    told["classes"] = Registry().items, Shared.state, Job.total, Plugin.names, numbered(), Order().number


if __name__ == "__main__":
    main()
    print("TOLD", json.dumps(told))
"""


def test_each_process_sees_what_its_classes_were_made_to_keep(shop: FlowProject) -> None:
    shop.configure("prefect: {project_id: shop}\n")
    shop.write("plain.py", FLOW.format(module="prefect"))
    shop.write("ours.py", FLOW.format(module="expops_prefect"))
    runs: dict[str, list[dict[str, object]]] = {"plain.py": [], "ours.py": []}
    executed = []
    for _ in range(3):
        for script, told in runs.items():
            output = shop.run(script).ok().output
            told.append(json.loads(output.split("TOLD ", 1)[1].splitlines()[0]))
            executed.append((script, output.count("EXECUTED plain")))
    assert runs["ours.py"] == runs["plain.py"]
    assert runs["ours.py"][2]["classes"] == [[1, 2], {"x": 3}, 2, ["Csv"], 1, 2]
    assert executed == [("plain.py", 1), ("ours.py", 1), *[("plain.py", 1), ("ours.py", 0)] * 2]
