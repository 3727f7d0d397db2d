"""Python's parser, used by many threads at once."""

from __future__ import annotations

import ast
from contextlib import suppress
from typing import Final

_TRIES: Final = 20


def parse(source: str | bytes) -> ast.Module:
    """The syntax tree of a module's source.

    CPython counts the depth of the tree that it makes in one place for all threads: where another call
    comes in between, one fails although nothing is wrong with its source. It is made again then.

    Raises:
        SyntaxError, ValueError: it is no source.
        RecursionError: it is nested too deeply.
    """
    for _ in range(_TRIES):
        with suppress(SystemError, RecursionError):
            return ast.parse(source)
    return ast.parse(source)
