"""Effects that are seen in the code: each kind in many shapes, and honest tasks that have none."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from expops_prefect.effects.model import CodeEffects
from expops_prefect.fingerprint.code import code_fingerprint
from tests.effects import honest
from tests.effects.table import BODIES, EXPRESSIONS, FINE
from tests.fingerprint.packages import write

COMMON = "import os, random, time\nimport numpy as np\n"
SHAPES = {
    "direct": "def task(x):\n    return {expression}\n",
    "method": "class Worker:\n    def work(self, x):\n        return {expression}\n"
    "def task(x):\n    return Worker().work(x)\n",
    "async": "async def task(x):\n    return {expression}\n",
    "inner": "def task(x):\n    def inner(x):\n        return {expression}\n    return inner(x)\n",
    "helper": "from shapes.middle import via{number} as via\ndef task(x):\n    return via(x)\n",
    "lazily": "def task(x):\n    from shapes.deep import away{number}\n    return away{number}(x)\n",
    "module": "import shapes.middle as middle\ndef task(x):\n    return middle.via{number}(x)\n",
}
HONEST = [
    (name, function)
    for name, function in vars(honest).items()
    if inspect.isfunction(function)
    and inspect.unwrap(function).__module__ == honest.__name__
    and not name.startswith(("_", "timed", "saves", "sets_seeds"))
]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ModuleType]]:
    """Write modules and import one of them."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def made(name: str, files: dict[str, str]) -> ModuleType:
        write(tmp_path, files)
        importlib.invalidate_caches()
        return importlib.import_module(name)

    yield made
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def effects_of(function: Any, **given: Any) -> CodeEffects:
    return code_fingerprint(function, **given).effects


def _installed(imports: str) -> str:
    """Imports of what is not installed stand in the function, where nothing is imported to read it."""
    try:
        exec(imports, {})
    except ImportError:
        return ""
    return imports


@pytest.mark.parametrize("shape", SHAPES)
def test_every_kind_in_every_shape(shape: str, load: Callable[..., ModuleType]) -> None:
    files: dict[str, str] = {"shapes/__init__.py": "", "shapes/deep.py": "", "shapes/middle.py": ""}
    template = SHAPES[shape]
    for number, case in enumerate(EXPRESSIONS):
        at_top, inside = _installed(case.imports), ""
        if case.imports and not at_top:
            inside = f"    {case.imports}\n"
        away = f"def away{number}(x):\n{inside}    return {case.expression}\n"
        files["shapes/deep.py"] += f"{at_top}\n{away}"
        files["shapes/middle.py"] += (
            f"from shapes.deep import away{number}\ndef via{number}(x):\n    return away{number}(x)\n"
        )
        if inside and "{expression}" in template:
            body = f"{COMMON}\ndef away(x):\n{inside}    return {case.expression}\n"
            files[f"shapes/main{number}.py"] = body + template.format(expression="away(x)", number=number)
        else:
            body = f"{COMMON}{at_top}\n" if "{expression}" in template else ""
            files[f"shapes/main{number}.py"] = body + template.format(expression=case.expression, number=number)
    load("shapes", files)
    wrong = []
    for number, case in enumerate(EXPRESSIONS):
        found = effects_of(importlib.import_module(f"shapes.main{number}").task)
        if (case.kind, case.call) not in [(effect.kind, effect.call) for effect in found.effects]:
            wrong.append((case.kind, case.expression, [(e.kind, e.call) for e in found.effects], found.unresolved))
    assert not wrong, "\n".join(map(str, wrong))


def test_whole_bodies(load: Callable[..., ModuleType]) -> None:
    files = {f"bodies/body{number}.py": COMMON + source for number, (_, _, source) in enumerate(BODIES)}
    installed = {name: text for name, text in files.items() if "aiohttp" not in text}
    load("bodies", {"bodies/__init__.py": "", **installed})
    wrong = []
    for number, (kind, call, source) in enumerate(BODIES):
        if f"bodies/body{number}.py" not in installed:
            continue
        found = effects_of(importlib.import_module(f"bodies.body{number}").task)
        if (kind, call) not in [(effect.kind, effect.call) for effect in found.effects]:
            wrong.append((source, [(e.kind, e.call) for e in found.effects], found.unresolved))
    assert not wrong, "\n".join(map(str, wrong))


def test_what_looks_like_an_effect_and_is_none(load: Callable[..., ModuleType]) -> None:
    files = {f"fine/fine{number}.py": COMMON + source for number, source in enumerate(FINE)}
    files = {
        name: text.replace("import requests", "import httpx as requests").replace(
            "requests.RequestException", "requests.HTTPError"
        )
        for name, text in files.items()
    }
    load("fine", {"fine/__init__.py": "", **files})
    found = {
        source: effects_of(importlib.import_module(f"fine.fine{number}").task).effects
        for number, source in enumerate(FINE)
    }
    assert {source: effects for source, effects in found.items() if effects} == {}


@pytest.mark.parametrize(("name", "function"), HONEST, ids=[name for name, _ in HONEST])
def test_honest_tasks_have_no_effect(name: str, function: Any) -> None:
    found = effects_of(function)
    assert found.effects == ()
    assert found.resolved, found.unresolved
