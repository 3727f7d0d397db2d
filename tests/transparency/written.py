"""Flows and tasks of every kind as their author wrote them, for Prefect alone; the tests change its import."""

from __future__ import annotations

import asyncio
import enum
import functools
import inspect
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle
from prefect import flow, task
from pydantic import BaseModel

if TYPE_CHECKING:
    from fractions import Fraction


class Kind(enum.Enum):
    """Named as something in the package that wraps it."""

    A = "a"


class Function(BaseModel):
    """The same, and made out of a dictionary."""

    number: int
    later: Later | None = None


class Later(BaseModel):
    """A forward reference."""

    path: Path


def doubled(function: Callable[..., int]) -> Callable[..., int]:
    """A decorator of the author's own."""

    @functools.wraps(function)
    def around(*args: Any, **kwargs: Any) -> int:
        return 2 * function(*args, **kwargs)

    return around


class Adder:
    """A callable object."""

    def __init__(self, by: int) -> None:
        self.by = by

    def __call__(self, number: int) -> int:
        """Add."""
        return number + self.by


def multiplied(number: int, by: int, *more: int, named: Decimal = Decimal(1)) -> int:
    """Plain, with every kind of parameter."""
    return number * by


async def awaited(kind: Kind, given: Function) -> int:
    """Async."""
    await asyncio.sleep(0)
    return given.number


def yielded(kind: Kind, number: int = 2) -> Iterator[int]:
    """A generator."""
    yield from range(number)


async def yielded_later(kind: Kind, number: int = 2) -> AsyncIterator[int]:
    """An async generator."""
    for item in range(number):
        yield item


def closing(over: int) -> Callable[[int], int]:
    """Makes a function with a closure."""

    def closed(number: int) -> int:
        return number + over

    return closed


@doubled
def decorated(number: int) -> int:
    """With a decorator of the author's own."""
    return number + OFFSET


def failing(number: int) -> int:
    """Fails."""
    raise LookupError(number)


def named_outside(number: Fraction) -> int:
    """Its type is known to type checkers only."""
    return int(number)


OFFSET = 7
FUNCTIONS: dict[str, Any] = {
    "plain": multiplied,
    "async": awaited,
    "generator": yielded,
    "async generator": yielded_later,
    "closure": closing(3),
    "decorated": decorated,
    "partial": functools.partial(multiplied, by=5),
    "object": Adder(1),
}
TASKS: dict[str, Any] = {name: task(name=name)(function) for name, function in FUNCTIONS.items()}
FLOWS: dict[str, Any] = {
    name: flow(name=name)(function) for name, function in FUNCTIONS.items() if hasattr(function, "__name__")
}


class Holder:
    """Methods."""

    def __init__(self, number: int) -> None:
        self.number = number

    @task
    def step(self, number: int) -> int:
        """A method."""
        return self.number + number

    @staticmethod
    @task
    def static(number: int) -> int:
        """A static method."""
        return number

    @task
    @classmethod
    def of_class(cls, number: int) -> str:
        """A class method."""
        return f"{cls.__name__} {number}"

    @flow
    def run(self, kind: Kind) -> list[Any]:
        """A flow that is a method."""
        own: Any = self
        return [str(kind), own.step(1), self.static(2), type(own).of_class(3)]


step = task(failing)


@flow
def validated(kind: Kind, given: Function, *, amount: Decimal = Decimal(2)) -> list[str]:
    """Its arguments are made what their annotations say."""
    return [repr(kind), repr(given), repr(amount)]


def tracing() -> list[list[str]]:
    """Where the errors of a task seem to come from."""
    try:
        step(1)
    except LookupError as error:
        return [[frame.name, Path(frame.filename).name] for frame in traceback.extract_tb(error.__traceback__)][-1:]
    return []


@flow
def everything() -> dict[str, Any]:
    """Runs every kind of task."""
    seen: dict[str, Any] = {}
    for name, given in {"plain": (2, 3), "closure": (1,), "decorated": (1,), "partial": (2,), "object": (1,)}.items():
        seen[name] = TASKS[name](*given)
    seen["async"] = asyncio.run(TASKS["async"](Kind.A, Function(number=4)))
    seen["generator"] = list(TASKS["generator"](Kind.A))
    seen["submitted"] = TASKS["plain"].submit(2, 4).result()
    seen["mapped"] = TASKS["closure"].map([1, 2]).result()
    seen["tracing"] = tracing()
    return seen


async def _collected() -> list[int]:
    return [item async for item in TASKS["async generator"](Kind.A)]


def called(runnable: Any) -> Any:
    """What a worker process does with a task or flow that it was sent."""
    return cloudpickle.loads(runnable).fn(2, 3)


def seen() -> dict[str, Any]:
    """What somebody sees who runs all that; of this module by its name or as a script."""
    checked: Any = validated
    holder: Any = Holder(1)
    unknown: Any = flow(named_outside)
    found: dict[str, Any] = {
        "everything": everything(),
        "async generator": asyncio.run(_collected()),
        "validated": checked("a", {"number": "3", "later": {"path": "x"}}, amount="4"),
        "invalid": str(checked(3, {}, return_state=True).message),
        "method": holder.run("a"),
        "generator flow": list(FLOWS["generator"]("a", number="3")),
        "unknown": _failure(lambda: unknown(1)),
        "schemas": {name: item.parameters.model_dump() for name, item in FLOWS.items()},
        "attributes": {name: sorted(vars(item)) for name, item in {**TASKS, "flow": FLOWS["plain"]}.items()},
        "keys": [item.task_key.rpartition("-")[0] for item in TASKS.values()],
        "unwrapped": inspect.unwrap(TASKS["decorated"]).__code__.co_name,
    }
    with ProcessPoolExecutor(1) as pool:
        sent = [cloudpickle.dumps(item) for item in (TASKS["plain"], FLOWS["plain"])]
        found["other process"] = list(pool.map(called, sent))
    return found


def _failure(call: Callable[[], Any]) -> str:
    try:
        return str(call())
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:60]}"


if __name__ == "__main__":
    import json

    if sys.argv[1:] == ["instrumented"]:
        from expops_prefect import instrument

        kinds = list(TASKS.values())
        for each in (everything, validated, Holder.__dict__["run"], *FLOWS.values()):
            instrument(each, tasks=kinds)
    print("SEEN", json.dumps(seen()))
