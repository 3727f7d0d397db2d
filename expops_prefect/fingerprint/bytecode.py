"""Reads compiled code: the names it refers to, and a digest for code without source."""

from __future__ import annotations

import dis
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Any, Final

from expops_prefect.fingerprint.canonical import Walk
from expops_prefect.fingerprint.encoding_primitives import named, string
from expops_prefect.fingerprint.registry import resolve
from expops_prefect.fingerprint.syntax import Chain

_SILENT: Final = frozenset({"CACHE", "EXTENDED_ARG", "NOP", "RESUME", "PRECALL"})
_GLOBAL_LOADS: Final = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_FREE_LOADS: Final = frozenset({"LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF"})
_ATTRIBUTES: Final = frozenset({"LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR", "DELETE_ATTR"})
_FOLLOWS_POSITION: Final = frozenset({"__doc__", "__firstlineno__", "__static_attributes__"})
ANNOTATIONS: Final = frozenset({"__annotations__", "get_annotations", "get_type_hints", "getfullargspec", "signature"})
DOCUMENTATION: Final = frozenset({"__doc__", "getdoc"})
_LONGEST_NAME: Final = 300
SOURCE: Final = frozenset({"getsource", "getsourcelines", "getcomments", "findsource"})
REFLECTION: Final = ANNOTATIONS | DOCUMENTATION | SOURCE
"""Names by which code reads parts of the source that otherwise do not run."""
MODULES: Final = frozenset({"modules"})
FINDERS: Final = frozenset({"entry_points", "iter_entry_points"})
"""Names by which code looks for plugins."""
_NESTED_NAMES: Final = 0x10  # CO_NESTED: tells where a function is defined, not what it does


@dataclass(frozen=True, slots=True)
class Import:
    """An import that a function executes when it runs; if ``names`` is ``None``, it may use any name of the module."""

    module: str
    level: int
    names: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class References:
    """What compiled code refers to, including nested functions, in sorted order."""

    names: tuple[Chain, ...]
    free: tuple[Chain, ...]
    imports: tuple[Import, ...]
    strings: tuple[str, ...]
    """Strings that may name a module; used if the code imports modules by name."""
    reads: frozenset[str]
    """The names in :data:`REFLECTION`, :data:`FINDERS` and :data:`MODULES` that it uses."""


def references(code: CodeType) -> References:
    """Collect the references of a code object."""
    names: set[Chain] = set()
    free: set[Chain] = set()
    imports: set[Import] = set()
    strings: set[str] = set()
    reads: set[str] = set()
    for inner in _all_codes(code):
        reads.update((REFLECTION | FINDERS | MODULES).intersection(inner.co_names))
        instructions = _instructions(inner)
        aliases: dict[str, Import] = {}
        for index, instruction in enumerate(instructions):
            opname = instruction.opname
            if opname in _GLOBAL_LOADS:
                names.add((instruction.argval, *_attributes(instructions, index)))
            elif opname in _FREE_LOADS and instruction.argval in code.co_freevars:
                free.add((instruction.argval, *_attributes(instructions, index)))
            elif opname == "IMPORT_NAME":
                found = _import(instructions, index)
                imports.add(found)
                if found.names is None:
                    _note_alias(instructions, index, found, aliases)
            elif isinstance(instruction.argval, str) and opname.startswith(("LOAD_CONST", "RETURN_CONST")):
                strings.add(instruction.argval)
        imports = _narrowed(imports, aliases, code)
    used = {chain[0] for chain in free}
    # A cell that is only passed on, for example to a class body, is hashed as a whole.
    free.update((name,) for name in code.co_freevars if name not in used)
    return References(
        tuple(sorted(names)),
        tuple(sorted(free)),
        tuple(sorted(imports, key=lambda entry: (entry.module, entry.level, entry.names or ()))),
        tuple(sorted(filter(may_name_a_module, strings))),
        frozenset(reads),
    )


def may_name_a_module(text: str) -> bool:
    """Whether a string can name a module (``.near``), an object in one (``pkg.mod:f``), or a prefix (``pkg.``).

    Files that only ``import_module`` can import, and groups of entry points, may have a ``-`` in their names.
    """
    parts = text.replace(":", ".").replace("-", "_").strip(".").split(".")
    return len(text) <= _LONGEST_NAME and all(part.isidentifier() for part in parts)


def digest(code: CodeType) -> bytes:
    """A digest of what a code object does: its instructions with the constants and names they use.

    File, line numbers and docstrings are left out.
    """
    walk = Walk(resolve, lenient=True)
    steps: list[bytes] = []
    instructions = _instructions(code)
    for index, instruction in enumerate(instructions):
        following = instructions[index + 1] if index + 1 < len(instructions) else None
        if following is not None and following.opname == "STORE_NAME" and following.argval in _FOLLOWS_POSITION:
            continue
        steps.append(string(instruction.opname))
        value = instruction.argval
        if isinstance(value, CodeType):
            steps.append(digest(value))
        elif instruction.opcode in dis.hasjrel or instruction.opcode in dis.hasjabs or value is None:
            steps.append(walk.encode(instruction.arg))
        else:
            steps.append(walk.encode(value))
    shape = (
        code.co_name,
        code.co_argcount,
        code.co_posonlyargcount,
        code.co_kwonlyargcount,
        code.co_flags & ~_NESTED_NAMES,
        code.co_varnames,
        code.co_cellvars,
        code.co_freevars,
        getattr(code, "co_exceptiontable", b""),
    )
    return named("bytecode", walk.encode(shape), *steps)


def _all_codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _all_codes(constant)


def _instructions(code: CodeType) -> list[dis.Instruction]:
    return [instruction for instruction in dis.get_instructions(code) if instruction.opname not in _SILENT]


def _attributes(instructions: list[dis.Instruction], index: int) -> Iterator[str]:
    for instruction in instructions[index + 1 :]:
        if instruction.opname not in _ATTRIBUTES:
            return
        yield instruction.argval


def _import(instructions: list[dis.Instruction], index: int) -> Import:
    level, names = (instructions[index - back].argval for back in (2, 1))
    return Import(instructions[index].argval, int(level or 0), tuple(names) if names else None)


def _note_alias(instructions: list[dis.Instruction], index: int, found: Import, aliases: dict[str, Import]) -> None:
    """Note the local name of ``import a.b`` (bound to ``a``) or ``import a.b as c``."""
    following = instructions[index + 1]
    if following.opname == "STORE_FAST" and "." not in found.module:
        # A name that is bound twice may mean something else where it is used.
        aliases[following.argval] = Import("", 0, None) if following.argval in aliases else found
    elif following.opname == "IMPORT_FROM":
        for later in instructions[index + 2 : index + 8]:
            if later.opname == "STORE_FAST":
                aliases[later.argval] = Import("", 0, None) if later.argval in aliases else found
                return


def _narrowed(imports: set[Import], aliases: dict[str, Import], code: CodeType) -> set[Import]:
    """Replace whole modules by the names used of them, if a local name shows all uses."""
    for local, whole in aliases.items():
        if whole not in imports:
            continue
        used: set[str] | None = set()
        stores = 0
        for inner in _all_codes(code):
            instructions = _instructions(inner)
            for index, instruction in enumerate(instructions):
                argument: Any = instruction.argval
                if instruction.opname == "STORE_FAST" and argument == local:
                    stores += 1
                elif argument == local and instruction.opname in ("LOAD_FAST", "LOAD_FAST_CHECK"):
                    first = next(_attributes(instructions, index), None)
                    used = None if used is None or first is None else used | {first}
                elif argument == local or (isinstance(argument, tuple) and local in argument):
                    used = None if not isinstance(argument, tuple) or instruction.opname != "LOAD_CONST" else used
        if used and stores == 1:
            imports = (imports - {whole}) | {Import(whole.module, whole.level, tuple(sorted(used)))}
    return imports
