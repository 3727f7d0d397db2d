"""Exceptions that objects of other packages raise while they are fingerprinted."""

from __future__ import annotations

import asyncio
from typing import Final

_FOR_THE_FLOW: Final = (KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError)
_MOST_SAID: Final = 200


def is_for_the_flow(error: BaseException) -> bool:
    """Whether an exception is meant to end the flow: an interrupt, a cancellation, one of Prefect's own.

    Other :class:`BaseException`, such as the panics of libraries written in Rust, are errors of an object.
    """
    if isinstance(error, Exception):
        return False
    return isinstance(error, _FOR_THE_FLOW) or type(error).__module__.partition(".")[0] == "prefect"


def said(error: BaseException) -> str:
    """Describe an exception in a few words; its own methods may raise too."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - a user's exception class may raise
        text = ""
    name = type(error).__name__
    first = text.strip().partition("\n")[0][:_MOST_SAID]
    return f"{name}: {first}" if first else name
