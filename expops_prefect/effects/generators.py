"""Detects whether a body drew from the process's global random generators.

This is checked twice around every task, so the states are not copied. Both Mersenne Twisters are read in place in
memory: 624 words and a position. Any draw moves the position or generates new words.
"""

from __future__ import annotations

import base64
import ctypes
import functools
import importlib
import random
import struct
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import lru_cache
from types import ModuleType
from typing import Any, Final

import orjson

from expops_prefect._internal.process import ForkSafeLock, is_being_imported, of_process

_FRESH: Final = (623, 624)
"""The positions of numpy's global generator before the first draw."""
_DRAWS_AT_IMPORT: Final = {"random": "rich.style"}
"""By generator, a module that draws once when it is imported, without effect on what it computes."""
_DRAW_ALONGSIDE: Final = (
    *("coolname", "websockets.asyncio.connection", "websockets.client", "websockets.legacy.protocol"),
    *("websockets.legacy.client", "prefect.utilities.math", "prefect._internal._observation_delivery"),
    *("prefect.input.run_input", "google.api_core.retry.retry_base"),
)
"""Modules that draw for Prefect, in any thread: for names of runs, keep-alives and waits."""
_IMPORTED: Final = "imported"
_OTHERS: Final = "others"
_Words: Final = ctypes.c_uint32 * 625


class _Draws:
    """The known state of the global generators of this process.

    Attributes:
        lock: held while draws in a module begin to be counted.
        alongside: how often the modules that draw for Prefect have drawn.
        waiting: those of them that are not imported yet.
        numpy: numpy's state when it was last read, because reading it takes longer than a small task.
    """

    def __init__(self) -> None:
        self.lock = ForkSafeLock()
        self.alongside = 0
        self.waiting: tuple[str, ...] = _DRAW_ALONGSIDE
        self.numpy: dict[str, Any] = {}


def snapshot(leave_out: Collection[str]) -> dict[str, Any]:
    """The states of the global generators, except those that a body seeds itself."""
    states = {name: state(module) for name, module, state in _generators() if name not in leave_out}
    states[_IMPORTED] = [name for name in _DRAWS_AT_IMPORT.values() if name in sys.modules]
    states[_OTHERS] = of_process(_Draws).alongside
    return states


def drawn(before: dict[str, Any], leave_out: Collection[str]) -> list[str]:
    """The generators whose state has changed."""
    found = []
    for name, module, state in _generators():
        if name in leave_out:
            continue
        if name not in before:
            if name == "numpy" and _numpy_position(module)[1] not in _FRESH:
                found.append(name)  # numpy was imported by the body
        elif state(module) != before[name]:
            if name == "random" and before[_OTHERS] != of_process(_Draws).alongside:
                continue  # it is unknown which code moved it
            importing = _DRAWS_AT_IMPORT.get(name)
            if importing is None or importing in before[_IMPORTED] or importing not in sys.modules:
                found.append(name)
    return found


def left_behind(seeded: Collection[str]) -> str:
    """The states of the generators that a body seeded, for :func:`restore`; empty if it seeded none."""
    states = {}
    if "random" in seeded:
        version, words, gauss = random.getstate()
        states["random"] = [version, _packed(words), gauss]
    if "numpy" in seeded and "numpy.random" in sys.modules:
        kind, words, *rest = sys.modules["numpy.random"].get_state()
        states["numpy"] = [kind, _packed(words.tolist()), *rest]
    if "torch" in seeded and "torch" in sys.modules:
        states["torch"] = [base64.b64encode(sys.modules["torch"].get_rng_state().numpy().tobytes()).decode()]
    return orjson.dumps(states).decode() if states else ""


def restore(states: str) -> None:
    """Set the generators to the state in which a body left them that is not executed now."""
    for name, (first, *rest) in orjson.loads(states).items():
        if name == "random":
            random.setstate((first, tuple(_unpacked(rest[0])), rest[1]))
        elif name == "numpy":
            import numpy as np

            np.random.set_state((first, np.array(_unpacked(rest[0]), np.uint32), *rest[1:]))
        elif name == "torch":
            torch = importlib.import_module("torch")
            torch.set_rng_state(torch.frombuffer(bytearray(base64.b64decode(first)), dtype=torch.uint8))


def _packed(words: Sequence[int]) -> str:
    return base64.b64encode(struct.pack(f"<{len(words)}I", *words)).decode()


def _unpacked(text: str) -> list[int]:
    data = base64.b64decode(text)
    return list(struct.unpack(f"<{len(data) // 4}I", data))


def install() -> None:
    """Count Prefect's draws in modules that were imported since the last call."""
    here = of_process(_Draws)
    loaded = sys.modules
    if not any(name in loaded for name in here.waiting):
        return
    with here.lock:
        imported = [name for name in here.waiting if name in loaded and not is_being_imported(loaded[name])]
        for module in map(loaded.__getitem__, imported):
            for key, value in list(vars(module).items()):
                if value is random:
                    setattr(module, key, _Counting("random", random.__doc__))
                elif getattr(value, "__self__", None) is random.random.__self__:  # type: ignore[attr-defined]
                    setattr(module, key, _counted(value))
        here.waiting = tuple(name for name in here.waiting if name not in imported)


class _Counting(ModuleType):
    """A proxy of :mod:`random` for modules that draw for Prefect, which counts draws."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(random, name)
        return _counted(value) if callable(value) and not isinstance(value, type) else value


def _counted(draw: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(draw)
    def counted(*args: Any, **kwargs: Any) -> Any:
        of_process(_Draws).alongside += 1
        return draw(*args, **kwargs)

    return counted


def _generators() -> Iterator[tuple[str, Any, Callable[[Any], Any]]]:
    yield "random", getattr(random, "_inst", None), _python
    # Modules that another thread is still importing have no generator yet.
    numpy = getattr(sys.modules.get("numpy.random.mtrand"), "_rand", None)
    if numpy is not None:
        yield "numpy", numpy, _numpy
    torch = getattr(sys.modules.get("torch.random"), "default_generator", None)
    if torch is not None:
        yield "torch", torch, _torch


def _torch(generator: Any) -> Any:
    return generator.get_state().numpy().tobytes()


def _python(generator: Any) -> Any:
    if type(generator) is not random.Random or not _has_known_layout():
        return random.getstate()
    words = _Words.from_address(id(generator) + object.__basicsize__)
    return words[0], words[1], words[2], words[624], generator.gauss_next  # type: ignore[attr-defined]


@lru_cache(maxsize=1)
def _has_known_layout() -> bool:
    """Whether Python's generator has the known memory layout, the same in all versions: position, then words."""
    generator = random.Random(1)  # noqa: S311 - only its memory is read
    if random.Random.__basicsize__ < object.__basicsize__ + ctypes.sizeof(_Words):
        return False
    for _ in range(2):
        generator.random()
        words = _Words.from_address(id(generator) + object.__basicsize__)
        state = generator.getstate()[1]
        if tuple(words) != (state[624], *state[:624]):
            return False
    return True


def _numpy(generator: Any) -> Any:
    """The generator's position, and the normal deviate that it keeps for the next call, because it makes them in pairs.

    Reading the deviate copies the whole state, which takes a tenth of a millisecond. This is avoided if there was none
    before, because one cannot appear without a change of the position.
    """
    position = _numpy_position(generator)
    known = of_process(_Draws).numpy
    if known.get("position") == position and known["deviate"] == (0, 0.0):
        return position, (0, 0.0)
    whole = generator.get_state(legacy=False)
    deviate = whole["has_gauss"], whole["gauss"] if whole["has_gauss"] else 0.0
    known.update(position=position, deviate=deviate)
    return position, deviate


def _numpy_position(generator: Any) -> tuple[Any, ...]:
    bits = generator._bit_generator
    if type(bits).__name__ != "MT19937":  # numpy.random.set_bit_generator
        return id(bits), repr(bits.state)
    address = _address(bits)
    words = _Words.from_address(address)  # numpy publishes the address; the position comes last
    return address, words[624], words[0], words[1], words[623]


@lru_cache(maxsize=8)
def _address(bits: Any) -> int:
    return int(bits.ctypes.state_address)
