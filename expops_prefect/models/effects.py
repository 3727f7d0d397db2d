"""The vocabulary of effects: in the code, in a body that ran, and in the record."""

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
    """One effect of a task besides computing.

    Attributes:
        kind: what it touches.
        call: the call as in the source, for example ``requests.get`` or ``df["b"] = …``; never an argument's
            value, which may be secret.
        file: the source file of the call; empty if unknown.
        line: its line; 0 if unknown.
        seedable: whether it draws from a global generator, which a configured ``random_seed`` makes repeatable.
    """

    kind: Kind
    call: str
    file: str = ""
    line: int = 0
    seedable: bool = False


@dataclass(frozen=True, slots=True)
class CodeEffects:
    """The findings in the code of a task, and in all of the project's code that it refers to, before it runs.

    Attributes:
        effects: the effects that forbid caching, the most important first.
        environment: the environment variables that it reads under a name given in the code.
        variables: the Prefect Variables that it reads under a name given in the code.
        seeds: the global generators that it seeds itself: ``random``, ``numpy``, ``torch``.
        reads: the first few calls that read, list or stat files, for people.
        resolved: whether every call goes to something known; if not, an equal call of the same run does not get
            its result.
        unresolved: the first few unknown calls, for people.
        may_draw: whether it calls a package that may draw from Python's global generator of random numbers.
        makes_files: whether it calls ``DataFile``, so that its result may contain files that it writes.
        hidden_writes: whether it may write files unobserved: in other processes, or by a compiled library.
    """

    effects: tuple[Effect, ...] = ()
    environment: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    seeds: frozenset[str] = frozenset()
    reads: tuple[str, ...] = ()
    resolved: bool = True
    unresolved: tuple[str, ...] = ()
    may_draw: bool = False
    makes_files: bool = False
    hidden_writes: bool = False


@dataclass(frozen=True, slots=True)
class Read:
    """A file or folder that a body read or listed, as it was when first opened.

    Attributes:
        path: its absolute path.
        listing: whether the names in a folder were read, not the content of a file.
        stamp: size, modification time in nanoseconds and inode when it was opened; ``None`` if it was absent. For a
            folder that was not listed, it only shows that the folder existed.
        dated: whether the stamp itself was read, as by ``os.path.getmtime``: then the same content at another time
            counts as a change.
        link: whether what the link says was read; the stamp is the link's own, the same for all that is no link.
        current: whether the path is the current folder, and only which folder that is was asked for.
        asked: whether only its existence was read.
        decides: whether code of the project asked, so that the answer may decide what the body does.
        rewritten: whether the body wrote it afterwards as a part of its result.
    """

    path: str
    listing: bool
    stamp: tuple[int, int, int] | None
    dated: bool = False
    link: bool = False
    current: bool = False
    asked: bool = False
    decides: bool = False
    rewritten: bool = False


@dataclass(frozen=True, slots=True)
class Write:
    """The first change of a file or folder by a body.

    Attributes:
        path: its absolute path; ``None`` if unknown.
        effect: the effect that it is, unless the file is part of the result.
        absent: whether the path did not exist before.
        partial: whether any previous content was kept, as in appending: the new content then depends on it.
        folder: whether a folder was created.
    """

    path: str | None
    effect: Effect
    absent: bool = False
    partial: bool = False
    folder: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """The effects of a body while it ran, without harmless ones.

    Attributes:
        effects: the effects that forbid caching.
        reads: files and folders that it read.
        writes: files and folders that it changed; each line of code with one is among the effects.
    """

    effects: tuple[Effect, ...] = ()
    reads: tuple[Read, ...] = ()
    writes: tuple[Write, ...] = ()
