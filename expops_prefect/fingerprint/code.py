"""Fingerprints of functions: their code and all of the project's code that it refers to."""

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
"""Finds the effects of a function, given the functions of its graph, the classes of its objects, and marks."""
_MOST_KNOWN: Final = 512
_PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass(frozen=True)
class CodeFingerprint:
    """A function's fingerprint and what it was made of.

    Attributes:
        digest: 64 hexadecimal digits. Equal for equal code, wherever its files are.
        parts: a digest for each part, to find what differs between two fingerprints:
            ``module:qualname`` of functions and classes, ``const:module:NAME``,
            ``default:module:qualname``, ``closure:module:qualname:name``, ``lazy:module:name``,
            ``dist:name==version``, ``external:module:name`` of Python's library, ``python``.
        sources: the normalised source of the parts that have one.
        calls: the names of the tasks and flows that it refers to.
        imports_by_name: whether it imports modules by names given as strings, which may be in the arguments.
        unresolved: the functions that do so and for which no module's name was found.
        effects: what it does beside computing, as far as the code shows.
        guards: the objects that it refers to, and other conditions of its validity.
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
    """The fingerprints that this process knows, each with its guards and the object that its key identifies."""


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

    Comments, formatting, docstrings, signature annotations, line numbers and the location of files are
    left out. Global names are looked up at every call, so that rebinding a function, class or constant
    changes the fingerprint.

    Args:
        function: a function, method, class, Prefect task or flow, or any other callable.
        root: the project's folder; module constants that are paths below it are relative to it.
        classes: further classes that the function may use, for example those of its arguments.
        texts: strings that it receives; if it imports modules by name, the project's modules among them are included.
        marks: the kinds of effects of further callables by qualified name, see ``prefect.cache.effects``.
        analyse: finds what the code does beside computing; without it, ``effects`` is empty.
    """
    extra, given, marked = tuple(classes), frozenset(texts), frozenset(marks.items())
    function = original(function)
    while WRAPPER in (getattr(function, "__dict__", None) or ()):
        # Our wrapper around a task's function is a closure, which is not cached below; the function may be.
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
    # A function with a closure may be one of many that a loop creates, each with large values.
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
