"""Libraries that cffi has loaded or built: tasks that use them are executed again when their bytes have changed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import FlowProject

pytestmark = [pytest.mark.values, pytest.mark.timeout(600)]

FLOW = """
from pathlib import Path

import cffi

import _declared
from _built import ffi as built_ffi, lib
from executions import ran
from expops_prefect import EXPOPS, flow, task

FILE = str(Path(__file__).parent / "libtwice.so")
ffi = cffi.FFI()
ffi.cdef("int twice(int x);")
OPENED = ffi.dlopen(FILE)
OF_A_MODULE = _declared.ffi.dlopen(FILE)
twice = OPENED.twice
NUMBERS = ffi.new("int[2]", [1, 2])


@task(cache_policy=EXPOPS)
def opened(x):
    ran("opened")
    return OPENED.twice(x)


@task(cache_policy=EXPOPS)
def of_a_module(x):
    ran("of_a_module")
    return OF_A_MODULE.twice(x)


@task(cache_policy=EXPOPS)
def function(x):
    ran("function")
    return twice(x)


@task
def built(x):
    ran("built")
    return lib.half(x)


@task
def declared(x):
    ran("declared")
    return built_ffi.sizeof("struct pair") + x


@task
def numbers(x):
    ran("numbers")
    return NUMBERS[0] + x


@flow
def main():
    print("OUT", [opened(1), of_a_module(1), function(1), built(4), declared(0), numbers(0)])


main()
"""
BUILD = """
import cffi

opened = cffi.FFI()
opened.cdef("int twice(int x);")
opened.set_source("_declared", None)
opened.compile()
built = cffi.FFI()
built.cdef("int half(int x); struct pair { int one, two; };")
built.set_source("_built", "struct pair { int one, two; }; static int half(int x) { return x / 2; }")
built.compile()
"""
EACH = dict.fromkeys(("opened", "of_a_module", "function", "built", "declared", "numbers"), 1)


def build(shop: FlowProject, twice: str, cffi: str) -> None:
    shop.write("../c/twice.c", f"int twice(int x) {{ return {twice}; }}")
    shop.write("../c/build.py", cffi)
    target = shop.root / "libtwice.so"
    # What a running process has mapped is not written over.
    target.unlink(missing_ok=True)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", target, shop.folder / "c" / "twice.c"], check=True)
    subprocess.run([sys.executable, shop.folder / "c" / "build.py"], cwd=shop.root, check=True, capture_output=True)


@pytest.mark.usefixtures("flow_processes")
def test_libraries_count_by_their_bytes(tmp_path: Path) -> None:
    shop = FlowProject(tmp_path, config="prefect: {project_id: shop}\n")
    shop.write("flow.py", FLOW)
    build(shop, "2 * x", BUILD)
    first = shop.run("flow.py").ok()
    assert first.executions == EACH, first.output
    assert "OUT [2, 2, 2, 2, 8, 1]" in first.output
    again = shop.run("flow.py", hashseed=1).ok()
    assert not again.executions, again.output
    build(shop, "3 * x", BUILD)
    opened = shop.run("flow.py", hashseed=2).ok()
    assert {name: n for name, n in opened.executions.items() if name not in ("built", "declared")} == dict.fromkeys(
        ("opened", "of_a_module", "function"), 1
    ), opened.output
    shop.edit("flow.py", "[1, 2])", "[3, 2])")
    build(shop, "3 * x", BUILD.replace("x / 2", "x / 4").replace("one, two;", "one, two, three;"))
    rest = shop.run("flow.py", hashseed=3).ok()
    assert rest.executions.keys() == {"built", "declared", "numbers"}, rest.output
    assert "OUT [3, 3, 3, 1, 12, 3]" in rest.output
    shop.write("flow.py", FLOW.replace("(cache_policy=EXPOPS)", ""))
    assert shop.run("flow.py").ok().executions["opened"] == 1
    unasked = shop.run("flow.py").ok()
    # What a library does that was loaded by its file stands in no code; a built module is as any other package.
    assert unasked.executions == {"opened": 1, "of_a_module": 1, "function": 1}, unasked.output
