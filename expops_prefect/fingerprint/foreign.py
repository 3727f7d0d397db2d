"""What other people's objects raise while they are looked at."""

from __future__ import annotations

import asyncio
from typing import Final

_FOR_THE_FLOW: Final = (KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError)
_MOST_SAID: Final = 200


def is_for_the_flow(error: BaseException) -> bool:
    """Whether an exception ends the flow rather than comes of an object: an interrupt, a cancellation, Prefect's own.

    Others that are no :class:`Exception`, such as the panics of libraries written in Rust, come of objects.
    """
    if isinstance(error, Exception):
        return False
    return isinstance(error, _FOR_THE_FLOW) or type(error).__module__.partition(".")[0] == "prefect"


def said(error: BaseException) -> str:
    """An exception in a few words; its own methods may raise too."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - a user's own exception
        text = ""
    name = type(error).__name__
    first = text.strip().partition("\n")[0][:_MOST_SAID]
    return f"{name}: {first}" if first else name
