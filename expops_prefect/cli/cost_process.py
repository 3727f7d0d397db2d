"""The process in which ``doctor --count`` runs a small flow and counts its store operations; prints JSON.

Its environment names a project id and a Prefect server of its own.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from expops_prefect.cache.policy import EXPOPS
from expops_prefect.decorators import flow, task
from expops_prefect.project import Project
from expops_prefect.stores.settings import Counting

FEW: Final = 1
MANY: Final = 11
"""Two sizes of the flow: the difference of their costs is the cost of the additional task runs."""

_KV: Final[Mapping[str, Callable[..., dict[str, int]]]] = {
    "get": lambda key: {"reads": 1},  # noqa: ARG005
    "get_versioned": lambda key: {"reads": 1},  # noqa: ARG005
    "get_many": lambda keys: {"reads": len(keys)},
    "put_many": lambda values: {"writes": len(values)},
    **dict.fromkeys(
        ("put", "create", "compare_and_set", "update", "increment", "append_metrics"),
        lambda *_, **__: {"writes": 1},
    ),
}
_OBJECTS: Final[Mapping[str, Callable[..., dict[str, int]]]] = {
    **dict.fromkeys(("put", "create"), lambda *_, **__: {"writes": 1}),
    **dict.fromkeys(("get", "fetch"), lambda *_, **__: {"reads": 1}),
}


class Counted:
    """Counts the operations of a store that does not count them itself.

    Attributes:
        calls: reads and writes so far.
    """

    def __init__(self, store: Any, weights: Mapping[str, Callable[..., dict[str, int]]]) -> None:
        self._store = store
        self._weights = weights
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        weight = self._weights.get(name)
        if weight is None:
            return method

        def counted(*arguments: Any, **named: Any) -> Any:
            self.calls.update(weight(*arguments, **named))
            return method(*arguments, **named)

        return counted


@task(ignore=["executed"], cache_policy=EXPOPS)
def work(number: int, size: int, executed: list[int]) -> Any:
    """Return a result of one payload."""
    executed.append(number)
    return np.full(size, float(number))


def main() -> None:
    """Run the flow in both sizes, twice each: first executed, then from the cache."""
    project = Project.open()
    stores: dict[str, Any] = {"documents": project.kv, "objects": project.objects}
    if not isinstance(project.kv, Counting):
        stores["documents"] = project.kv = Counted(project.kv, _KV)
    if not isinstance(project.objects, Counting):
        stores["objects"] = project.objects = Counted(project.objects, _OBJECTS)
    executed: list[int] = []

    size_of_a_payload = project.settings.cache.spill_bytes // 8 + 1
    tasks = [work.with_options(name=f"work{number}") for number in range(FEW + MANY + 1)]

    @flow(name="expops-prefect doctor --count", project=project)
    def several(first: int, count: int) -> None:
        for number in range(first, first + count):
            _: Any = tasks[number](number, size_of_a_payload, executed)

    # Reads that happen once in a process would otherwise count as the run's.
    several(FEW + MANY, 1)
    report: dict[str, Any] = {"few": FEW, "many": MANY}
    for kind in ("executed", "cached"):
        executed.clear()
        for size, first, count in (("few", 0, FEW), ("many", FEW, MANY)):
            for store in stores.values():
                store.calls.clear()
            several(first, count)
            report[f"{kind} {size}"] = {name: dict(store.calls) for name, store in stores.items()}
        report[f"{kind} bodies"] = len(executed)
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
