"""The words in which effects are told: of the code, of a body that ran, and in the record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

Kind: TypeAlias = Literal[
    "clock",
    "random",
    "environment",
    "network",
    "database",
    "process",
    "file read",
    "file write",
    "state",
    "identity",
    "prefect",
    "lazy data",
    "person",
    "unknown",
]
KINDS: Final[tuple[str, ...]] = get_args(Kind)


@dataclass(frozen=True, slots=True, order=True)
class Effect:
    """One thing that a task does beside computing.

    Attributes:
        kind: what it touches.
        call: the call as its reader writes it, for example ``requests.get`` or ``df["b"] = …``; never an argument's
            value, which may be secret.
        file: the source file of the call; empty if it is not known.
        line: its line; 0 if it is not known.
        seedable: it draws from a global generator, which a configured ``random_seed`` makes repeatable.
    """

    kind: Kind
    call: str
    file: str = ""
    line: int = 0
    seedable: bool = False


@dataclass(frozen=True, slots=True)
class CodeEffects:
    """What the code of a task, with all of the project's own code that it refers to, tells before it runs.

    Attributes:
        effects: what forbids caching, the most telling first.
        environment: the environment variables that it reads by a name that stands in the code.
        variables: the Prefect Variables that it reads by a name that stands in the code.
        seeds: the global generators that it seeds itself: ``random``, ``numpy``, ``torch``.
        reads: the first few calls in it that read or list files or ask about them, for people.
        resolved: every call in it is to something that is known; without that a result of this very run is not
            handed on to an equal call.
        unresolved: the first few calls that are not known, for people.
    """

    effects: tuple[Effect, ...] = ()
    environment: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    seeds: frozenset[str] = frozenset()
    reads: tuple[str, ...] = ()
    resolved: bool = True
    unresolved: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Read:
    """A file or folder that a body read or listed, as it was when it was first opened.

    Attributes:
        path: its absolute path.
        listing: whether the names in a folder were asked for, rather than the content of a file.
        stamp: size, modification time in nanoseconds and inode when it was opened; ``None`` if it was absent. Of a
            folder that was not listed it tells no more than that it was there.
        dated: the stamp itself was asked for, as ``os.path.getmtime`` does: the same content at another time is
            another answer.
    """

    path: str
    listing: bool
    stamp: tuple[int, int, int] | None
    dated: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """What a body did while it ran, less what is harmless.

    Attributes:
        effects: what forbids caching.
        reads: files and folders that it read.
    """

    effects: tuple[Effect, ...] = ()
    reads: tuple[Read, ...] = ()
