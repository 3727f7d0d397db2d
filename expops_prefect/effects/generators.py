"""Whether a body drew from the generators of random numbers that a whole process shares."""

from __future__ import annotations

import random
import sys
from collections.abc import Collection, Iterator
from typing import Any, Final

_FRESH: Final = (623, 624)
"""Where numpy's global generator stands before anybody has drawn."""
_DRAWS_AT_IMPORT: Final = {"random": "rich.style"}
"""A module that draws once, when it is imported, and what it computes does not depend on that."""
_IMPORTED: Final = "imported"
_known: dict[str, Any] = {}  # numpy's state when it was last asked for: asking takes longer than a small task


def snapshot(leave_out: Collection[str]) -> dict[str, Any]:
    """The states of the global generators, but for those that a body seeds itself."""
    states = {name: state(module) for name, module, state in _generators() if name not in leave_out}
    states[_IMPORTED] = {name for name in _DRAWS_AT_IMPORT.values() if name in sys.modules}
    return states


def drawn(before: dict[str, Any], leave_out: Collection[str]) -> list[str]:
    """The generators whose state is another than before."""
    found = []
    for name, module, state in _generators():
        if name in leave_out:
            continue
        if name not in before:
            if name == "numpy" and _numpy_position(module)[1] not in _FRESH:
                found.append(name)  # numpy was imported by the body
        elif state(module) != before[name]:
            importing = _DRAWS_AT_IMPORT.get(name)
            if importing is None or importing in before[_IMPORTED] or importing not in sys.modules:
                found.append(name)
    return found


def _generators() -> Iterator[tuple[str, Any, Any]]:
    yield "random", random, _python
    # Modules that are still being imported elsewhere have no generator yet.
    numpy = getattr(sys.modules.get("numpy.random.mtrand"), "_rand", None)
    if numpy is not None:
        yield "numpy", numpy, _numpy
    torch = getattr(sys.modules.get("torch.random"), "default_generator", None)
    if torch is not None:
        yield "torch", torch, _torch


def _python(module: Any) -> Any:
    return module.getstate()


def _torch(generator: Any) -> Any:
    return generator.get_state().numpy().tobytes()


def _numpy(generator: Any) -> Any:
    """Where the generator stands, with the second of a pair of normal deviates that it keeps for the next call.

    The position is read where numpy publishes it. The deviate takes a copy of the whole state, a tenth of a
    millisecond; but where there was none, one cannot appear without the position changing.
    """
    position = _numpy_position(generator)
    if _known.get("position") == position and _known["deviate"] == (0, 0.0):
        return position, (0, 0.0)
    whole = generator.get_state(legacy=False)
    deviate = whole["has_gauss"], whole["gauss"] if whole["has_gauss"] else 0.0
    _known.update(position=position, deviate=deviate)
    return position, deviate


def _numpy_position(generator: Any) -> tuple[Any, ...]:
    import ctypes

    bits = generator._bit_generator
    if type(bits).__name__ != "MT19937":  # numpy.random.set_bit_generator
        return id(bits), repr(bits.state)
    address = bits.ctypes.state_address
    words = (ctypes.c_uint32 * 625).from_address(address)  # 624 words and the position among them
    return address, words[624], words[0], words[1], words[623]
