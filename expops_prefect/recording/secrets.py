"""What must not stand in a record: told by its name, or by its own form."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

HIDDEN: Final = "not shown"
_MASK: Final = "***"
_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_ANYWHERE: Final = re.compile(
    "secret|password|passwd|passphrase|credential|authori[sz]ation|authentication|cookie|bearer"
)
"""These mean nothing else, whatever they are joined with."""
_WORD: Final = re.compile(
    r"(?:o?auth|dsn|jwt|otp|creds?|pwd|private|session(?:id|key)?"
    r"|\w*tokens?|(?!(?:mon|don|tur|hoc|joc|lac|whis)keys?$)\w*keys?|key(?:file|pair|ring|store|tab)s?)"
)
"""As words by themselves: an author, a keyboard or a tokenizer is no secret."""
_LONGEST: Final = 2000
"""Characters of a text that are looked at, and kept: no more than a small part of them is shown."""
_LONG_USER: Final = 20

_URL: Final = re.compile(r"(://[^\s:/@]*):(?!\d+(?:[/?#\s]|$))\S*@")
_URL_TOKEN: Final = re.compile(rf"(://)[^\s:/@]{{{_LONG_USER},}}@")
_SCHEME: Final = re.compile(r"((?:^|authorization\W+)(?:basic|bearer)|\bbearer)\s+\S+", re.IGNORECASE)
_NAMED: Final = re.compile(r"([A-Za-z][\w.-]*)[\"']?\s*[:=]\s*([\"']?)")
_NAMED_VALUE: Final = {quote: re.compile(f"[^{quote}]+") for quote in ("'", '"')} | {"": re.compile(r"[^\s\"'&;,}]+")}
_ARGUMENT: Final = re.compile(r"(?<!\S)(--?[A-Za-z][\w-]*)(\s+)(?!--)(\S+)")
_OPTION: Final = re.compile(r"--?[A-Za-z][\w-]*")


def is_secret(name: str) -> bool:
    """Whether what has this name is one, as far as names tell."""
    words = [word.lower() for word in _WORDS.findall(name)]
    return (
        any(map(_WORD.fullmatch, words))
        or words[-1:] == ["pass"]
        or _ANYWHERE.search(name.lower().replace("_", "").replace("-", "")) is not None
    )


def masked(value: Any) -> Any:
    """A value without its secrets: those of dictionaries by name, of command lines by option, of texts by form."""
    if isinstance(value, Mapping):
        named = value.get("name", value.get("key"))
        hidden = isinstance(named, str) and is_secret(named)
        return {
            str(name): HIDDEN if is_secret(str(name)) or (hidden and name == "value") else masked(item)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return _masked_items(value)
    return _masked_text(value) if isinstance(value, str) else value


def _masked_items(items: Sequence[Any]) -> list[Any]:
    shown = [masked(item) for item in items]
    for position, (item, _) in enumerate(pairwise(items), 1):
        # The value of an option, or of a pair that is one of a list of headers.
        named = isinstance(item, str) and (_OPTION.fullmatch(item) or (len(items) == 2 and position == 1))
        if named and is_secret(item):
            shown[position] = HIDDEN
    return shown


def _masked_text(text: str) -> str:
    text = text[:_LONGEST]
    if "PRIVATE KEY-----" in text:
        return HIDDEN
    text = _URL.sub(rf"\1:{_MASK}@", text)
    text = _URL_TOKEN.sub(rf"\1{_MASK}@", text)
    text = _SCHEME.sub(rf"\1 {_MASK}", text)
    text = _ARGUMENT.sub(lambda found: f"{found[1]}{found[2]}{_MASK}" if is_secret(found[1]) else found[0], text)
    parts, done = [], 0
    for named in _NAMED.finditer(text):
        value = _NAMED_VALUE[named[2]].match(text, named.end()) if is_secret(named[1]) else None
        if value is not None and named.start() >= done:
            parts += [text[done : named.end()], _MASK]
            done = value.end()
    return "".join([*parts, text[done:]])
