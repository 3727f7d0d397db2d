"""Functions that wrappers of libraries hide: an edit of the function, or of the wrapper, is seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fingerprint.packages import fingerprints, write

pytestmark = [pytest.mark.values, pytest.mark.timeout(900)]

MAIN = """
import warnings

warnings.simplefilter("ignore")

import torch, wrapt


def helper(x):
    return x + INNER


@wrapt.decorator
def around(wrapped, instance, args, kwargs):
    return wrapped(*args, **kwargs) + OUTER


@around
def decorated(x):
    return helper(x)


class Model:
    @around
    def method(self, x):
        return helper(x)


@torch.jit.script
def below(x):
    return x + INNER


@torch.jit.script
def script(x):
    return below(x)


traced = torch.jit.trace(helper, torch.ones(1))
guarded = torch.no_grad()(helper)
proxy = wrapt.ObjectProxy(helper)


def by_decorator(x):
    return decorated(x)


def by_method(x):
    return Model().method(x)


def by_script(x):
    return script(x)


def by_trace(x):
    return traced(x)


def by_guard(x):
    return guarded(x)


def by_proxy(x):
    return proxy(x)


def without(x):
    return x
"""
INNER = ["by_decorator", "by_method", "by_script", "by_trace", "by_guard", "by_proxy"]
OUTER = ["by_decorator", "by_method"]


def test_wrapped_functions_are_seen(tmp_path: Path) -> None:
    roots = []
    for name, inner, outer in (("a", 1, 1), ("again", 1, 1), ("inner", 2, 1), ("outer", 1, 2)):
        text = MAIN.replace("INNER", str(inner)).replace("OUTER", str(outer))
        roots.append(write(tmp_path / name, {"main.py": text}))
    first, again, inner_edited, outer_edited = fingerprints(roots, "main", [*INNER, "without"])
    assert {name: found["digest"] for name, found in first.items()} == {
        name: found["digest"] for name, found in again.items()
    }
    assert [name for name in first if first[name]["digest"] != inner_edited[name]["digest"]] == INNER
    assert [name for name in first if first[name]["digest"] != outer_edited[name]["digest"]] == OUTER
