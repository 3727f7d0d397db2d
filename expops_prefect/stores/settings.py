"""The interface of a backend: subclass one of these two for a KV store or an object store of your own.

A subclass is a frozen pydantic model of the configuration. :meth:`StoreSettings.configured` reads the
section of ``project_config.yaml``; ``open`` makes the store. Register the class as an entry point of the group
``expops_prefect.kv_stores`` or ``expops_prefect.object_stores``; the entry point's name is the ``type`` that
you write.
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
    """The project whose store is opened.

    Attributes:
        project_id: separates the data of projects that share a store.
        runtime_dir: the folder for files of this machine, such as local copies.
        config_file: the configuration file, for messages.
    """

    project_id: str
    runtime_dir: Path
    config_file: str


@dataclass(frozen=True)
class ForExpOps:
    """The settings with which ExpOps' own servers find a store.

    Attributes:
        section: the store's section of their ``project_config.yaml``; the server publishes it, so no credentials.
        environment: environment variables for their process.
    """

    section: Mapping[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict)


@runtime_checkable
class Counting(Protocol):
    """A store whose operations cost money counts them.

    Attributes:
        calls: operations so far. KV stores count documents as ``reads`` and ``writes``, object stores
            requests as ``reads``, ``stats`` and ``writes``.
    """

    calls: Counter[str]


class StoreSettings(BaseModel):
    """The configuration of a store.

    Attributes:
        kind: the canonical name of its type.
        title: its name in sentences, for example ``Firestore``.
        is_remote: operations cross the network: poll less often, send several at once.
        is_shared: other machines with the same configuration use the same data.
        is_billed: each operation costs money: poll less often.
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
        """Read the section. By default each field has a key of the same name; relative paths start at the root.

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
        """Extra lines for ``expops-prefect doctor``, besides the one that writes, reads and removes an entry."""
        return iter(())

    def for_expops(self) -> ForExpOps | None:
        """The settings with which ExpOps' own servers read this store; ``None`` if they cannot."""
        return None


class KVSettings(StoreSettings, ABC):
    """The configuration of a KV store."""

    @abstractmethod
    def open(self, place: Place) -> KVStore:
        """Make the store. It connects when it is first used.

        Raises:
            ConfigurationError: credentials are missing.
        """

    def may_hold_runs(self) -> bool:
        """Whether anything can have been recorded. Must not create anything."""
        return True


class ObjectSettings(StoreSettings, ABC):
    """The configuration of an object store."""

    @abstractmethod
    def open(self, place: Place) -> ObjectStore:
        """Make the store. It connects when it is first used.

        Raises:
            ConfigurationError: credentials are missing.
        """

    def local_folder(self, place: Place) -> Path:
        """The folder of this machine that holds the objects, or copies of them."""
        return place.runtime_dir / "downloads"
