"""Nothing that an object raises while it is looked at reaches the flow."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from expops_prefect.errors import FingerprintError
from expops_prefect.fingerprint.code import code_fingerprint
from expops_prefect.fingerprint.constants import constant_form
from expops_prefect.fingerprint.value_summary import summary_of
from expops_prefect.fingerprint.values import fingerprint, register_fingerprint

pytestmark = pytest.mark.values

DUNDERS = (
    *(
        "__reduce_ex__",
        "__reduce__",
        "__getstate__",
        "__getattribute__",
        "__getattr__",
        "__eq__",
        "__hash__",
        "__len__",
    ),
    *("__iter__", "__next__", "__bool__", "__repr__", "__str__", "__sizeof__", "__dir__", "__class__", "__dict__"),
    *("__call__", "__getitem__", "__contains__", "__expops_fingerprint__", "__fspath__", "__index__", "__array__"),
    *("__getnewargs_ex__", "__getnewargs__", "__copy__", "__deepcopy__", "__wrapped__", "__module__", "__len_hint__"),
)


class Panic(BaseException):
    """As libraries written in Rust raise."""

    def __str__(self) -> str:
        raise ValueError("not even that")


def raising(dunder: str, error: Callable[[], BaseException], base: type = object) -> Any:
    """An object that raises when it is asked."""

    def method(*_args: Any, **_kwargs: Any) -> Any:
        raise error()

    held = property(method) if dunder in ("__class__", "__dict__", "__wrapped__", "__module__") else method
    return type("Raising", (base,), {"__module__": __name__, dunder: held})()


VALUES = [(dunder, base) for dunder in DUNDERS for base in (object, list, dict, Exception)]


def looked_at(value: Any) -> str | None:
    """What is wrong: a value has a fingerprint and a summary, or is refused with its path and type."""
    notes: list[Any] = []
    try:
        summary_of(fingerprint(value, name="parameter", notes=notes), value, notes)
    except FingerprintError as refused:
        return None if refused.path.startswith("parameter") and refused.type_name else str(refused)
    return None


@pytest.mark.parametrize("error", [ValueError, NameError, Panic, MemoryError, StopIteration, RecursionError])
def test_what_is_raised_becomes_a_refusal(error: Callable[[], BaseException]) -> None:
    for dunder, base in VALUES:
        value = raising(dunder, error, base)
        for whole in (value, [value], {"a": {"b": (value,)}}):
            assert looked_at(whole) is None, (dunder, base)
            assert constant_form(whole), (dunder, base)

        def body(held: Any = value) -> Any:
            return held

        assert code_fingerprint(body).digest


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_what_ends_the_flow_is_let_through(error: type[BaseException]) -> None:
    with pytest.raises(error):
        fingerprint([raising("__reduce_ex__", error)])


def test_the_walk_goes_on_after_a_part_that_raises() -> None:
    class Registered:
        pass

    register_fingerprint(Registered, lambda _value: [raising("__reduce_ex__", NameError)])
    inner: list[Any] = [Registered()]
    inner.append(inner)
    assert constant_form([inner, [1, "a"]]) == constant_form([inner, [1, "a"]])
    assert constant_form([inner, [1, "a"]]) != constant_form([inner, [1, "b"]])
    with pytest.raises(FingerprintError, match="its state cannot be read"):
        fingerprint(inner)
    assert pickle.loads(pickle.dumps(fingerprint([1])))
