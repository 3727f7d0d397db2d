"""What a body does is seen while it runs, less what is harmless."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import posix
import random
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expops_prefect.effects.chain import apart, innermost
from expops_prefect.effects.origin import Place, place_of
from expops_prefect.effects.watch import watching
from expops_prefect.models.effects import CodeEffects, Seen
from expops_prefect.tracking import wrapping

Body = Callable[[], Any]
OLDER = ThreadPoolExecutor(1)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_text("a,b\n1,2\n")
    Path("data").mkdir()
    Path("data/one").write_text("1")
    OLDER.submit(int).result()
    return tmp_path


def watched(body: Body, known: CodeEffects | None = None, **more: Any) -> Seen:
    with watching(known, **more) as watch, suppress(OSError, ZeroDivisionError):
        body()
    return watch.seen()


def reads(seen: Seen) -> set[tuple[str, bool, bool]]:
    """Name, whether it was listed, whether it was there."""
    return {
        (os.path.relpath(read.path), read.listing, read.stamp is not None) for read in seen.reads if not read.current
    }


def calls(seen: Seen) -> set[tuple[str, str]]:
    return {(effect.kind, effect.call) for effect in seen.effects}


# Reads -------------------------------------------------------------------------------------------


def read() -> None:
    Path("in.csv").read_text()


def read_by_number() -> None:
    with open(os.open("in.csv", os.O_RDONLY)) as file:
        file.read()


def in_folder(use: Callable[[int], Any]) -> Body:
    """Do something with the number of the open folder above this one."""

    def body() -> None:
        number = os.open("..", os.O_RDONLY)
        try:
            use(number)
        finally:
            os.close(number)

    return body


def beside(name: str) -> str:
    return f"{Path.cwd().name}/{name}"


def opened_by_folder(number: int) -> None:
    os.close(os.open(beside("in.csv"), os.O_RDONLY, dir_fd=number))


def read_and_fail() -> None:
    read()
    1 / 0  # noqa: B018


def in_a_thread() -> None:
    thread = threading.Thread(target=read)
    thread.start()
    thread.join()


def in_a_thread_of_a_thread() -> None:
    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()


def in_a_pool() -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: read(), range(2)))


def in_an_older_pool() -> None:
    OLDER.submit(read).result()


def in_coroutines() -> None:
    async def one() -> None:
        read()

    async def both() -> None:
        await asyncio.gather(one(), asyncio.create_task(one()))

    asyncio.run(both())


def in_threads_of_a_loop() -> None:
    async def both() -> None:
        await asyncio.to_thread(read)
        await asyncio.get_running_loop().run_in_executor(OLDER, read)

    asyncio.run(both())


def with_pandas() -> None:
    import pandas as pd

    pd.read_csv("in.csv").groupby("a").sum()


def with_numpy() -> None:
    with suppress(ValueError):
        np.loadtxt("in.csv")


def in_joblib_threads() -> None:
    import joblib

    joblib.Parallel(2, backend="threading")(joblib.delayed(read)() for _ in range(2))


def by_urllib() -> None:
    urllib.request.urlopen(Path("in.csv").absolute().as_uri()).read()


READERS = [
    *(
        read,
        read_by_number,
        in_folder(opened_by_folder),
        read_and_fail,
        in_a_thread,
        in_a_thread_of_a_thread,
        in_a_pool,
        in_an_older_pool,
    ),
    *(in_coroutines, in_threads_of_a_loop, with_pandas, with_numpy, in_joblib_threads, by_urllib),
]


@pytest.mark.parametrize("body", READERS)
def test_a_file_is_a_read(body: Body) -> None:
    status = Path("in.csv").stat()
    seen = watched(body)
    assert calls(seen) == set()
    assert reads(seen) == {("in.csv", False, True)}
    assert next(read for read in seen.reads if not read.current).stamp == (
        status.st_size,
        status.st_mtime_ns,
        status.st_ino,
    )


def test_a_file_that_is_not_there_is_a_read_too() -> None:
    assert reads(watched(lambda: open("none"))) == {("none", False, False)}
    assert reads(watched(lambda: open("in.csv/none"))) == {("in.csv/none", False, False)}


@pytest.mark.parametrize(
    "body",
    [
        lambda: os.listdir("data"),
        lambda: list(os.scandir("data")),
        lambda: list(Path("data").glob("*")),
        lambda: list(Path("data").iterdir()),
        lambda: list(os.walk("data")),
    ],
)
def test_a_listing_is_a_read_of_the_folder(body: Body) -> None:
    seen = watched(body)
    assert ("data", True, True) in reads(seen)
    assert not seen.effects


def test_many_files_are_an_effect() -> None:
    def body() -> None:
        for number in range(5_002):
            with suppress(OSError):
                open(f"none-{number}")

    seen = watched(body)
    assert len(seen.reads) == 5_000
    assert calls(seen) == {("file read", "more than 5000 files")}


# Effects -----------------------------------------------------------------------------------------


def write() -> None:
    Path("out").write_text("x")


def write_by_number() -> None:
    os.close(os.open("out", os.O_WRONLY | os.O_CREAT))


def write_and_read() -> None:
    write()
    Path("out").read_text()


def leave_a_thread() -> None:
    threading.Thread(target=threading.Event().wait, daemon=True).start()


def leave_work() -> None:
    event = threading.Event()
    OLDER.submit(event.wait)
    OLDER.submit(int).add_done_callback(lambda _: None)
    LEFT.append(event)


LEFT: list[threading.Event] = []


def fork() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def connect() -> None:
    socket.create_connection(("127.0.0.1", 1))


def connect_locally() -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("none")


def in_a_coroutine() -> None:
    async def body() -> None:
        await asyncio.open_connection("127.0.0.1", 1)

    asyncio.run(body())


def move() -> None:
    Path("in.csv").rename("out.csv")


def set_a_variable() -> None:
    os.environ["EXPOPS_TEST_VARIABLE"] = "1"
    del os.environ["EXPOPS_TEST_VARIABLE"]


def change_folder() -> None:
    here = os.getcwd()
    for folder in ("data", here):
        os.chdir(folder)


def run_joblib(function: Callable[..., Any], *arguments: Any) -> None:
    import joblib

    joblib.Parallel(1)([joblib.delayed(function)(*arguments)])


EFFECTS: list[tuple[Body, str, str]] = [
    (write, "file write", 'open("out", "w")'),
    (write_and_read, "file write", 'open("out", "w")'),
    (write_by_number, "file write", 'os.open("out")'),
    (lambda: open("in.csv", "a").close(), "file write", 'open("in.csv", "a")'),
    (lambda: Path("in.csv").unlink(), "file write", 'os.remove("in.csv")'),
    (lambda: os.makedirs("a/b"), "file write", 'os.mkdir("a")'),
    (lambda: os.rmdir("data"), "file write", 'os.rmdir("data")'),
    (move, "file write", 'os.rename("in.csv")'),
    (lambda: os.symlink("in.csv", "link"), "file write", 'os.symlink("link")'),
    (lambda: os.link("in.csv", "link"), "file write", 'os.link("link")'),
    (lambda: os.truncate("in.csv", 0), "file write", 'os.truncate("in.csv")'),
    (lambda: os.chmod("in.csv", 0o600), "file write", 'os.chmod("in.csv")'),
    (lambda: os.utime("in.csv"), "file write", 'os.utime("in.csv")'),
    (lambda: shutil.rmtree("data"), "file write", 'shutil.rmtree("data")'),
    (lambda: shutil.copy("in.csv", "out"), "file write", 'shutil.copyfile("out")'),
    (tempfile.mkdtemp, "file write", "tempfile.mkdtemp"),
    (lambda: tempfile.NamedTemporaryFile(delete=False), "file write", "tempfile.mkstemp"),
    (lambda: subprocess.run(["true"]), "process", "subprocess.Popen"),
    (lambda: run_joblib(subprocess.run, ["true"]), "process", "subprocess.Popen"),
    (lambda: os.system("true"), "process", "os.system"),
    (lambda: os.kill(os.getpid(), 0), "process", "os.kill"),
    (fork, "process", "os.fork"),
    (leave_a_thread, "process", "threading.Thread.start"),
    (leave_work, "process", "ThreadPoolExecutor.submit"),
    (
        in_folder(lambda folder: os.close(os.open(beside("new"), os.O_CREAT | os.O_RDWR, dir_fd=folder))),
        *("file write", 'os.open("new")'),
    ),
    (in_folder(lambda folder: os.unlink(beside("in.csv"), dir_fd=folder)), "file write", 'os.remove("in.csv")'),
    (in_folder(lambda folder: os.mkdir(beside("new"), dir_fd=folder)), "file write", 'os.mkdir("new")'),
    (
        in_folder(lambda folder: os.rename("in.csv", beside("data/in"), dst_dir_fd=folder)),
        *("file write", 'os.rename("in.csv")'),
    ),
    (lambda: posix.open("in.csv", os.O_RDONLY), "file read", "open(…)"),
    (lambda: posix.open("new", os.O_CREAT | os.O_RDWR), "file write", "os.open"),
    (lambda: ctypes.CDLL("none.so"), "unknown", "ctypes.CDLL"),
    (lambda: ctypes.CDLL(None), "unknown", "ctypes.CDLL"),
    (lambda: ctypes.pythonapi["Py_IsInitialized"](), "unknown", "ctypes.CDLL"),
    (connect, "network", "socket.getaddrinfo"),
    (connect_locally, "network", "socket.connect"),
    (in_a_coroutine, "network", "socket.connect"),
    (lambda: run_joblib(connect), "network", "socket.getaddrinfo"),
    (lambda: urllib.request.urlopen("http://127.0.0.1:1/"), "network", "urllib.request.urlopen"),
    (socket.gethostname, "environment", "socket.gethostname"),
    (lambda: open("/proc/uptime").close(), "environment", 'open("/proc/uptime", "r")'),
    (lambda: open("/dev/urandom", "rb").close(), "random", 'open("/dev/urandom", "r")'),
    (lambda: sqlite3.connect("base.db").close(), "database", "sqlite3.connect"),
    (set_a_variable, "state", "os.putenv"),
    (change_folder, "state", "os.chdir"),
    (random.random, "random", "random (global generator)"),
    (lambda: np.random.rand(), "random", "numpy.random (global generator)"),
    (lambda: np.random.seed(1), "random", "numpy.random (global generator)"),
]


def test_folders_that_are_walked_by_number_are_listed() -> None:
    assert ("data", True, True) in reads(watched(lambda: list(os.fwalk("data"))))


@pytest.mark.parametrize(("body", "kind", "call"), EFFECTS, ids=[f"{kind}-{call}" for _, kind, call in EFFECTS])
def test_effects_are_seen(body: Body, kind: str, call: str) -> None:
    seen = watched(body)
    while LEFT:
        LEFT.pop().set()
    assert (kind, call) in calls(seen)
    assert not [read for read in seen.reads if read.stamp and Path(read.path).name == "out"], (
        "what it wrote is no input"
    )
    (found,) = [effect for effect in seen.effects if effect.call == call]
    if found.file:
        assert found.file == __file__
        assert found.line > 0


def test_each_normal_deviate_counts_though_the_generator_makes_two_at_a_time() -> None:
    np.random.seed(0)
    for _ in range(3):
        assert watched(lambda: np.random.normal()).effects
    assert not watched(int).effects


# Harmless ----------------------------------------------------------------------------------------


def temporary() -> None:
    with tempfile.TemporaryDirectory() as folder:
        inner = Path(folder, "a")
        inner.mkdir()
        (inner / "b").write_text("1")
        (inner / "b").rename(inner / "c")
        (inner / "c").read_text()
        os.listdir(folder)
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"1")
        Path(file.name).read_bytes()
    with tempfile.TemporaryFile() as file:
        file.write(b"1")


def log() -> None:
    handler = logging.FileHandler("x.log")
    logging.getLogger("here").addHandler(handler)
    logging.getLogger("here").warning("x")
    logging.getLogger("here").removeHandler(handler)
    handler.close()


class Sends(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        Path("sent").write_text("x")


def log_with_a_handler_of_its_own() -> None:
    logger = logging.Logger("there")
    logger.addHandler(Sends())
    logger.warning("x")


def plot() -> None:
    import io

    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots()
    axes.set_title("$x^2$")
    figure.savefig(io.BytesIO())
    plt.close(figure)


def zones() -> None:
    import datetime
    import zoneinfo

    datetime.datetime(2024, 1, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")).utcoffset()


def fit() -> None:
    from sklearn.ensemble import RandomForestClassifier

    RandomForestClassifier(4, n_jobs=2, random_state=0).fit(np.arange(40).reshape(20, 2), np.arange(20) % 2)


def validate() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score

    cross_val_score(LogisticRegression(), np.arange(40).reshape(20, 2), np.arange(20) % 2, n_jobs=2)


def processes() -> None:
    import multiprocessing

    with multiprocessing.get_context("fork").Pool(1) as pool:
        pool.map(abs, [1])


def frames() -> None:
    import polars as pl

    pl.DataFrame({"a": [1, 2]}).lazy().group_by("a").len().collect()


def dask() -> None:
    from dask import array

    array.ones((10, 10), chunks=5).sum().compute()


def imports() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] in ("wave", "xmlrpc", "tabnanny")]:
        del sys.modules[name]
    import tabnanny
    import wave
    import xmlrpc.client

    assert tabnanny
    assert wave
    assert xmlrpc


def of_packages() -> None:
    import importlib.metadata
    import traceback
    import warnings

    importlib.metadata.version("pandas")
    with warnings.catch_warnings(record=True):
        warnings.warn("x", stacklevel=1)
    traceback.format_stack()
    Path(np.__file__).read_text()
    Path(os.__file__).read_text()
    Path(os.devnull).write_text("x")


def in_memory() -> None:
    sqlite3.connect(":memory:").execute("create table t (a)")


def own_generators() -> None:
    random.Random(0).random()
    np.random.default_rng(0).random()
    np.random.RandomState(0).normal()


HONEST = [
    *(temporary, log, log_with_a_handler_of_its_own, plot, zones, fit, validate, processes, frames, dask, imports),
    *(of_packages, in_memory, own_generators),
]


@pytest.mark.filterwarnings("default:x")  # one of the bodies warns
@pytest.mark.parametrize("body", HONEST)
def test_honest_bodies_show_nothing(body: Body) -> None:
    assert watched(body) == Seen()


def test_a_folder_of_this_package_is_left_alone(tmp_path: Path) -> None:
    assert watched(write, scratch=[str(tmp_path)]) == Seen()


def test_a_seeded_generator_is_left_alone() -> None:
    assert watched(random.random, CodeEffects(seeds=frozenset({"random"}))) == Seen()
    assert watched(random.random, CodeEffects(seeds=frozenset({"numpy"}), resolved=False)).effects
    assert watched(random.random, CodeEffects(may_draw=True)).effects  # by a library that the code calls
    assert watched(random.random, CodeEffects()) == Seen()  # by a thread of Prefect's


# Bodies in bodies, and beside each other ---------------------------------------------------------


def test_a_body_in_a_body_counts_for_both() -> None:
    def body() -> None:
        assert reads(watched(read)) == {("in.csv", False, True)}
        os.listdir("data")

    assert reads(watched(body)) == {("in.csv", False, True), ("data", True, True)}


def test_what_is_apart_is_not_seen_but_a_body_below_it_is() -> None:
    def body() -> None:
        with apart():
            write()
            watched(read)

    seen = watched(body)
    assert not seen.effects
    assert reads(seen) == {("in.csv", False, True)}


def test_what_a_thread_does_after_the_body_does_not_count() -> None:
    go, ended = threading.Event(), threading.Event()

    def later() -> None:
        go.wait()
        read()
        assert innermost() is None
        ended.set()

    seen_first = watched(lambda: threading.Thread(target=later, daemon=True).start())
    with watching() as other:
        go.set()
        assert ended.wait(10)
    assert calls(seen_first) == {("process", "threading.Thread.start")}
    assert other.seen() == Seen()


def test_bodies_side_by_side_do_not_mix_and_share_no_blame_for_the_generators() -> None:
    async def one(name: str) -> Seen:
        with watching() as watch:
            await asyncio.sleep(0)
            with suppress(OSError):
                open(name)
            random.random()
            await asyncio.sleep(0)
        return watch.seen()

    async def both() -> tuple[Seen, Seen]:
        return await asyncio.gather(one("a"), one("b"))

    first, second = asyncio.run(both())
    assert reads(first) == {("a", False, False)}
    assert reads(second) == {("b", False, False)}
    assert not first.effects
    assert not second.effects


def test_a_forked_child_is_not_watched() -> None:
    with watching() as watch:
        receiver, sender = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(sender, b"1" if innermost() is None else b"0")
            os._exit(0)
        os.waitpid(child, 0)
        assert os.read(receiver, 1) == b"1"
    assert calls(watch.seen()) == {("process", "os.fork")}


def test_the_module_around_bodies_is_known() -> None:
    assert place_of(wrapping.__file__) is Place.BODY
