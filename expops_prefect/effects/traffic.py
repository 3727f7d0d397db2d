"""Hides Prefect's requests in a body's event loop: they connect in asyncio tasks without Prefect on the stack."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from expops_prefect.effects.chain import apart, running
from expops_prefect.fingerprint.identity import STANDS_FOR


def install() -> None:
    """Exclude the requests of Prefect's async client from observation, once it is imported."""
    client = getattr(sys.modules.get("prefect.client.base"), "PrefectHttpxAsyncClient", None)
    if client is not None and not hasattr(client.send, STANDS_FOR):
        client.send = _unseen(client.send)


def _unseen(send: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(send)
    async def unseen(*args: Any, **kwargs: Any) -> Any:
        if not running:
            return await send(*args, **kwargs)
        with apart():
            return await send(*args, **kwargs)

    setattr(unseen, STANDS_FOR, send)
    return unseen
