"""Tasks that are defined in the cells of a notebook, whose kernel is restarted."""

from __future__ import annotations

from tests.support.processes import FlowProject

# What a kernel does with cells; the names that ipykernel gives to their code hold its process id.
KERNEL = """
import hashlib
import os
import sys

from IPython.core.interactiveshell import InteractiveShell

CELLS = [
    "from executions import ran\\nfrom expops_prefect import flow, log_metric, task",
    "RATE = {rate}\\n\\ndef scaled(x):\\n    return x * RATE",
    "@task\\ndef load(n):\\n    ran('load')\\n    return list(range(n))",
    "@task\\ndef train(rows):\\n    ran('train')\\n    log_metric('loss', 0.5)\\n    return scaled(len(rows))",
    "@flow\\ndef main():\\n    return train(load(4))",
    "print('RESULT', main())",
]
rate, earlier, kernel = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "kernel"
shell = InteractiveShell.instance()
if kernel:

    def name(raw, code, number):
        return f"/tmp/ipykernel_{os.getpid()}/{hashlib.md5(code.encode()).hexdigest()}.py"

    shell.compile.get_code_name = name
for cell in [*["1 + 1"] * earlier, *CELLS]:
    shell.run_cell(cell.replace("{rate}", rate), store_history=True).raise_error()
if earlier:
    from expops_prefect import Project

    run = Project.open().runs()[0]
    shell.user_ns["run"], shell.user_ns["project"] = run, Project.open()
    html = shell.display_formatter.format(run)[0]["text/html"]
    assert "<svg" in html and "2 from the cache" in html, html
    assert list(shell.run_cell("project.metrics(run.run_id).frame()").result["value"]) == [0.5]
    assert len(shell.run_cell("project.runs().frame()").result) == 2
"""


def test_cells_are_cached_across_restarts_of_the_kernel(shop: FlowProject) -> None:
    shop.write("kernel.py", KERNEL)
    first = shop.run("kernel.py", "0.5", "0", "kernel").ok()
    assert "RESULT 2.0" in first.output
    assert first.executions == {"load": 1, "train": 1}
    # Another process, other cell numbers, another seed of hashes.
    again = shop.run("kernel.py", "0.5", "3", "kernel", hashseed=7).ok()
    assert "RESULT 2.0" in again.output
    assert again.total == 0
    changed = shop.run("kernel.py", "0.25", "0", "terminal").ok()
    assert "RESULT 1.0" in changed.output
    assert changed.executions == {"train": 1}, "a constant of another cell counts"
