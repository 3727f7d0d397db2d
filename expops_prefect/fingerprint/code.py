"""Fingerprints of functions: their code and everything of the project's own that it refers to."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType, MappingProxyType
from typing import Any, Final, TypeAlias

from expops_prefect._internal.process import of_process
from expops_prefect.fingerprint import buffers
from expops_prefect.fingerprint.graph import WRAPPER, CodeGraph
from expops_prefect.fingerprint.guards import Guards
from expops_prefect.fingerprint.identity import original
from expops_prefect.models.effects import CodeEffects

__all__ = ["WRAPPER", "CodeFingerprint", "code_fingerprint"]

Analysis: TypeAlias = Callable[[Any, Iterable[FunctionType], Iterable[type], Iterable[tuple[str, str]]], CodeEffects]
"""Tells the effects of a function, given the functions and classes of its graph, those of its objects, and marks."""
_MOST_KNOWN: Final = 512
_PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass(frozen=True)
class CodeFingerprint:
    """A function's fingerprint and what it was made of.

    Attributes:
        digest: 64 hexadecimal digits. Equal for equal code, wherever its modules lie.
        parts: a digest for each part, to find what differs between two fingerprints:
            ``module:qualname`` of functions and classes, ``const:module:NAME``,
            ``default:module:qualname``, ``closure:module:qualname:name``, ``lazy:module:name``,
            ``dist:name==version``, ``external:module:name`` of Python's library, ``python``.
        sources: the normalised source of the parts that have one.
        calls: the names of the tasks and flows among what it refers to.
        imports_by_name: some of it imports modules whose names are texts, which may come with the arguments.
        unresolved: the functions that do so of which no name of a module was found.
        effects: what it does beside computing, as far as the code tells.
        guards: the objects that it refers to, and what else this rests on.
    """

    digest: str
    parts: Mapping[str, str]
    sources: Mapping[str, str]
    calls: frozenset[str] = frozenset()
    imports_by_name: bool = False
    unresolved: tuple[str, ...] = ()
    effects: CodeEffects = field(default_factory=CodeEffects)
    guards: Guards | None = field(default=None, repr=False, compare=False)


class _KnownCode(dict[object, tuple[Guards, CodeFingerprint, object]]):
    """The fingerprints that this process knows, each with what it holds for, and what its key names by identity."""


def code_fingerprint(
    function: Callable[..., object],
    *,
    root: Path | None = None,
    classes: Iterable[type] = (),
    texts: Iterable[str] = (),
    marks: Mapping[str, str] = MappingProxyType({}),
    analyse: Analysis | None = None,
) -> CodeFingerprint:
    """Fingerprint a function with all of the project's own code that it refers to.

    Comments, formatting, docstrings, signature annotations, line numbers and the place of files do
    not count. Global names are looked up at every call, so a function, class or constant that was
    bound anew is seen.

    Args:
        function: a function, method, class, Prefect task or flow, or any other callable.
        root: the project's folder; module constants that are paths below it count relative to it.
        classes: further classes that the function may use, for example those of its arguments.
        texts: texts that it is given; where it imports modules by name, those that name the project's count.
        marks: the kinds of effects of further callables by qualified name, as ``prefect.cache.effects`` has them.
        analyse: tells what the code does beside computing; without it nothing is told of that.
    """
    extra, given, marked = tuple(classes), frozenset(texts), frozenset(marks.items())
    function = original(function)
    while WRAPPER in (getattr(function, "__dict__", None) or ()):
        # Ours around a task's function is a closure, which is not remembered below; the function may be.
        function = function.__dict__["__wrapped__"]
    key = (id(function), root, frozenset(map(id, extra)), given, marked, analyse is None)
    graphs = of_process(_KnownCode)
    known = graphs.get(key)
    if known is not None and known[0].hold():
        return known[1]
    graph = CodeGraph(root)
    graph.add_root(function, extra, given)
    used = (*graph.classes, *graph.held.difference(graph.classes))
    effects = None if analyse is None else analyse(function, (*graph.functions, *graph.holds), used, marked)
    fingerprint = _described(graph, effects or CodeEffects())
    # A function with a closure may be one of many that are made in a loop, each with large values.
    if getattr(function, "__closure__", None) is None:
        if len(graphs) >= _MOST_KNOWN:
            graphs.clear()
        graphs[key] = graph.guards, fingerprint, (function, extra)
    return fingerprint


def _described(graph: CodeGraph, effects: CodeEffects) -> CodeFingerprint:
    parts: dict[str, str] = {"python": _PYTHON}
    sources: dict[str, str] = {}
    for node in graph.nodes[1:]:
        name = node.name
        if name in parts:
            if name.startswith("dist:"):
                continue
            number = 2
            while f"{name}#{number}" in parts:
                number += 1
            name = f"{name}#{number}"
        parts[name] = buffers.digest(name.encode() if name.startswith("dist:") else node.form).hex()
        if node.source is not None:
            sources[name] = node.source
    return CodeFingerprint(
        graph.digest(),
        parts,
        sources,
        calls=frozenset(graph.calls),
        imports_by_name=graph.imports_by_name,
        unresolved=tuple(graph.unresolved),
        effects=effects,
        guards=graph.guards,
    )
