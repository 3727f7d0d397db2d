"""A task's code is followed once, and again only after something in it was bound anew."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from expops_prefect import task
from expops_prefect.fingerprint import code
from expops_prefect.fingerprint.code import code_fingerprint
from expops_prefect.fingerprint.graph import CodeGraph
from tests.fingerprint.packages import write

FILES = {
    "remembered/__init__.py": "",
    "remembered/deep.py": "FACTOR = 3\ndef base(x):\n    return x * FACTOR\n",
    "remembered/main.py": "from remembered.deep import base\ndef away(x):\n    return base(x)\n",
}


@pytest.fixture
def main(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    write(tmp_path, FILES)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("remembered.main")
    for name in [name for name in sys.modules if name.partition(".")[0] == "remembered"]:
        del sys.modules[name]


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[CodeGraph]:
    """Every graph that is made."""
    made: list[CodeGraph] = []

    class Counted(CodeGraph):
        def __init__(self, root: Path | None) -> None:
            super().__init__(root)
            made.append(self)

    monkeypatch.setattr(code, "CodeGraph", Counted)
    return made


def test_a_task_is_followed_once(main: Any, graphs: list[CodeGraph]) -> None:
    wrapped = task(main.away)
    digests = {code_fingerprint(wrapped.fn).digest for _ in range(3)}
    digests.add(code_fingerprint(wrapped.with_options(name="other").fn).digest)
    assert len(digests) == 1
    assert len(graphs) == 1


def test_a_task_is_followed_again_after_a_change(main: Any, graphs: list[CodeGraph]) -> None:
    wrapped = task(main.away)
    deep = sys.modules["remembered.deep"]
    before = code_fingerprint(wrapped.fn).digest
    deep.FACTOR = 4  # type: ignore[attr-defined]
    changed = code_fingerprint(wrapped.fn).digest
    main.base = lambda x: x
    replaced = code_fingerprint(wrapped.fn).digest
    assert len({before, changed, replaced}) == 3
    assert len(graphs) == 3
