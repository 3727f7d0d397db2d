"""A task that changes its arguments in place, cached as its author asked: one object twice is not two equal ones."""

from __future__ import annotations

from tests.support.processes import FlowProject

FLOW = """
import sys
import numpy as np
import pandas as pd
from executions import ran
from expops_prefect import EXPOPS, flow, task


@task(cache_policy=EXPOPS)
def change(one, other):
    ran(f"{type(one).__name__}-{one is other}")
    one[:] = 0
    return float(np.asarray(other).sum())


@flow
def main():
    found = []
    for make in (lambda: np.arange(4.0), lambda: pd.DataFrame({"a": [1.0, 2.0]}), lambda: bytearray(b"ab")):
        value = make()
        found.append((change(value, make()), change(value := make(), value)))
    return found


print(main())
"""


def test_arrays_frames_and_bytes(shop: FlowProject) -> None:
    shop.write("twice.py", FLOW.replace("one[:] = 0", "one[:] = bytes(len(one)) if isinstance(one, bytearray) else 0"))
    kinds = ("ndarray", "DataFrame", "bytearray")
    executed = {f"{kind}-{same}": 1 for kind in kinds for same in (True, False)}
    printed = "[(6.0, 0.0), (3.0, 0.0), (195.0, 0.0)]"
    for expected in (executed, {}):
        outcome = shop.run("twice.py").ok()
        assert outcome.executions == expected
        assert printed in outcome.output.splitlines()
