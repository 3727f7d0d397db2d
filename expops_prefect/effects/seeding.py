"""The seeds of Python's, numpy's and torch's global random numbers: each process and step draws its own."""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def derived_seed(base: int | None, *names: str) -> int:
    """A seed of 32 bits for what has these names; the same in every process and on every machine."""
    text = "\0".join((str(base), *names))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from generators with this seed; afterwards they go on where they were.

    So what follows draws the same whether this was executed or came from the cache.
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
