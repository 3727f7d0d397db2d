"""Prefect's requests in the event loop of a body: what connects runs in tasks that show no code of Prefect's."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from expops_prefect.effects.chain import apart, running
from expops_prefect.fingerprint.identity import STANDS_FOR


def install() -> None:
    """Let what Prefect's client does in an event loop not be seen, once the client has been imported."""
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
