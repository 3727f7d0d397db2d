"""What a backend says about itself: subclass one of these two for a KV store or an object store of your own.

A subclass is a frozen pydantic model of what was configured. :meth:`StoreSettings.configured` reads the
section of ``project_config.yaml``; ``open`` makes the store. Register the class as an entry point of the group
``expops_prefect.kv_stores`` or ``expops_prefect.object_stores``; the entry point's name is the ``type`` that
users write.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, ValidationError
from typing_extensions import Self

from expops_prefect.stores.kv.base import KVStore
from expops_prefect.stores.objects.base import ObjectStore
from expops_prefect.stores.section import Section

Verdict = Literal["ok", "warning", "failed"]


@dataclass(frozen=True)
class Check:
    """A line of ``expops-prefect doctor``.

    Attributes:
        name: what was checked.
        verdict: the outcome; ``failed`` makes the command end with exit code 1.
        found: what was found.
        advice: what to do about it.
    """

    name: str
    verdict: Verdict
    found: str
    advice: str = ""


@dataclass(frozen=True)
class Place:
    """Whose store is opened.

    Attributes:
        project_id: stores that several projects share keep their data apart by it.
        runtime_dir: the folder for files of this machine, such as local copies.
        config_file: the configuration file, for messages.
    """

    project_id: str
    runtime_dir: Path
    config_file: str


@dataclass(frozen=True)
class ForExpOps:
    """What ExpOps' own servers are given to find a store.

    Attributes:
        section: the store's section of their ``project_config.yaml``; without credentials, as it is served.
        environment: environment variables of their process.
    """

    section: Mapping[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict)


@runtime_checkable
class Counting(Protocol):
    """What a store also has whose cost differs from its calls.

    Attributes:
        calls: what was asked so far. KV stores count documents as ``reads`` and ``writes``, object stores
            requests as ``reads``, ``stats`` and ``writes``.
    """

    calls: Counter[str]


class StoreSettings(BaseModel):
    """What was configured about a store.

    Attributes:
        kind: the canonical name of its type.
        title: its name in sentences, for example ``Firestore``.
        is_remote: an operation crosses the network: wait longer between two looks, send several at once.
        is_shared: other machines with the same configuration use the same data.
        is_billed: each operation costs money: look less often.
        environment: the environment variables that :meth:`configured` reads.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: ClassVar[str]
    title: ClassVar[str]
    is_remote: ClassVar[bool] = True
    is_shared: ClassVar[bool] = True
    is_billed: ClassVar[bool] = False
    environment: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def configured(cls, section: Section) -> Self:
        """Read the section. By default each field is the key of its name; relative paths start at the root.

        Raises:
            ConfigurationError: a value is missing or wrong. The message names file, key and what is allowed.
        """
        try:
            found = cls.model_validate(dict(section.values))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = ".".join(map(str, first["loc"]))
            if first["type"] == "extra_forbidden":
                raise section.wrong(name, first["input"], f"only {', '.join(cls.model_fields)}") from None
            missing = first["type"] == "missing"
            message = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
            allowed = f"a value; {cls.kind} needs one" if missing else message
            raise section.wrong(name, None if missing else first["input"], allowed) from None
        paths = [name for name, value in found if isinstance(value, Path)]
        named = {name: setting.below(section.root) for name in paths if (setting := section.get(name))}
        return found.model_copy(update=named)

    def checks(self) -> Iterator[Check]:
        """More lines for ``expops-prefect doctor``, beside the one that writes, reads and removes an entry."""
        return iter(())

    def for_expops(self) -> ForExpOps | None:
        """What ExpOps' own servers need to read this store; ``None`` if they cannot."""
        return None


class KVSettings(StoreSettings, ABC):
    """What was configured about the KV store."""

    @abstractmethod
    def open(self, place: Place) -> KVStore:
        """Make the store. It connects when it is first used.

        Raises:
            ConfigurationError: credentials are missing.
        """

    def may_hold_runs(self) -> bool:
        """Whether anything can have been recorded. Looking must create nothing."""
        return True


class ObjectSettings(StoreSettings, ABC):
    """What was configured about the object store."""

    @abstractmethod
    def open(self, place: Place) -> ObjectStore:
        """Make the store. It connects when it is first used.

        Raises:
            ConfigurationError: credentials are missing.
        """

    def local_folder(self, place: Place) -> Path:
        """The folder of this machine that holds the objects, or copies of them."""
        return place.runtime_dir / "downloads"
