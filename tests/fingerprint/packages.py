"""Small packages on disk, fingerprinted in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CHILD = """
import importlib, json, os, sys
import prefect, pydantic
from expops_prefect.fingerprint.code import code_fingerprint

def fingerprints(module, names):
    found = importlib.import_module(module)
    out = {}
    for name in names:
        target = found
        for part in name.split("."):
            target = getattr(target, part)
        made = code_fingerprint(target)
        out[name] = {"digest": made.digest, "parts": dict(made.parts), "sources": dict(made.sources)}
    return out

module, names, roots = json.loads(sys.stdin.read())
print()
for root in roots:
    # A child for each, which knows nothing of the modules of the others.
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        sys.path.insert(0, root)
        os.chdir(root)
        with os.fdopen(writing, "w") as out:
            out.write(json.dumps(fingerprints(module, names)))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        print(answer.read())
    if os.waitpid(child, 0)[1] != 0:
        raise SystemExit(f"failed in {root}")
"""


def environment(seed: int, *paths: Path) -> dict[str, str]:
    """The environment of a child process that finds this package and those paths."""
    path = os.pathsep.join([*map(str, paths), *(entry for entry in sys.path if entry)])
    return {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": str(seed), "PYTHONDONTWRITEBYTECODE": "1"}


def python(*arguments: str, seed: int = 0, paths: tuple[Path, ...] = (), text: str = "") -> str:
    """Run Python and return what it printed."""
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment(seed, *paths),
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


Found = dict[str, dict[str, Any]]


def fingerprints(roots: list[Path], module: str, names: Sequence[str], *, seed: int = 0) -> list[Found]:
    """What ``code_fingerprint`` gives for the names of a module below each of the folders."""
    out = python("-c", CHILD, seed=seed, text=json.dumps([module, list(names), [str(root) for root in roots]]))
    return [json.loads(line) for line in out.splitlines()[-len(roots) :]]


def write(root: Path, files: Mapping[str, str]) -> Path:
    """Write a package; the folder."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"))
    return root


def edited(files: Mapping[str, str], name: str, old: str, new: str) -> dict[str, str]:
    """The files with one text, which is there once, replaced."""
    text = textwrap.dedent(files[name])
    assert text.count(old) == 1, f"{old!r} is not once in {name}"
    return {**files, name: text.replace(old, new)}
