"""Every command there is."""

from __future__ import annotations

from collections.abc import Iterator

from cyclopts import App

from expops_prefect.cli.main import app

_FLAGS = {"--help", "-h", "--version", "--install-completion"}


def commands_of(group: App = app, path: tuple[str, ...] = ()) -> Iterator[str]:
    """The words of every command that is none of a group of commands."""
    names = [name for name in group if name not in _FLAGS]
    if not names:
        yield " ".join(path)
    for name in names:
        yield from commands_of(group[name], (*path, name))
