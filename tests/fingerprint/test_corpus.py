"""Every value of the corpus: different from all others, and the same after every copy and in every process."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from expops_prefect.fingerprint.values import fingerprint
from tests.fingerprint import corpus

VALUES = corpus.everything()
ROOT = Path(__file__).parents[2]
# What pickle itself cannot take by reference; cloudpickle takes it by value.
ONLY_CLOUDPICKLE = {"objects: closure 1", "objects: closure 2", "objects: closure 1.0", "objects: lambda"}
ONLY_CLOUDPICKLE |= {"objects: other lambda", "objects: module", "objects: own module"}
# Neither can take a memoryview.
NOT_PICKLED = {"plain: memoryview"}
# deepcopy refuses these, or unrolls the cycle by one turn: NumPy's copies do not know of cycles.
NOT_COPIED = {"plain: memoryview", "objects: module", "objects: own module", "arrays: objects cycle"}


def test_all_differ() -> None:
    seen: dict[str, str] = {}
    for name, value in VALUES.items():
        digest = fingerprint(value)
        assert len(digest) == 64
        assert digest not in seen, f"{name} has the fingerprint of {seen[digest]}"
        seen[digest] = name


def _pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value, protocol=5))


def _cloudpickled(value: Any) -> Any:
    return pickle.loads(cloudpickle.dumps(value))


@pytest.mark.parametrize(
    ("copied", "without"),
    [
        (_pickled, ONLY_CLOUDPICKLE | NOT_PICKLED),
        (_cloudpickled, NOT_PICKLED),
        (copy.deepcopy, NOT_COPIED),
        (lambda value: value, set()),
    ],
    ids=["pickle", "cloudpickle", "deepcopy", "again"],
)
def test_a_copy_is_the_same(copied: Callable[[Any], Any], without: set[str]) -> None:
    assert without <= VALUES.keys()
    different = [
        name
        for name, value in VALUES.items()
        if name not in without and fingerprint(copied(value)) != fingerprint(value)
    ]
    assert different == []


def test_fingerprinting_changes_nothing() -> None:
    before = {name: fingerprint(value) for name, value in VALUES.items()}
    assert {name: fingerprint(value) for name, value in VALUES.items()} == before


@pytest.mark.parametrize("seed", ["1", "2"])
def test_another_process_under_another_hash_seed(seed: str) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.fingerprint.corpus"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    theirs = json.loads(done.stdout)
    assert theirs == {name: fingerprint(value) for name, value in VALUES.items()}
