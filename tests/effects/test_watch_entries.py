"""Entries of a folder that tell their sizes and times."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from expops_prefect.effects import dependencies
from expops_prefect.effects.dependencies import Named
from expops_prefect.effects.watch import watching

NOTHING = Named((), ())


def _sizes(folder: Path) -> int:
    return sum(entry.stat().st_size for entry in os.scandir(folder))


def _names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize(("ask", "counts"), [(_sizes, True), (_names, False)])
def test_a_file_that_grew(tmp_path: Path, ask: Callable[[Path], object], counts: bool) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a").write_text("x")
    with watching() as watch:
        ask(folder)
    found = dependencies.taken(NOTHING, watch.seen().reads, tmp_path)
    assert dependencies.changed(found, tmp_path) is None
    os.utime(folder / "a", ns=(1, 1))
    (folder / "a").write_text("xx")
    assert (dependencies.changed(found, tmp_path) is not None) is counts
    (folder / "b").write_text("x")
    assert dependencies.changed(found, tmp_path) is not None
