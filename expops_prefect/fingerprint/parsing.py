"""Parses Python source safely from several threads."""

from __future__ import annotations

import ast
from contextlib import suppress
from typing import Final

_TRIES: Final = 20


def parse(source: str | bytes) -> ast.Module:
    """The syntax tree of a module's source.

    CPython keeps the depth of the tree in one counter for all threads, so a concurrent call can fail
    although its source is valid. It is then repeated.

    Raises:
        SyntaxError, ValueError: it is not valid source.
        RecursionError: it is nested too deeply.
    """
    for _ in range(_TRIES):
        with suppress(SystemError, RecursionError):
            return ast.parse(source)
    return ast.parse(source)
