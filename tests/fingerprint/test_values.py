"""Values: what is equal, what is refused, how users extend it."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import itertools
import pickle
import re
import socket
import ssl
import struct
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expops_prefect.errors import FingerprintError
from expops_prefect.fingerprint import registry
from expops_prefect.fingerprint.values import fingerprint, register_fingerprint
from tests.fingerprint import specimens as s


def tagged(value: Any) -> Any:
    """A value as a key that is equal exactly for values of equal types and bits: what fingerprints promise."""
    kind = type(value).__name__
    if isinstance(value, float):
        return kind, struct.pack("<d", value)
    if isinstance(value, complex):
        return kind, struct.pack("<dd", value.real, value.imag)
    if isinstance(value, (list, tuple)):
        return kind, tuple(map(tagged, value))
    if isinstance(value, dict):
        return kind, tuple((tagged(key), tagged(item)) for key, item in value.items())
    if isinstance(value, (set, frozenset)):
        return kind, frozenset(map(tagged, value))
    return kind, value


atoms = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-3, 3),
    st.floats(),
    st.complex_numbers(),
    st.text(max_size=5),
    st.text("ab", max_size=2),
    st.binary(max_size=3),
)
hashables = st.recursive(atoms, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=4)
nested = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(hashables, inner, max_size=3),
        st.sets(hashables, max_size=4),
    ),
    max_leaves=12,
)


@given(nested, nested)
@settings(max_examples=300, deadline=None)
def test_equal_exactly_for_equal_types_and_bits(left: Any, right: Any) -> None:
    assert (fingerprint(left) == fingerprint(right)) == (tagged(left) == tagged(right))


@given(nested)
@settings(max_examples=200, deadline=None)
def test_copies_are_equal(value: Any) -> None:
    digest = fingerprint(value)
    assert fingerprint(copy.deepcopy(value)) == digest
    assert fingerprint(pickle.loads(pickle.dumps(value))) == digest


@given(nested)
@settings(max_examples=100, deadline=None)
def test_what_is_shared_means_something_where_it_can_be_changed(value: Any) -> None:
    twice, copied = [value, value], [value, copy.deepcopy(value)]
    assert (fingerprint(twice) == fingerprint(copied)) == (not holds_mutable(value))
    assert fingerprint(twice) == fingerprint(pickle.loads(pickle.dumps(twice))) == fingerprint(copy.deepcopy(twice))
    assert fingerprint({"a": value, "b": [value]}) == fingerprint(dict(zip("ab", [value, [value]], strict=True)))


def holds_mutable(value: Any) -> bool:
    """Whether a part of it can be changed in place."""
    if isinstance(value, (list, dict, set)):
        return True
    return isinstance(value, tuple) and any(map(holds_mutable, value))


@given(st.lists(st.one_of(st.integers(), st.text(max_size=3), st.tuples(st.integers(), st.text(max_size=2)))))
@settings(max_examples=100, deadline=None)
def test_sets_have_no_order(items: list[Any]) -> None:
    forward: set[Any] = set()
    backward: set[Any] = set()
    for item in items:
        forward.add(item)
    for item in reversed(items):
        backward.add(item)
    assert fingerprint(forward) == fingerprint(backward)
    assert fingerprint(s.MySet(items)) == fingerprint(s.MySet(reversed(items)))


def _attributes_in_other_order() -> s.Plain:
    plain = s.Plain()
    plain.b, plain.a = 2, 1  # type: ignore[attr-defined]
    return plain


def _interned() -> tuple[str, str]:
    word = "".join(["a", "b"])
    return sys.intern(word), str(word + "")


@pytest.mark.parametrize(
    ("left", "right"),
    [
        pytest.param(s.Plain(a=1, b=2), _attributes_in_other_order(), id="order of attributes"),
        pytest.param(list(range(5)), [0, 1, 2, 3, 4], id="lists"),
        pytest.param(_interned(), ("ab", "ab"), id="interned"),
        pytest.param({"x": {3, 1, 2}}, {"x": {2, 3, 1}}, id="sets"),
        pytest.param(s.Model(n=1, tags={"a", "b"}), s.Model(n=1, tags={"b", "a"}), id="models"),
        pytest.param(s.adder(1), s.adder(1), id="closures"),
        pytest.param(s.Scale(2.0).apply, s.Scale(2.0).apply, id="methods"),
        pytest.param(Path("a/b"), Path("a") / "b", id="paths"),
        pytest.param(re.compile("a"), copy.copy(re.compile("a")), id="patterns"),
        pytest.param(memoryview(b"abcd")[1:3], memoryview(b"bc"), id="memory"),
        pytest.param(memoryview(b"abcd")[::2], memoryview(b"ac"), id="strided memory"),
    ],
)
def test_equal(left: Any, right: Any) -> None:
    assert fingerprint(left) == fingerprint(right)


def _generator() -> Iterator[int]:
    yield 1


async def _coroutine() -> None: ...


@pytest.fixture
def refused_value(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Something that must be refused, closed afterwards."""
    (tmp_path / "file").write_text("text")
    with contextlib.ExitStack() as stack:
        value = request.param(tmp_path / "file", stack)
        yield value


def _socket(_path: Path, stack: contextlib.ExitStack) -> Any:
    return stack.enter_context(socket.socket())


def _awaitable(_path: Path, stack: contextlib.ExitStack) -> Any:
    coroutine = _coroutine()
    stack.callback(coroutine.close)
    return coroutine


REFUSED: dict[str, Callable[[Path, contextlib.ExitStack], Any]] = {
    "generator": lambda _p, _s: _generator(),
    "plain object": lambda _p, _s: object(),
    "list iterator": lambda _p, _s: iter([1, 2]),
    "dict iterator": lambda _p, _s: iter({1: 2}),
    "map": lambda _p, _s: map(str, [1]),
    "zip": lambda _p, _s: zip([1], [2], strict=True),
    "enumerate": lambda _p, _s: enumerate([1]),
    "chain": lambda _p, _s: itertools.chain([1], [2]),
    "count": lambda _p, _s: itertools.count(),
    "text file": lambda p, stack: stack.enter_context(p.open()),
    "binary file": lambda p, stack: stack.enter_context(p.open("rb")),
    "lock": lambda _p, _s: threading.Lock(),
    "event": lambda _p, _s: threading.Event(),
    "local": lambda _p, _s: threading.local(),
    "thread": lambda _p, _s: threading.Thread(),
    "socket": _socket,
    "ssl context": lambda _p, _s: ssl.create_default_context(),
    "weak reference": lambda _p, _s: weakref.ref(s.Plain()),
    "coroutine": _awaitable,
    "view of keys": lambda _p, _s: {1: 2}.keys(),
    "frame": lambda _p, _s: sys._getframe(),
    "read-only iterator class": lambda _p, _s: np.nditer(np.arange(3)),
}


UNSET = object()
OTHER = object()


def test_plain_objects_count_by_the_names_that_modules_give_them() -> None:
    assert fingerprint(UNSET) == fingerprint(UNSET)
    assert fingerprint({"a": UNSET}) != fingerprint({"a": OTHER})


@pytest.mark.parametrize("refused_value", REFUSED.values(), ids=REFUSED, indirect=True)
def test_refused(refused_value: Any) -> None:
    with pytest.raises(FingerprintError) as caught:
        fingerprint({"config": [1, (2, refused_value)]}, name="settings")
    assert caught.value.path == "settings['config'][1][1]" or caught.value.path.startswith("settings['config'][1][1].")
    assert caught.value.path in str(caught.value)
    assert caught.value.type_name in str(caught.value)
    assert "ignore=" in str(caught.value)


def test_iterators_are_not_consumed() -> None:
    numbers, generated = iter([1, 2]), _generator()
    for value in (numbers, generated):
        with pytest.raises(FingerprintError, match="iterator"):
            fingerprint(value)
    assert list(numbers) == [1, 2]
    assert list(generated) == [1]


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda bad: bad, "x"),
        (lambda bad: [0, bad], "x[1]"),
        (lambda bad: [*range(5000), "a", bad], "x[5001]"),
        (lambda bad: {"k": bad}, "x['k']"),
        (lambda bad: {("k", 1): bad}, "x[<tuple>]"),
        (lambda bad: {bad: 1}, "x.keys()[0]"),
        (lambda bad: {bad}, "x{…}"),
        (lambda bad: s.Plain(lock=bad), "x.lock"),
        (lambda bad: s.Slotted(1, [bad]), "x.right[0]"),
        (lambda bad: s.Point(1, {"y": bad}), "x.y['y']"),
        (lambda bad: np.array([1, bad], dtype=object), "x[1]"),
        (lambda bad: s.Tree("a", children=[s.Tree("b"), s.Tree(bad)]), "x.children[1].name"),
    ],
)
def test_the_path_of_what_is_refused(make: Callable[[Any], Any], path: str) -> None:
    with pytest.raises(FingerprintError) as caught:
        fingerprint(make(threading.Lock()), name="x")
    assert caught.value.path == path
    assert caught.value.type_name == "_thread.lock"
    assert isinstance(caught.value.__cause__, TypeError)


def test_too_deep_is_refused() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(FingerprintError, match="nested too deeply"):
        fingerprint(value)
    while value:  # or freeing it would recurse as deeply
        value = value[0]


def test_shared_parts_are_walked_once() -> None:
    value: Any = ["some text that is long enough to be sealed into a digest, as most parts of values are"]
    for _ in range(200):
        value = [value, value]
    started = time.perf_counter()
    fingerprint(value)
    assert time.perf_counter() - started < 1


def test_a_dense_graph_of_objects_is_walked_once() -> None:
    people = [s.Plain(name=str(n)) for n in range(100)]
    for person in people:
        person.friends = people  # type: ignore[attr-defined]
        person.best = {other.name: other for other in people}  # type: ignore[attr-defined]
    started = time.perf_counter()
    digest = fingerprint(people)
    assert time.perf_counter() - started < 2
    assert fingerprint(copy.deepcopy(people)) == digest
    people[50].name = "another"  # type: ignore[attr-defined]
    assert fingerprint(people) != digest


def test_a_dense_graph_through_sets_is_refused_in_time() -> None:
    people = [s.Plain(name=str(n)) for n in range(40)]
    for person in people:
        person.friends = set(people)  # type: ignore[attr-defined]
    with pytest.raises(FingerprintError, match="through sets"):
        fingerprint(people)


def test_cycles_differ_by_where_they_lead() -> None:
    def ring(length: int, back_to: int) -> s.Plain:
        nodes = [s.Plain(name="n") for _ in range(length)]
        for here, there in itertools.pairwise([*nodes, nodes[back_to]]):
            here.next = there  # type: ignore[attr-defined]
        return nodes[0]

    rings = {
        (length, back_to): fingerprint(ring(length, back_to)) for length in range(1, 5) for back_to in range(length)
    }
    assert len(set(rings.values())) == len(rings)


def test_classes_are_collected() -> None:
    met: set[type] = set()
    fingerprint({"a": [s.Plain(inner=s.Point(1, s.Color.RED))], "b": s.Model(), "c": s.MySet()}, classes=met)
    assert {s.Plain, s.Point, s.Color, s.Model, s.MySet} <= met


class Handle:
    """Has an own idea of what counts."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.lock = threading.Lock()

    def __expops_fingerprint__(self) -> object:
        return self.url


class SpecialHandle(Handle):
    pass


class Broken:
    def __expops_fingerprint__(self) -> object:
        raise ValueError("no")


def test_a_class_says_itself_what_counts() -> None:
    assert fingerprint(Handle("a")) == fingerprint(Handle("a"))
    assert fingerprint(Handle("a")) != fingerprint(Handle("b"))
    assert fingerprint(Handle("a")) != fingerprint("a")
    assert fingerprint(Handle("a")) != fingerprint(SpecialHandle("a"))
    with pytest.raises(FingerprintError, match="own fingerprint method"):
        fingerprint(Broken())


class Foreign:
    def __init__(self, value: int) -> None:
        self.value = value
        self.lock = threading.Lock()


class ForeignChild(Foreign):
    pass


@pytest.fixture
def clean_registry() -> Iterator[None]:
    registered = dict(registry._encoders.registered)
    yield
    registry._encoders.registered.clear()
    registry._encoders.registered.update(registered)
    registry._encoders.resolved.clear()


@pytest.mark.usefixtures("clean_registry")
def test_register() -> None:
    with pytest.raises(FingerprintError):
        fingerprint(Foreign(1))
    register_fingerprint(Foreign, lambda foreign: foreign.value)
    assert fingerprint(Foreign(1)) == fingerprint(Foreign(1))
    assert fingerprint(Foreign(1)) != fingerprint(Foreign(2))
    assert fingerprint(ForeignChild(1)) != fingerprint(Foreign(1))
    register_fingerprint(Foreign, lambda foreign: foreign.value % 2)
    assert fingerprint(Foreign(1)) == fingerprint(Foreign(3))


@pytest.mark.parametrize("wrong", ["Foreign", str, dict, object])
def test_register_refuses_what_is_not_a_class_of_its_own(wrong: Any) -> None:
    with pytest.raises(TypeError, match="takes a class"):
        register_fingerprint(wrong, str)


def test_threads_do_not_disturb_one_another() -> None:
    values = [{"a": [s.Plain(n=n), {str(m) for m in range(20)}], "b": np.arange(n + 1)} for n in range(50)]
    expected = list(map(fingerprint, values))
    found: list[list[str]] = []
    threads = [threading.Thread(target=lambda: found.append(list(map(fingerprint, values)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4


def test_what_paces_tasks_counts_without_its_moment() -> None:
    """Tasks that share a limit ask for their keys while others hold it or wait for it."""

    async def digests(limit: asyncio.Semaphore | asyncio.Lock) -> set[str]:
        found = {fingerprint([1, limit])}
        await limit.acquire()
        found.add(fingerprint([1, limit]))
        waiting = [asyncio.create_task(limit.acquire()) for _ in range(2)]
        await asyncio.sleep(0)
        found.add(fingerprint([1, limit]))
        limit.release()
        await asyncio.wait(waiting[:1])
        waiting[1].cancel()
        return found | {fingerprint([1, limit])}

    async def all_of_them() -> list[set[str]]:
        kinds = (asyncio.Lock, lambda: asyncio.Semaphore(1), lambda: asyncio.BoundedSemaphore(1))
        return [await digests(kind()) for kind in kinds]

    found = asyncio.run(all_of_them())
    assert [len(each) for each in found] == [1, 1, 1]
    assert len(set.union(*found)) == 3
    assert fingerprint([1, asyncio.Semaphore(1)]) in found[1], "nor does the loop it was used in"


def test_paths_below_the_root_count_from_there(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "deeper" / "b"

    def of(root: Path, make: Callable[[Path], object]) -> str:
        return fingerprint(make(root), root=root)

    same: list[Callable[[Path], object]] = [
        lambda root: root,
        str,
        lambda root: root / "x",
        lambda root: [str(root / "x"), "x"],
        lambda root: {str(root), "b", "z"},
        lambda root: {root / "x": 1},
        lambda root: f"{root}/pkg/../x",
        lambda root: partial(print, root / "x"),
    ]
    for make in same:
        assert of(first, make) == of(second, make)
    assert len({of(first, make) for make in same}) == len(same)
    for name in ("x", "/x", "", "."):
        # A relative path, or one that only looks like it, is something else.
        assert of(first, lambda root: str(root / "x")) not in (fingerprint(name), fingerprint(Path(name)))
    for other in (lambda root: f"{root}x", lambda root: f"{root}/../x", lambda root: root.parent):
        assert of(first, other) != of(second, other)
        assert of(first, other) == fingerprint(other(first))
    # All that names no path keeps the digest that it has.
    assert fingerprint(["a", "b"], root=first) == fingerprint(["a", "b"])
