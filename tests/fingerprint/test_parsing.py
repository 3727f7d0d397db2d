"""Sources are parsed although other threads parse at the same time."""

from __future__ import annotations

import ast
import gc
from pathlib import Path

import pytest

from expops_prefect.fingerprint.parsing import parse

SOURCE = Path(ast.__file__).read_text()


class _ParsesWhenCollected:
    """What another thread may do between any two steps of ours, made to happen: the collector runs it there."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        ast.parse("f(1)")


def test_another_call_comes_in_between() -> None:
    whole = ast.dump(ast.parse(SOURCE))
    for _ in range(20):
        gc.disable()
        try:
            for _ in range(3):
                _ParsesWhenCollected()
        finally:
            gc.enable()
        assert ast.dump(parse(SOURCE)) == whole


def test_what_is_wrong_stays_wrong() -> None:
    with pytest.raises(SyntaxError):
        parse("def f(:")
    with pytest.raises((RecursionError, MemoryError)):
        parse("-" * 100_000 + "1")
