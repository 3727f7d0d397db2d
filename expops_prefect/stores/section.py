"""The part of the configuration that describes a store, and error messages that name file and key.

Values that may be secret are never shown.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from expops_prefect._internal.redaction import is_secret_path, masked_text
from expops_prefect.errors import ConfigurationError

_MOST_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Setting:
    """A configured text and where it was set.

    Attributes:
        value: the text.
        place: the configuration file, or ``the environment``.
        key: the key there.
    """

    value: str
    place: str
    key: str

    def wrong(self, allowed: str, *, no_secret: bool = False) -> ConfigurationError:
        """The error for a value that is not allowed.

        Args:
            allowed: the values that are allowed.
            no_secret: show the value even if the key's name looks secret.
        """
        shown = shown_value(self.value, "" if no_secret else self.key)
        return ConfigurationError(f"{self.place}: {self.key} is {shown}; allowed: {allowed}")

    def below(self, root: Path) -> Path:
        """The value as a path; a relative one starts at the project's root.

        Raises:
            ConfigurationError: the value cannot be a path.
        """
        if "\0" in self.value:
            raise self.wrong("a path")
        try:
            return Path(os.path.normpath(root / Path(self.value).expanduser()))
        except RuntimeError as error:
            raise self.wrong("a path; there is no such user on this machine") from error


@dataclass(frozen=True, slots=True)
class Section:
    """A store's section of ``project_config.yaml``, with the environment.

    Attributes:
        root: the project's root folder.
        runtime_dir: the folder for files of this machine.
        file: the configuration file as messages show it; ``the environment`` if there is none.
        key: the section's key, for example ``experiment.cache.backend``.
        values: the section, without ``type``.
        environ: the environment.
        shared: for an object store, the section of the KV store, which ExpOps lets both use; else ``None``.
    """

    root: Path
    runtime_dir: Path
    file: str
    key: str
    values: Mapping[str, Any]
    environ: Mapping[str, str]
    shared: Section | None = field(default=None)

    def get(self, name: str) -> Setting | None:
        """A text of this section; ``None`` if it is absent or empty.

        Raises:
            ConfigurationError: the value is not text.
        """
        value = self.values.get(name)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise self.wrong(name, value, "text (in quotes, if it looks like a number)")
        return Setting(value, self.file, f"{self.key}.{name}")

    def environment(self, name: str) -> Setting | None:
        """An environment variable; ``None`` if it is absent or empty."""
        value = self.environ.get(name)
        return Setting(value, "the environment", name) if value else None

    def wrong(self, name: str, found: object, allowed: str) -> ConfigurationError:
        """The error that a key of this section is missing (``found`` is ``None``) or has the wrong value."""
        return wrong_value(self.file, f"{self.key}.{name}", found, allowed)


def wrong_value(place: str, key: str, found: object, allowed: str) -> ConfigurationError:
    """The error for a key whose value is not allowed."""
    return ConfigurationError(f"{place}: {key} is {shown_value(found, key)}; allowed: {allowed}")


def shown_value(value: object, key: str = "") -> str:
    """A configured value for a message: shortened, without secrets.

    Args:
        value: the value.
        key: its key, whose name tells whether the value is secret.
    """
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "true" if value else "false"
    if is_secret_path(key):
        return f"{kind_of(value)} (not shown)"
    if isinstance(value, int | float | str):
        try:
            text = repr(masked_text(value) if isinstance(value, str) else value)
        except ValueError:  # an integer beyond what Python prints
            return kind_of(value)
        return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"
    return kind_of(value)


def kind_of(value: object) -> str:
    """The kind of a value whose content must not be shown."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return f"a value of type {type(value).__name__}"
