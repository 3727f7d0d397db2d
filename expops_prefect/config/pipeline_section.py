"""Write a graph into ``project_config.yaml`` without changing comments or anything else."""

from __future__ import annotations

import io
import os
import tempfile
from collections import Counter
from collections.abc import Collection, Sequence
from copy import deepcopy
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, Final

import yaml

from expops_prefect.config.document import Document
from expops_prefect.config.load import CONFIG_FILE
from expops_prefect.config.model import find_name
from expops_prefect.errors import ConfigurationError

_CRLF: Final = "\r\n"


@dataclass(frozen=True, slots=True)
class Written:
    """The result of writing.

    Attributes:
        file: the file.
        changed: whether it was written; a file that already has the graph is not.
        added: the processes that got an entry.
        charts: the processes whose entry got ``type: chart``.
    """

    file: Path
    changed: bool
    added: tuple[str, ...]
    charts: tuple[str, ...]


def write_pipeline(root: Path, adjacency: str, processes: Sequence[str], charts: Collection[str]) -> Written:
    """Set the pipeline's graph: ``process_adjlist``, and an entry in ``processes`` for each process.

    Existing entries keep all their keys. The file is replaced in one step, or not at all.

    Args:
        root: the project's root folder.
        adjacency: the graph; each line has a process and its successors.
        processes: the processes of the graph.
        charts: the processes that draw charts.

    Raises:
        ConfigurationError: the file is missing or wrong, or cannot be edited without other changes.
    """
    if Document(root, CONFIG_FILE).file is None:
        raise ConfigurationError(f"{root / CONFIG_FILE} does not exist; write it with: expops-prefect init")
    file = (root / CONFIG_FILE).resolve()
    text = file.read_bytes().decode()
    plain = text.replace(_CRLF, "\n")
    edited, added, drawn = _edited(file, plain, adjacency, processes, charts)
    if edited == plain:
        edited = text
    elif text.count(_CRLF) * 2 > text.count("\n"):
        edited = edited.replace("\n", _CRLF)
    if edited != text:
        try:
            _replace(file, text, edited)
        except OSError as error:
            raise ConfigurationError(f"{file}: cannot be written: {error.strerror}; it was not changed") from error
    return Written(root / CONFIG_FILE, edited != text, tuple(added), tuple(drawn))


def _edited(
    file: Path, text: str, adjacency: str, processes: Sequence[str], charts: Collection[str]
) -> tuple[str, list[str], list[str]]:
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap
    from ruamel.yaml.error import YAMLError
    from ruamel.yaml.scalarstring import LiteralScalarString
    from ruamel.yaml.util import load_yaml_guess_indent

    try:
        _, indent, offset = load_yaml_guess_indent(text)
        editor = YAML()
        editor.preserve_quotes = True
        editor.width = 1_000_000
        offset = offset or 0
        editor.indent(mapping=_mapping_indent(text) or indent or 2, sequence=offset + 2, offset=offset)
        document = editor.load(text)
        plain = io.StringIO()
        editor.dump(document, plain)
        buffer = io.StringIO()
        if document is None:
            buffer.write(text if not text or text.endswith("\n") else f"{text}\n")
            document = CommentedMap()
        pipeline = _pipeline(document, CommentedMap)
        if pipeline.get("process_adjlist") != adjacency:
            pipeline["process_adjlist"] = LiteralScalarString(adjacency)
        added, drawn = _add_processes(pipeline, processes, charts, CommentedMap)
        editor.dump(document, buffer)
    except (YAMLError, AttributeError, TypeError) as error:
        raise ConfigurationError(f"{file}: cannot be edited: {' '.join(str(error).split())}") from error
    edited = buffer.getvalue()
    if _same(text, edited):
        return text, added, drawn
    _check(file, text, edited, adjacency)
    # The editor reformats even what it does not change.
    kept = _merged(plain.getvalue(), text, edited)
    return kept if _is_good(file, text, edited, kept, adjacency) else edited, added, drawn


def _merged(base: str, text: str, edited: str) -> str:
    """Apply the edits of another formatting of a text to the text itself.

    Args:
        base: the text in that formatting.
        text: the text.
        edited: the edited base.
    """
    lines, own, others = (
        base.splitlines(keepends=True),
        text.splitlines(keepends=True),
        edited.splitlines(keepends=True),
    )
    # The lines of the text for each line of the base; there may be more in front of the first one.
    kept: list[list[str]] = [[] for _ in range(len(lines) + 1)]
    for _, i, j, k, m in SequenceMatcher(None, lines, own, autojunk=False).get_opcodes():
        if j - i == m - k:
            for place in range(j - i):
                kept[i + place + 1].append(own[k + place])
        else:
            kept[i if i == j else i + 1].extend(own[k:m])
    merged = list(kept[0])
    for what, i, j, k, m in SequenceMatcher(None, lines, others, autojunk=False).get_opcodes():
        merged += others[k:m] if what != "equal" else [line for part in kept[i + 1 : j + 1] for line in part]
    return "".join(merged)


def _is_good(file: Path, text: str, edited: str, kept: str, adjacency: str) -> bool:
    try:
        if not _same(edited, kept):
            return False
        _check(file, text, kept, adjacency)
    except (yaml.YAMLError, ConfigurationError):
        return False
    return True


def _pipeline(document: Any, new: Any) -> Any:
    """The section in use: ``experiment.pipeline``, or ``experiment.parameters.pipeline`` in older projects."""
    experiment = document.get("experiment")
    if experiment is None:
        experiment = document["experiment"] = new()
    older = experiment.get("parameters")
    place = experiment
    if experiment.get("pipeline") is None and older is not None and older.get("pipeline") is not None:
        place = older
    if place.get("pipeline") is None:
        place["pipeline"] = new()
    return place["pipeline"]


def _add_processes(
    pipeline: Any, processes: Sequence[str], charts: Collection[str], new: Any
) -> tuple[list[str], list[str]]:
    if pipeline.get("processes") is None:
        pipeline["processes"] = []
    entries = pipeline["processes"]
    added, drawn = [], []
    for process in processes:
        entry = find_name({item["name"]: item for item in entries}, process)
        if entry is None:
            entry = new(name=process)
            entries.append(entry)
            added.append(process)
        if process in charts and "type" not in entry and "probe_paths" not in entry:
            entry["type"] = "chart"
            drawn.append(process)
    return added, drawn


def _mapping_indent(text: str) -> int | None:
    """The indentation of nested keys in most of the file: the editor uses one width for all."""
    keys: Counter[int] = Counter()
    seen: set[int] = set()
    waiting = [yaml.compose(text, yaml.SafeLoader)]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                waiting.append(value)
                inside = value.start_mark.line > key.start_mark.line
                if inside and isinstance(value, yaml.MappingNode) and not value.flow_style:
                    keys[value.start_mark.column - key.start_mark.column] += len(value.value)
    return max(keys, key=lambda width: (keys[width], -width), default=None)


def _same(text: str, edited: str) -> bool:
    return bool(yaml.safe_load(text) == yaml.safe_load(edited))


def _check(file: Path, text: str, edited: str, adjacency: str) -> None:
    """Check that only the pipeline's graph differs, and that all comments are kept.

    Raises:
        ConfigurationError: they are not, or more differs.
    """
    before, after = yaml.safe_load(text) or {}, yaml.safe_load(edited)
    written = _without_graph(after)
    lost = _comments(text) - _comments(edited)
    if adjacency not in _adjacencies(after) or _without_graph(before) != written or lost:
        raise ConfigurationError(
            f"{file}: writing the graph would change more than the graph, so the file was not changed; "
            "copy the output of expops-prefect graph into experiment.pipeline"
        )


def _comments(text: str) -> set[str]:
    """The comment lines; similar lines inside a multi-line text are not comments."""
    inside: set[int] = set()
    for event in yaml.parse(text, yaml.SafeLoader):
        if isinstance(event, yaml.ScalarEvent) and event.start_mark and event.end_mark:
            inside.update(range(event.start_mark.line + 1, event.end_mark.line))
    lines = enumerate(text.splitlines())
    return {line.strip() for number, line in lines if number not in inside and line.lstrip().startswith("#")}


def _adjacencies(document: Any) -> list[Any]:
    experiment = document["experiment"]
    sections = (experiment.get("pipeline"), (experiment.get("parameters") or {}).get("pipeline"))
    return [section.get("process_adjlist") for section in sections if section]


def _without_graph(document: Any) -> Any:
    """A document without its graph: edges, entries with only a name, and chart types."""
    rest = deepcopy(document)
    experiment = rest.get("experiment") or {}
    for place in (experiment, experiment.get("parameters") or {}):
        pipeline = place.get("pipeline") or {}
        pipeline.pop("process_adjlist", None)
        entries = [
            {name: value for name, value in entry.items() if (name, value) != ("type", "chart")}
            for entry in pipeline.pop("processes", None) or []
        ]
        pipeline["processes"] = [entry for entry in entries if set(entry) != {"name"}]
        place["pipeline"] = {name: value for name, value in pipeline.items() if value}
        if not place["pipeline"]:
            del place["pipeline"]
    rest["experiment"] = experiment
    return rest if experiment else {name: value for name, value in rest.items() if name != "experiment"}


def _replace(file: Path, text: str, edited: str) -> None:
    """Replace the text of the file, unless somebody changed it meanwhile."""
    handle, name = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as target:
            target.write(edited.encode())
            target.flush()
            os.fsync(target.fileno())
        temporary.chmod(file.stat().st_mode & 0o7777)
        if file.read_bytes().decode() != text:
            raise ConfigurationError(f"{file}: was changed meanwhile and is not overwritten; run this again")
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
