"""Finds the source of compiled functions and classes, and verifies it.

A file may have been edited after it was imported. So source is used only if it compiles to the code
that runs; otherwise the compiled code is hashed.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from inspect import unwrap
from types import CodeType, FunctionType
from typing import Any, Final
from weakref import WeakKeyDictionary

from expops_prefect._internal.process import of_process
from expops_prefect.fingerprint import buffers, bytecode
from expops_prefect.fingerprint.parsing import parse
from expops_prefect.fingerprint.syntax import Chain, chains, normalised, quoted_chains

_MOST_CODES: Final = 20_000
_MOST_READS: Final = 100


@dataclass(frozen=True, slots=True)
class FunctionSource:
    """The constant facts of a function: the digest of its code, its source if there is one, its references."""

    digest: bytes
    source: str | None
    references: bytecode.References
    node: ast.AST | None = None
    """Its definition in the file, with decorators and line numbers."""


@dataclass(frozen=True, slots=True)
class ClassSource:
    """The same for a class statement; ``names`` are the names used outside its methods."""

    digest: bytes
    source: str
    names: tuple[Chain, ...]


class _Sources:
    """Caches sources in this process; loaded code does not change."""

    def __init__(self) -> None:
        # By identity: a code object never changes, and comparing two takes longer than the lookup.
        self.functions: dict[int, tuple[CodeType, FunctionSource]] = {}
        self.classes: WeakKeyDictionary[type, ClassSource | None] = WeakKeyDictionary()
        self.files: dict[str, _File] = {}


def function_source(code: CodeType, namespace: Mapping[str, Any]) -> FunctionSource:
    """The source and references of a code object; computed once per process.

    Args:
        namespace: the function's globals, which lead to the loader of a zip file.
    """
    functions = of_process(_Sources).functions
    known = functions.get(id(code))
    if known is not None:
        return known[1]
    references = bytecode.references(code)
    node = _find(code, namespace)
    if node is None:
        found = FunctionSource(b"bytecode" + bytecode.digest(code), None, references)
    else:
        found = FunctionSource(*_form(node), references, node)
    if len(functions) >= _MOST_CODES:
        functions.clear()
    functions[id(code)] = code, found
    return found


def class_source(cls: type, file: str | None, namespace: Mapping[str, Any]) -> ClassSource | None:
    """The source of a class statement; ``None`` if it cannot be found with certainty."""
    classes = of_process(_Sources).classes
    if cls in classes:
        return classes[cls]
    found = None
    node = _find_class(cls, file, namespace) if file else None
    if node is not None:
        digest, source = _form(node)
        names = chains(node, into_functions=False) | quoted_chains(node)
        found = ClassSource(digest, source, tuple(sorted(names)))
    classes[cls] = found
    return found


def plain_functions(cls: type) -> dict[str, FunctionType]:
    """The functions that a class body defines, including those in properties, class methods and similar wrappers."""
    found: dict[str, FunctionType] = {}
    for name, attribute in list(vars(cls).items()):  # a copy: another thread may set an attribute
        for part, function in _functions_in(attribute):
            found[f"{name}{part}"] = function
    return found


def _functions_in(attribute: Any) -> Iterator[tuple[str, FunctionType]]:
    if isinstance(attribute, FunctionType):
        yield "", attribute
    elif isinstance(attribute, (classmethod, staticmethod)):
        yield from _functions_in(attribute.__func__)
    elif isinstance(attribute, property):
        for part in ("fget", "fset", "fdel"):
            for _, function in _functions_in(getattr(attribute, part)):
                yield f".{part}", function
    else:
        state = getattr(attribute, "__dict__", None)
        if isinstance(state, dict):  # functools.cached_property, pydantic's and Prefect's wrappers
            for part in ("func", "wrapped", "fn"):
                inner = state.get(part)
                if isinstance(inner, FunctionType):
                    yield f".{part}", inner


def _form(node: ast.AST) -> tuple[bytes, str]:
    plain = normalised(node)
    return buffers.digest(ast.dump(plain).encode("utf-8", "surrogatepass")), ast.unparse(plain)


def definition_digest(node: ast.AST) -> bytes:
    """The digest that :func:`function_source` gives for the function defined here."""
    return _form(node)[0]


class _File:
    """A parsed and compiled source text."""

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        tree = parse(text)
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT  # as notebooks compile their cells
        compiled = compile(tree, file, "exec", flags=flags, dont_inherit=True)
        self.nodes: dict[str, list[tuple[int, ast.AST]]] = {}
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
                name = getattr(node, "name", "<lambda>")
                first = min((d.lineno for d in getattr(node, "decorator_list", ())), default=node.lineno)
                self.nodes.setdefault(name, []).append((min(first, node.lineno), node))
        self.codes: dict[tuple[str, int], list[CodeType]] = {}
        self._index(compiled)

    def _index(self, code: CodeType) -> None:
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                self.codes.setdefault((constant.co_name, constant.co_firstlineno), []).append(constant)
                self._index(constant)

    def function(self, code: CodeType) -> ast.AST | None:
        """The definition that compiles to this code: the one on its line, else one with its name."""
        wanted = bytecode.digest(code)
        nodes = self.nodes.get(code.co_name, [])
        for line, node in sorted(nodes, key=lambda entry: entry[0] != code.co_firstlineno):
            codes = self.codes.get((code.co_name, line), [])
            # Two lambdas on one line could be confused.
            if len(codes) == 1 and bytecode.digest(codes[0]) == wanted:
                return node
        return None

    def class_(self, cls: type) -> ast.AST | None:
        """The class statement whose functions compile to those of the class."""
        functions = [f for f in plain_functions(cls).values() if f.__qualname__.startswith(cls.__qualname__ + ".")]
        annotations = set(vars(cls).get("__annotations__", ()))
        for line, node in self.nodes.get(cls.__name__, []):
            codes = self.codes.get((cls.__name__, line), [])
            if not isinstance(node, ast.ClassDef) or len(codes) != 1:
                continue
            inner = {bytecode.digest(c) for c in codes[0].co_consts if isinstance(c, CodeType)}
            names = {
                s.target.id for s in ast.walk(node) if isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name)
            }
            mine = [unwrap(f).__code__ for f in functions]
            mine = [code for code in mine if not code.co_filename.startswith("<")]
            if all(bytecode.digest(code) in inner for code in mine) and annotations <= names:
                return node
        return None


def _find(code: CodeType, namespace: Mapping[str, Any]) -> ast.AST | None:
    return _in_file(code.co_filename, namespace, lambda parsed: parsed.function(code))


def _find_class(cls: type, file: str, namespace: Mapping[str, Any]) -> ast.AST | None:
    return _in_file(file, namespace, lambda parsed: parsed.class_(cls))


def _in_file(file: str, namespace: Mapping[str, Any], find: Callable[[_File], ast.AST | None]) -> ast.AST | None:
    """Search a file as it was read before, then as it is now.

    The searched version is kept in a local variable, because another thread may replace the cached file
    meanwhile, and that does not mean that this search has failed.
    """
    files = of_process(_Sources).files
    known = files.get(file)
    node = find(known) if known is not None else None
    if node is not None:
        return node
    text = _text(file, namespace)
    if not text or (known is not None and known.text == text):
        return None
    parsed = files.get(file)
    if parsed is None or parsed.text != text:
        try:
            parsed = files[file] = _File(text, file)
        except (SyntaxError, ValueError):
            return None
    return find(parsed)


def _text(file: str, namespace: Mapping[str, Any]) -> str:
    for _ in range(_MOST_READS):
        try:
            linecache.checkcache(file)
            return "".join(linecache.getlines(file, dict(namespace) if "__loader__" in namespace else None))
        except KeyError:  # another thread has just removed the file from linecache, to read it again
            continue
    return ""
