"""Read ``project_config.yaml`` and report what is wrong: file, key, the value found, the values allowed.

Possible secrets are never shown: the values of keys that look secret, the contents of sections, and
the lines of a file that is not YAML.
"""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel, ValidationError

from expops_prefect.config.model import ConfigFile
from expops_prefect.errors import ConfigurationError
from expops_prefect.stores.section import Setting, kind_of, shown_value, wrong_value

_ALLOWED: Final = {
    "string_type": "text (in quotes if it looks like a number)",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a number",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "list_type": "a list",
    "invalid_key": "keys that are text (in quotes if they look like numbers)",
}
# The errors of PyYAML for scalars that do not match their tag, such as 2024-13-01 or !!bool maybe.
_SCALAR_ERRORS: Final = (ValueError, LookupError, AttributeError, TypeError, OverflowError)


class Document:
    """A project's parsed configuration file.

    Args:
        root: the project's root folder.
        file: the configuration file, relative to it.

    Attributes:
        file: the file; ``None`` if there is none.
        content: its sections.
    """

    def __init__(self, root: Path, file: Path) -> None:
        path = root / file
        try:
            path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            self.file = None
            self.content = ConfigFile()
            return
        except OSError as error:
            raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
        self.file = path
        self.content = self._validated(_parsed(path))

    def setting(self, key: str, value: str | None) -> Setting | None:
        """A value of this file with its key; ``None`` for an empty one."""
        return Setting(value, str(self.file), key) if value else None

    def wrong(self, key: str, found: object, allowed: str) -> ConfigurationError:
        """The error for a value of this file that is not allowed."""
        return wrong_value(str(self.file or "the environment"), key, found, allowed)

    def _validated(self, raw: dict[Any, Any]) -> ConfigFile:
        try:
            return ConfigFile.model_validate(raw)
        except ValidationError as error:
            lines = [_line(item) for item in error.errors(include_url=False)]
            raise ConfigurationError(f"{self.file}: " + "; ".join(dict.fromkeys(lines))) from None


def _parsed(path: Path) -> dict[Any, Any]:
    try:
        value = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}; it must be a file") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"{path}: not YAML: byte {error.start} is 0x{error.object[error.start]:02x}, which is not UTF-8; "
            "save the file as UTF-8"
        ) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        what = ", ".join(part for part in (error.context, error.problem) if part)
        raise ConfigurationError(f"{path}: not YAML: {where}{what}") from None
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ConfigurationError(f"{path}: cannot be read: its sections are nested too deeply") from None
    except _SCALAR_ERRORS as error:
        raise ConfigurationError(f"{path}: not YAML: a value that does not fit its type: {error}") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigurationError(
            f"{path}: the file holds {kind_of(value)}; allowed: sections such as 'experiment:' and 'prefect:', "
            "each a mapping"
        )
    return value


class _Loader(yaml.SafeLoader):
    """Refuses a duplicate key in a mapping: one of the two values would be lost silently."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        seen: set[tuple[str, Hashable]] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            name = (key.tag, key.value)
            if name in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} occurs twice", problem_mark=key.start_mark)
            seen.add(name)
        return node


def _line(item: Any) -> str:
    path = [part for part in item["loc"] if part != "[key]"]
    key = _joined(path)
    if item["type"] == "extra_forbidden":
        allowed = _allowed_keys(path[:-1])
        close = difflib.get_close_matches(str(path[-1]), allowed, 1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        return f"{key} is not a known key; {hint}allowed: {', '.join(sorted(allowed))}"
    if item["type"] == "invalid_key" or "[key]" in item["loc"]:
        where = _joined(path[:-1]) or "the file"
        return f"{where} has the key {shown_value(path[-1])}; allowed: {_ALLOWED['invalid_key']}"
    if item["type"] == "missing":
        return f"{key} is missing"
    message = item["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return f"{key} is {shown_value(item.get('input'), key)}; allowed: {_ALLOWED.get(item['type'], message)}"


def _joined(path: Sequence[str | int]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def _allowed_keys(path: Sequence[str | int]) -> list[str]:
    model: type[BaseModel] = ConfigFile
    for part in path:
        # Keys of a mapping such as prefect.cache.processes are the user's; they do not change the model.
        if part in model.model_fields:
            model = _model_in(model.model_fields[str(part)].annotation) or model
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, getattr(annotation, "__args__", ()))), None)
