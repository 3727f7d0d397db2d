"""A flow or task of ours cannot be told from Prefect's by looking at it, calling it, sending it or running it."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import pickle
import typing
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cloudpickle
import prefect
import pytest
from prefect import Flow, Task
from prefect.assets import materialize
from prefect.utilities.callables import parameters_to_args_kwargs

import expops_prefect
from expops_prefect import instrument
from expops_prefect.tracking.wrapping import INNER, Surrounded, surround
from tests.support.processes import FlowProject
from tests.transparency import written

WAYS = ("plain", "drop-in", "instrumented")
OURS = {"process", "ignore", "outputs", "project", "cached", "_policy_left_open", "_expops_inner"}
"""The attributes that our tasks and flows have besides Prefect's."""


def raised(call: Callable[[], Any]) -> Any:
    """What a call returns, or how it fails."""
    try:
        return call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def attribute(name: str, seen: Callable[[Any], Any], function: Any) -> Any:
    """An attribute of a function."""
    return seen(getattr(function, name, None))


LOOKS: dict[str, Callable[[Any], Any]] = {
    "itself": id,
    "hints": lambda function: raised(lambda: typing.get_type_hints(function)),
    "signature": lambda function: raised(lambda: inspect.signature(function, eval_str=True)),
    "source": lambda function: raised(lambda: inspect.getsourcelines(function)),
    "file": lambda function: raised(lambda: (inspect.getfile(function), inspect.getsourcefile(function))),
    "module": inspect.getmodule,
    "closure": lambda function: raised(lambda: inspect.getclosurevars(function)),
    "unwrapped": inspect.unwrap,
    "wrapped": lambda function: getattr(function, "__wrapped__", None),
    "coroutine": lambda function: (inspect.iscoroutinefunction(function), asyncio.iscoroutinefunction(function)),
    "generator": lambda function: (inspect.isgeneratorfunction(function), inspect.isasyncgenfunction(function)),
    "by reference": lambda function: raised(lambda: pickle.dumps(function)),
    **{
        name: functools.partial(attribute, name, id)
        for name in ("__code__", "__globals__", "__defaults__", "__kwdefaults__", "__annotations__", "__dict__")
    },
    **{
        name: functools.partial(attribute, name, repr) for name in ("__name__", "__qualname__", "__doc__", "__module__")
    },
}


def made(way: str, function: Callable[..., Any], kind: str) -> Any:
    """A task or flow of a function, in one of the three ways."""
    if way == "drop-in":
        return getattr(expops_prefect, kind)(function)
    item = getattr(prefect, kind)(function)
    if way == "instrumented":
        instrument(item if kind == "flow" else prefect.flow(outer), tasks=[item] if kind == "task" else [])
    return item


def outer() -> None:
    """A flow around an instrumented task."""


@prefect.flow
def inner() -> None:
    """A flow that another one calls."""


def around() -> None:
    """A flow with a subflow."""
    inner()


@pytest.mark.parametrize("kind", ["task", "flow"])
@pytest.mark.parametrize("way", WAYS[1:])
def test_its_function_is_the_users(way: str, kind: str) -> None:
    for name, function in written.FUNCTIONS.items():
        if kind == "flow" and not hasattr(function, "__name__"):
            continue  # Prefect itself refuses it
        item = made(way, function, kind)
        assert issubclass(type(item), Surrounded), "its body is surrounded all the same"
        plain = {look: read(function) for look, read in LOOKS.items()}
        for each in (item, item.with_options(name="other"), cloudpickle_of(item)):
            copied = each.fn is not function
            for look, read in LOOKS.items():
                assert copied or read(each.fn) == plain[look], (name, look)
        through = [getattr(made("plain", function, kind), attribute, None) for attribute in ("__doc__", "__wrapped__")]
        assert [getattr(item, attribute, None) for attribute in ("__doc__", "__wrapped__")] == through


def cloudpickle_of(item: Any) -> Any:
    """A task or flow that was sent to another process; its function comes as Prefect's would."""
    sent = cloudpickle.loads(cloudpickle.dumps(item))
    assert type(sent) is type(item)
    return sent


def test_errors_of_prefect_name_the_users_function() -> None:
    def varied(a: int, *more: int, **options: int) -> int:
        return a + len(more) + len(options)

    given = {"a": 1, "more": (2,), "options": {"more": 3}}
    plain = raised(lambda: parameters_to_args_kwargs(varied, given))
    assert raised(lambda: parameters_to_args_kwargs(surround(expops_prefect.task(varied), varied), given)) == plain
    assert "varied() got multiple values" in str(plain)


def test_classes_of_others_are_kept() -> None:
    class Special(Task[..., Any]):
        """Somebody's own class of tasks."""

    special: Any = Special(written.multiplied)
    asset: Any = materialize("file://made")(written.multiplied)
    instrument(prefect.flow(outer), tasks=[special, asset])
    for item, kind in ((special, Special), (asset, type(asset).__mro__[1])):
        clone = item.with_options(name="other")
        assert issubclass(type(item), kind)
        assert type(item).__qualname__ == kind.__qualname__
        assert item.fn is written.multiplied
        assert cloudpickle.loads(cloudpickle.dumps(item)).fn(2, 3) == 6
        assert issubclass(type(clone), Surrounded)
        assert clone.name == "other"
    assert asset.with_options().assets == asset.assets


def test_a_clone_of_an_instrumented_subflow_stays_one() -> None:
    clone: Flow[..., Any] = instrument(prefect.flow(around)).with_options(name="other")
    assert [vars(item)[INNER] for item in (clone, inner.with_options(name="other"))] == [False, True]


@pytest.mark.usefixtures("flow_processes")
def test_it_runs_as_with_prefect_alone(tmp_path: Path) -> None:
    text = Path(written.__file__).read_text()
    ours = text.replace("from prefect import flow, task", "from expops_prefect import flow, task")
    with ThreadPoolExecutor(3) as pool:
        texts = (text, ours, text)
        seen = dict(zip(WAYS, pool.map(functools.partial(run, tmp_path), WAYS, texts), strict=True))
    plain = seen["plain"]
    assert plain["everything"]["plain"] == 6
    for way in WAYS[1:]:
        attributes = seen[way].pop("attributes")
        more = {name: set(found) ^ set(plain["attributes"][name]) for name, found in attributes.items()}
        assert all(found <= OURS for found in more.values()), more
        assert seen[way] == {name: value for name, value in plain.items() if name != "attributes"}


def run(folder: Path, way: str, text: str) -> dict[str, Any]:
    """What a process sees that runs everything, in one of the three ways."""
    shop = FlowProject(folder / way)
    shop.root.joinpath("written.py").write_text(text)
    process = shop.start("written.py", *(["instrumented"] if way == "instrumented" else []))
    done = shop.finish(process, timeout=400).ok()
    if way != "plain":
        # The bodies were surrounded: each kind of task has its row.
        [everything] = [run for run in shop.project().runs() if run.flow == "everything"]
        rows = {row.path.partition("'")[2].partition("'")[0] for row in shop.project().rows(everything.run_id)}
        assert rows >= {"plain", "closure", "decorated", "partial", "object", "async", "generator", "failing"}, rows
    lines = [line for line in done.output.splitlines() if line.startswith("SEEN ")]
    found: dict[str, Any] = json.loads(lines[0].removeprefix("SEEN "))
    return found
