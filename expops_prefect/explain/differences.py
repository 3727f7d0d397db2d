"""Differences between two cache keys of one task: parameters, configuration, code, versions."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import orjson

from expops_prefect._internal.redaction import is_secret_path, masked, masked_source, masked_text
from expops_prefect.explain.components import Code
from expops_prefect.fingerprint.value_summary import VALUE

Kind = Literal["input", "config", "data", "code", "package", "python", "policy", "process"]
_COLUMN: Final = re.compile(r"^\['(?P<name>[^']*)'\]$|^\[(?P<number>\d+)\]$")
_FRAME: Final = (".attrs", ".columns", ".index")
_MOST_DIFF: Final = 40
_MOST_PLACES: Final = 6
"""How many changed parts of an argument to name."""
_KINDS: Final = {
    "const": "constant",
    "default": "default values of",
    "closure": "closure variable",
    "lazy": "imported module",
    "external": "library function",
    "module": "module",
    "unbound": "unbound name",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between two keys.

    Attributes:
        kind: an argument, a key of the configuration, the data file, code, a package's or Python's version, the
            key of another policy, or a change made in the process.
        name: the parameter, the key, ``module:qualname``, or the package.
        text: one line for people.
        before: the former value; ``None`` if it was not kept or did not exist.
        after: the present value; ``None`` likewise.
        diff: for a changed source, lines of a unified diff.
        stable: whether somebody may have changed it; ``False`` if it differs each time.
    """

    kind: Kind
    name: str
    text: str
    before: str | None = None
    after: str | None = None
    diff: tuple[str, ...] = ()
    stable: bool = True


def named_stable(found: Difference, unstable: Mapping[str, Any]) -> Difference:
    """Mark a difference in parts that are never the same.

    Args:
        found: the difference.
        unstable: the names of the parts that are never the same, under ``inputs`` and ``code``.
    """
    section = {"input": "inputs", "code": "code"}.get(found.kind, "")
    if not found.name or found.name not in (unstable.get(section) or ()):
        return found
    kind, _, rest = found.name.partition(":")
    shown = f"parameter `{found.name}`" if found.kind == "input" else f"{_KINDS.get(kind, kind)} {rest}"
    text = f"{shown} is not stable: it differs each time although nobody changed it; see register_fingerprint()"
    return replace(found, text=text, stable=False)


def of_inputs(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    """Differences of the arguments; both mappings are the components under ``inputs``."""
    for name in (*after, *(name for name in before if name not in after)):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if old is None or new is None:
            what = "was added" if old is None else "was removed"
            yield Difference("input", name, f"parameter `{name}` {what}")
            continue
        for text in _of_value(_parts(old), _parts(new)):
            yield Difference("input", name, f"parameter `{name}`{text}")


def of_others(before: list[str], after: list[str]) -> Iterator[Difference]:
    """Differences of the keys of other policies."""
    if before != after:
        yield Difference("policy", "", "the key of another policy (EXPOPS + …) changed")


def of_process(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Difference]:
    """Differences of what was changed in the process; both mappings are the components under ``process``."""
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            how = "changed" if name in after else "reset to its initial value"
            yield Difference("process", name, f"{name}: {how}")


def of_config(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Difference]:
    """Differences of the configuration; both mappings are the components under ``config``."""
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        shown_old, shown_new = _configured(name, old), _configured(name, new)
        if name == "data.path":
            yield Difference("data", name, _of_data(shown_old, shown_new), shown_old, shown_new)
            continue
        if old is None or new is None:
            value = shown_new if old is None else shown_old
            what = ("was added" if old is None else "was removed") + (f" ({value})" if value else "")
        elif shown_old is not None and shown_new is not None and shown_old != shown_new:
            what = f": {shown_old} -> {shown_new}"
        elif shown_old is not None and shown_old == shown_new:
            what = f"changed in a part of {shown_new} that is not shown"
        else:
            what = "changed"
        gap = "" if what.startswith(":") else " "
        yield Difference("config", name, f"configuration {name}{gap}{what}", shown_old, shown_new)


def of_code(before: Code, after: Code) -> Iterator[Difference]:
    """Differences of the code: changed, newly used, and no longer used components."""
    old, new = before.parts, after.parts
    if old.get("python") != new.get("python"):
        text = f"Python {old.get('python')} -> {new.get('python')}"
        yield Difference("python", "python", text, old.get("python"), new.get("python"))
    packages_old, packages_new = _packages(old), _packages(new)
    for name in sorted({*packages_old, *packages_new}):
        one, two = packages_old.get(name), packages_new.get(name)
        if one != two:
            what = f"{one} -> {two}" if one and two else f"{two} is used now" if two else f"{one} is no longer used"
            yield Difference("package", name, f"package {name} {what}", one, two)
    for name in sorted({*old, *new}, key=lambda name: (name not in old or name not in new, name)):
        if name == "python" or name.startswith("dist:") or old.get(name) == new.get(name):
            continue
        yield _of_part(name, before, after)


def _of_part(name: str, before: Code, after: Code) -> Difference:
    one, two = _source(name, before), _source(name, after)
    kind, _, rest = name.partition(":")
    shown = f"{_KINDS[kind]} {rest}" if kind in _KINDS else f"code of {name}"
    if name not in before.parts or name not in after.parts:
        what = "is used now" if name in after.parts else "is no longer used"
        return Difference("code", name, f"{shown} {what}", one, two)
    if one is not None and two is not None and one != two and kind in _KINDS and "\n" not in one + two:
        return Difference("code", name, f"{shown}: {one} -> {two}", one, two)
    return Difference("code", name, f"{shown} changed", diff=_diff(one, two))


def _diff(one: str | None, two: str | None) -> tuple[str, ...]:
    if one is None or two is None:
        return ()
    lines = list(difflib.unified_diff(one.splitlines(), two.splitlines(), "before", "after", n=1, lineterm=""))[2:]
    return tuple(lines[:_MOST_DIFF] + (["…"] if len(lines) > _MOST_DIFF else []))


def _of_data(before: str | None, after: str | None) -> str:
    if before is None:
        return f"the data file {after} (data.path) was added"
    if after is None:
        return f"the data file {before} (data.path) was removed"
    return f"the data file {after} (data.path) changed" + ("" if before == after else f"; it was {before}")


def _packages(parts: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in parts:
        if part.startswith("dist:"):
            name, _, version = part.removeprefix("dist:").partition("==")
            found[name] = version
    return found


def _parts(value: Any) -> dict[str, str]:
    return dict(value) if isinstance(value, dict) else {"": str(value)}


def _value(text: str | None) -> str | None:
    """The value after the digest, if it was kept."""
    shown = None if text is None else text.partition(" ")[2]
    return shown or None


def _configured(name: str, text: str | None) -> str | None:
    """A configured value, without the secrets that an older release kept."""
    shown = _value(text)
    if shown is None or name == "data.path":
        return None if shown is None else masked_text(shown)
    if is_secret_path(name):
        return None
    try:
        return orjson.dumps(masked(orjson.loads(shown))).decode()
    except ValueError:
        return masked_text(shown)


def _source(name: str, code: Code) -> str | None:
    """A part's source, without the secrets that an older release kept."""
    source = code.sources.get(name)
    return None if source is None else masked_source(source, name)


def _of_value(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """The changes in an argument, each as a text to follow its name."""
    whole = _whole(old[""], new[""])
    if len(old) == 1 or len(new) == 1 or (_type(old[""]) != _type(new[""])):
        return [whole]
    frame = any(name in new for name in _FRAME)
    names = [
        name for name in (*new, *(name for name in old if name not in new)) if name and old.get(name) != new.get(name)
    ]
    columns = [name for name in names if _COLUMN.match(name)]
    if frame and columns:
        # The index of names adds no information.
        names = [name for name in names if name != ".columns"]
    found = [_of_place(name, old.get(name), new.get(name), frame=frame) for name in names]
    if len(found) > _MOST_PLACES:
        return [f"{whole}, in {len(found)} places"]
    return found or [whole]


def _of_place(name: str, old: str | None, new: str | None, *, frame: bool) -> str:
    match = _COLUMN.match(name) if frame else None
    if match is not None:
        place = f": column `{match['name'] or match['number'] or ''}`"
    elif frame and name in _FRAME:
        place = f": {'column names' if name == '.columns' else name[1:]}"
    else:
        place = f": `{name}`"
    if old is None or new is None:
        return place + (" was added" if old is None else " was removed")
    return f"{place}{_whole(old, new)}"


def _whole(old: str, new: str) -> str:
    """The change of a value as a whole: of its type, its shape, or its content."""
    (kind_old, value_old), (kind_new, value_new) = _described(old), _described(new)
    if value_old and value_new:
        return f" changed: {value_old} -> {value_new}" if value_old != value_new else " changed"
    if kind_old == kind_new:
        return " changed"
    return f" changed: {kind_old} -> {kind_new}"


def _described(text: str) -> tuple[str, str]:
    """Type and shape of a part, and the value of a scalar without secrets; empty if not kept."""
    kind, _, value = (_value(text) or "").partition(VALUE)
    return kind, masked_text(value)


def _type(text: str) -> str:
    return _described(text)[0].partition("[")[0]
