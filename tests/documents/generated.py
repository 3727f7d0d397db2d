"""The parts of the documents that are generated: the tables of the configuration and of the command line."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from cyclopts import App
from pydantic import BaseModel, StrictBool, StrictInt, StrictStr
from pydantic_core import PydanticUndefined

from expops_prefect.cli.main import app
from expops_prefect.config import model
from tests.cli.commands import commands_of

BEGIN: Final = "<!-- python -m tests.documents: begin -->"
END: Final = "<!-- python -m tests.documents: end -->"

SECTIONS: Final[Mapping[str, type[BaseModel]]] = {
    "prefect": model.PrefectSection,
    "prefect.cache": model.CacheSettings,
    "prefect.cache.processes.<name>": model.ProcessCache,
    "prefect.record": model.RecordSettings,
    "experiment.cache.backend": model.BackendSection,
    "experiment.cache.object_store": model.ObjectStoreSection,
    "experiment.pipeline": model.PipelineSection,
    "experiment.pipeline.processes[]": model.ProcessSection,
    "data": model.DataSection,
    "": model.ConfigFile,
}
"""The sections of the configuration, in the order of the page."""
LEGACY: Final = {model.ParametersSection, model.DataHashSection, model.ModelSection}
"""Places of older projects, which the page mentions in words."""
ENVIRONMENT: Final[Mapping[str, tuple[str, ...]]] = {
    "prefect.project_id": ("EXPOPS_PROJECT_ID",),
    "prefect.runtime_dir": ("EXPOPS_RUNTIME_DIR",),
    "experiment.cache.backend.type": ("MLOPS_KV_BACKEND",),
    "experiment.cache.backend.path": ("MLOPS_KV_PATH",),
    "experiment.cache.backend.gcp_project": ("GOOGLE_CLOUD_PROJECT",),
    "experiment.cache.backend.credentials_json": ("GOOGLE_APPLICATION_CREDENTIALS",),
    "experiment.cache.backend.emulator_host": ("FIRESTORE_EMULATOR_HOST",),
    "experiment.cache.backend.firebase_api_key": ("FIREBASE_API_KEY", "NEXT_PUBLIC_FIREBASE_API_KEY"),
    "experiment.cache.backend.host": ("MLOPS_REDIS_HOST",),
    "experiment.cache.backend.port": ("MLOPS_REDIS_PORT",),
    "experiment.cache.backend.db": ("MLOPS_REDIS_DB",),
    "experiment.cache.backend.password": ("MLOPS_REDIS_PASSWORD",),
    "experiment.cache.object_store.bucket": ("MLOPS_GCS_BUCKET",),
    "experiment.cache.object_store.region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "experiment.cache.object_store.endpoint": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "experiment.cache.object_store.profile": ("AWS_PROFILE",),
    "experiment.cache.object_store.account": ("AZURE_STORAGE_ACCOUNT_NAME",),
}
"""The variables that stand for a key."""
OTHER_VARIABLES: Final[Mapping[str, str]] = {
    "EXPOPS_PROJECT_ROOT": "the project's root folder; see [The project's root](#the-projects-root)",
    "STORAGE_EMULATOR_HOST": "the address of an emulator of Cloud Storage",
    "AZURE_STORAGE_CONNECTION_STRING": "the account of `azure`, with its key",
    "AWS_ACCESS_KEY_ID": "the key of `s3`, with `AWS_SECRET_ACCESS_KEY`",
    "AWS_SHARED_CREDENTIALS_FILE": "AWS' own file of credentials; without it `~/.aws/credentials`",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "the token of a web identity for `s3`, with `AWS_ROLE_ARN`",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "where a container's role is asked for",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "the same",
}
"""The variables that stand for no key."""

_TYPES: Final[Mapping[Any, str]] = {
    model.Duration: "duration",
    model.MappingMode: "`true`, `readonly`, `false`",
    model.Seconds: "seconds",
    model.Bytes: "bytes",
    model.FileName: "file name",
    model.EffectName: "dotted name",
    StrictBool: "`true`, `false`",
    StrictStr: "text",
    StrictInt: "number",
    bool: "`true`, `false`",
    float: "number",
    int: "number",
    str: "text",
    type(None): "",
    Any: "anything",
}


def generated(name: str) -> str | None:
    """The generated part of a page; ``None`` if it has none."""
    makers = {"docs/configuration.md": _configuration, "docs/command-line.md": _command_line}
    return makers[name]() if name in makers else None


def renewed(name: str, text: str) -> str:
    """A page with its generated part made anew."""
    part = generated(name)
    if part is None:
        return text
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{name} lacks the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{part.strip()}\n\n{END}{after}"


# Configuration -----------------------------------------------------------------------------------


def _configuration() -> str:
    return "\n\n".join([*(_section(key, cls) for key, cls in SECTIONS.items()), _variables()])


def _section(key: str, cls: type[BaseModel]) -> str:
    title = f"`{key}`" if key else "Other keys of the file"
    types, said = get_type_hints(cls, include_extras=True), attributes(cls)
    rows = []
    for name, field in cls.model_fields.items():
        path = f"{key}.{name}" if key else name
        if _is_section(path, types[name]):
            continue
        variables = ENVIRONMENT.get(path, ())
        also = f" Environment: {', '.join(f'`{variable}`' for variable in variables)}." if variables else ""
        rows.append((f"`{name}`", type_text(types[name]), _default(field.get_default(call_default_factory=True)),
                     sentence(said[name]) + also))  # fmt: skip
    return f"### {title}\n\n" + _table(("key", "type", "default", "what it does"), rows)


def _is_section(path: str, kind: object) -> bool:
    """Whether a key's value is a section with a table of its own, or one of older projects."""
    classes = {part for part in _parts(kind) if isinstance(part, type) and issubclass(part, BaseModel)}
    return bool(classes) and (path in SECTIONS or bool(classes & {*LEGACY, model.ExperimentSection}))


def _parts(kind: object) -> Iterator[object]:
    yield kind
    for part in get_args(kind):
        yield from _parts(part)


def type_text(kind: Any) -> str:
    """A type in words."""
    try:
        if kind in _TYPES:
            return _TYPES[kind]
    except TypeError:  # unhashable metadata
        pass
    arguments, origin = get_args(kind), get_origin(kind)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if hasattr(kind, "__metadata__"):
        return type_text(kind.__origin__)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return "section"
    if origin in (list, tuple):
        return f"list of {_plural(type_text(arguments[0]))}"
    if origin is dict:
        value = type_text(arguments[1])
        if value == "section":
            return "sections by name"
        return "mapping" if value == "anything" else f"mapping of {type_text(arguments[0])} to {value}"
    return " or ".join(filter(None, map(type_text, arguments)))


def _plural(text: str) -> str:
    return text + "s" if text[-1].isalpha() else text


def _default(value: object) -> str:
    if value is None or value is PydanticUndefined:
        return ""
    if value == "copy-on-write":
        return "`true`"
    if value == model.IGNORED:
        return "see below"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, BaseModel):
        return ""
    return f"`{value}`"


def _variables() -> str:
    rows = [(f"`{name}`", f"`{key}`") for key, names in ENVIRONMENT.items() for name in names]
    rows += [(f"`{name}`", what) for name, what in OTHER_VARIABLES.items()]
    ignored = ", ".join(f"`{name}`" for name in model.IGNORED)
    return (
        f"The default of `prefect.cache.ignore_files`: {ignored}.\n\n"
        "## Environment variables\n\nThe environment takes precedence over the file.\n\n"
        + _table(("variable", "stands for"), rows)
    )


# Command line ------------------------------------------------------------------------------------


def _command_line() -> str:
    found = [(words, _command(words)) for words in commands_of()]
    overview = _table(
        ("command", "what it does"),
        [(f"[`expops-prefect {words}`](#expops-prefect-{words.replace(' ', '-')})", paragraphs(command)[0])
         for words, command in found],
    )  # fmt: skip
    return "\n\n".join([overview, *(_shown(words, command) for words, command in found)])


def _command(words: str) -> App:
    command = app
    for word in words.split():
        command = command[word]
    return command


def example(command: App) -> str:
    """The example in a command's help."""
    (found,) = re.findall(r"^Example: (.+)$", _help(command), re.MULTILINE)
    return str(found)


def _help(command: App) -> str:
    function = command.default_command
    assert function is not None
    return inspect.getdoc(function) or ""


def paragraphs(command: App) -> list[str]:
    """What a command's help says, without example and arguments."""
    text = _help(command).partition("\nArgs:")[0].replace("``", "`")
    found = [" ".join(part.split()) for part in text.split("\n\n")]
    return [part for part in found if part and not part.startswith("Example:")]


def _shown(words: str, command: App) -> str:
    rows = []
    for argument in command.assemble_argument_collection(parse_docstring=True):
        positional = argument.field_info.kind is not argument.field_info.KEYWORD_ONLY
        name = argument.names[0]
        shown = " or ".join([f"`{name.lstrip('-').upper()}`"] * positional + [f"`{item}`" for item in argument.names])
        default = argument.field_info.default
        stated = "required" if argument.required else "" if default in (None, False, ()) else _default(default)
        help_ = (argument.parameter.help or "").replace("``", "`")
        rows.append((shown, stated, sentence(" ".join(help_.split()))))
    table = _table(("argument", "default", "what it does"), rows)
    said = "\n\n".join(paragraphs(command))
    return f"### `expops-prefect {words}`\n\n{said}\n\n```bash\n{example(command)}\n```\n\n{table}"


# Both --------------------------------------------------------------------------------------------


def attributes(cls: type) -> dict[str, str]:
    """What a class's docstring says of its attributes."""
    _, _, listed = (inspect.getdoc(cls) or "").partition("\nAttributes:\n")
    found: dict[str, str] = {}
    name = ""
    for line in listed.splitlines():
        if start := re.fullmatch(r" {4}(\w+): (.+)", line):
            name, found[start[1]] = start[1], start[2]
        elif line.startswith(" " * 8) and name:
            found[name] += " " + line.strip()
    return {name: text.replace("``", "`") for name, text in found.items()}


def sentence(text: str) -> str:
    """A phrase as a sentence."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in lines)
