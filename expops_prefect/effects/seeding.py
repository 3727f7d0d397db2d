"""Seeds for the global generators of Python, numpy and torch: each process and step has its own."""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def derived_seed(base: int | None, *names: str) -> int:
    """A 32-bit seed for these names; the same in every process and on every machine."""
    text = "\0".join((str(base), *names))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the generators, and restore their states afterwards.

    So the code that follows draws the same numbers whether this was executed or came from the cache.
    """
    import numpy as np

    torch = sys.modules.get("torch")
    python, numeric = random.getstate(), np.random.get_state()
    tensors = None if torch is None else torch.random.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    if torch is not None:
        torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numeric)
        if torch is not None:
            torch.random.set_rng_state(tensors)
