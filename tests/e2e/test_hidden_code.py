"""Code that has no source, or stands in installed packages: tasks are executed again when it has changed."""

from __future__ import annotations

import ctypes.util
import importlib.util
import os
import py_compile
import shutil
from pathlib import Path

from tests.support.processes import FlowProject

FLOW = """
import ctypes
import inspect
import sys
from importlib import import_module, metadata
from pathlib import Path
from unittest import mock

from executions import ran
from expops_prefect import EXPOPS, flow, task

import models, uses
import shop.loaded
from shop import _bisect, described, sourceless

LIBRARY = ctypes.CDLL(str(Path(__file__).parent / "liboriginal.so"))
client = mock.Mock(return_value=GIVEN)
client.get.return_value = 1


@task
def extension(x):
    ran("extension")
    return _bisect.bisect_right([1, 2], x)


@task
def lazy(x):
    ran("lazy")
    from shop import _heapq
    return len(_heapq.__name__) + x


@task(cache_policy=EXPOPS)
def library(x):
    ran("library")
    return LIBRARY.abs(x)


@task
def pyc(x):
    ran("pyc")
    return sourceless.f(x)


@task
def required(x):
    ran("required")
    return uses.f(x)


@task
def argument(model):
    ran("argument")
    return model.predict()


@task
def plugin(x):
    ran("plugin")
    return [point.load()(x) for point in metadata.entry_points(group="shop.plugins")]


@task
def dashed(x):
    ran("dashed")
    return [point.load()(x) for point in metadata.entry_points(group="shop-plugins.more")]


@task
def by_file(x):
    ran("by_file")
    return import_module("a-part").f(x)


@task
def by_module(x):
    ran("by_module")
    return sys.modules["shop.loaded"].f(x)


@task
def by_source(x):
    ran("by_source")
    return inspect.getsource(described.f)


@task
def mocked(x):
    ran("mocked")
    return client(x) + client.get(x)


@task
def unaffected(x):
    ran("unaffected")
    return metadata.version("uses") and x


@flow
def main():
    extension(1), lazy(1), library(1), pyc(1), required(1), argument(models.Model()), plugin(1), mocked(1)
    dashed(1), by_file(1), by_module(1), by_source(1), unaffected(1)


main()
"""
EACH = dict.fromkeys(
    (
        *("extension", "lazy", "library", "pyc", "required", "argument", "plugin", "dashed", "by_file", "mocked"),
        *("by_module", "by_source", "unaffected"),
    ),
    1,
)


def test_what_has_no_source_here_counts(tmp_path: Path) -> None:
    site = tmp_path / "lib" / "site-packages"
    shop = FlowProject(tmp_path, environ={"PYTHONPATH": ""})
    shop.environ["PYTHONPATH"] = os.pathsep.join([str(tmp_path / "support"), str(shop.root), str(site)])
    shop.write("flow.py", FLOW.replace("GIVEN", "1"))
    shop.write("shop/__init__.py", "")
    copies = [_copy_module("_bisect", shop.root / "shop"), _copy_module("_heapq", shop.root / "shop")]
    copies.append(Path(shutil.copy(_libc(), shop.root / "liboriginal.so")))
    _compile_alone(shop, "def f(x):\n    return x + 1\n")
    _install(site, "uses", "1.0", "def f(x):\n    return x\n", "Requires-Dist: below>=1\n")
    _install(site, "below", "1.0", "")
    _install(site, "models", "1.0", "class Model:\n    def predict(self):\n        return 1\n")
    _install(site, "addon", "1.0", "def f(x):\n    return x\n", entry="[shop.plugins]\naddon = addon:f\n")
    _install(site, "dash", "1.0", "def f(x):\n    return x\n", entry="[shop-plugins.more]\nmore = dash:f\n")
    for file in ("a-part.py", "shop/loaded.py"):
        shop.write(file, "def f(x):\n    return x\n")
    shop.write("shop/described.py", "def f(x):\n    # one\n    return x\n")
    assert shop.run("flow.py").ok().executions == EACH
    again = shop.run("flow.py").ok()
    assert not again.executions, again.output
    for copy in copies:  # a byte after the end of such a file changes nothing of what it does
        copy.write_bytes(copy.read_bytes() + b"x")
    _compile_alone(shop, "def f(x):\n    return x + 2\n")
    for name in ("below", "models", "addon", "dash"):
        (site / f"{name}-1.0.dist-info").rename(site / f"{name}-1.1.dist-info")
    for file in ("a-part.py", "shop/loaded.py"):
        shop.write(file, "def f(x):\n    return x + 1\n")
    shop.write("shop/described.py", "def f(x):\n    # two\n    return x\n")
    shop.write("flow.py", FLOW.replace("GIVEN", "2"))
    changed = shop.run("flow.py").ok()
    # Whoever asks for a version does not ask for plugins.
    assert changed.executions == {name: 1 for name in EACH if name != "unaffected"}, changed.output


def _copy_module(name: str, folder: Path) -> Path:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(shutil.copy(spec.origin, folder))


def _libc() -> str:
    name = ctypes.util.find_library("m")
    with Path("/proc/self/maps").open() as maps:
        found = next((line.split()[-1] for line in maps if line.rstrip().endswith(("libc.so.6", f"/{name}"))), None)
    assert found is not None, "no library of C is loaded in this process"
    return found


def _compile_alone(shop: FlowProject, text: str) -> None:
    source = shop.write("shop/sourceless.py", text)
    py_compile.compile(str(source), cfile=str(source.with_suffix(".pyc")), doraise=True)
    source.unlink()


def _install(site: Path, name: str, version: str, text: str, more: str = "", entry: str = "") -> None:
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (site / f"{name}.py").write_text(text)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{more}\nAbout it.\n")
    (info / "RECORD").write_text(f"{name}.py,,\n")
    if entry:
        (info / "entry_points.txt").write_text(entry)
