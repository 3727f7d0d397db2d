"""Recognise secrets by their names or their form: the only filter for everything that is written.

Records, key components, kept sources, explanations, artifacts, errors and log lines all pass through it.
"""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

HIDDEN: Final = "not shown"
_MASK: Final = "***"
_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_ANYWHERE: Final = re.compile(
    "secret|password|passwd|passphrase|credential|authori[sz]ation|authentication|cookie|bearer|connectionstring"
)
"""These always mean a secret, whatever they are joined with."""
_WORD: Final = re.compile(
    r"(?:o?auth|dsn|jwt|otp|creds?|pwd|pw|private|sig|session(?:id|key)?"
    r"|\w*tokens?|(?!(?:mon|don|tur|hoc|joc|lac|whis)keys?$)\w*keys?|key(?:file|pair|ring|store|tab)s?)"
)
"""Only as whole words: an author, a keyboard or a tokenizer is not a secret."""
_LONGEST: Final = 2000
"""The most characters of a text to examine and keep: only a small part of them is shown."""
_LONG_USER: Final = 20

_URL: Final = re.compile(r"(://[^\s:/@]*):(?!\d+(?:[/?#\s]|$))\S*@")
_URL_TOKEN: Final = re.compile(rf"(://)[^\s:/@]{{{_LONG_USER},}}@")
_SCHEME: Final = re.compile(r"((?:^|authorization\W+)(?:basic|bearer)|\bbearer)\s+\S+", re.IGNORECASE)
_ISSUED: Final = re.compile(
    r"\b(?:(?:AKIA|ASIA)[0-9A-Z]{16}\b|AIza[\w-]{30,}|gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}"
    r"|xox[abeoprs]-[\w-]{10,}|[rs]k[-_](?:live|test|proj|ant)[-_][\w-]{16,}|sk-\w{20,}|hf_\w{20,}"
    r"|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+)|(?<=hooks\.slack\.com/services/)\S+"
)
"""The forms of keys that well-known services issue."""
_LOGIN: Final = re.compile(r"(?P<user>[^\s:/@\"']+):(?!\d+(?:[\"'\s]|$))[^\s\"']+")
_USER: Final = re.compile(
    rf"""((?<!\S)(?:-u\s*|--(?:proxy-)?user[\s=]+)["']?
    |(?:["'](?:-u|--(?:proxy-)?user)["']\s*,\s*["'])){_LOGIN.pattern}""",
    re.VERBOSE,
)
_CLIENT: Final = re.compile(
    r"(\b(?:(?:mysql|mariadb)\w*\s(?:[^|;&\n]*?\s)?-p|sshpass\s+-p\s*))(?=\S)(\"[^\"]*\"|'[^']*'|\S+)"
)
"""Logins with passwords, and passwords that directly follow the letter of their option."""
_NAMED: Final = re.compile(r"([A-Za-z][\w.-]*)[\"']?\s*([:=])\s*([\"']?)")
_NAMED_VALUE: Final = {quote: re.compile(f"[^{quote}]+") for quote in ("'", '"')} | {"": re.compile(r"[^\s\"'&;,}]+")}
_ARGUMENT: Final = re.compile(r"(?<!\S)(--?[A-Za-z][\w-]*)(\s+)(?!--)(\S+)")
_LISTED: Final = re.compile(r"""(["'])(--?[A-Za-z][\w-]*)\1(\s*,\s*["'])([^"']+)""")
_VALUE_OF: Final = re.compile(
    r"""(["'](?:name|key)["']\s*:\s*["']([\w.-]+)["']\s*,\s*["']value["']\s*:\s*["'])([^"']+)"""
)
"""Command lines and lists of names with values, as text."""
_USERS: Final = ("-u", "--user", "--proxy-user")
_OPTION: Final = re.compile(r"--?[A-Za-z][\w-]*")
_NAME: Final = re.compile(r"[\w.-]+")
_PLACE: Final = re.compile(r"%%|%[-#0 +]*\d*(?:\.\d+)?[a-zA-Z]")
"""A placeholder for an argument in a log line."""
_VALUES: Final = ("const:", "closure:", "default:")
"""The prefixes of parts whose source is a value."""


@lru_cache(maxsize=4096)
def is_secret(name: str) -> bool:
    """Whether a name suggests that its value is a secret."""
    words = [word.lower() for word in _WORDS.findall(name)]
    return any(map(_WORD.fullmatch, words)) or words[-1:] == ["pass"] or _is_unambiguous(name)


def _is_unambiguous(name: str) -> bool:
    return _ANYWHERE.search(name.lower().replace("_", "").replace("-", "")) is not None


def is_secret_path(path: str) -> bool:
    """Whether any part of a dotted key suggests that its value is a secret."""
    return any(map(is_secret, path.split(".")))


def masked(value: Any) -> Any:
    """A value without secrets: in dictionaries by name, in command lines by option, in texts by form."""
    if isinstance(value, Mapping):
        named = value.get("name", value.get("key"))
        hidden = isinstance(named, str) and is_secret(named)
        return {
            str(name): HIDDEN if is_secret(str(name)) or (hidden and name == "value") else masked(item)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return _masked_items(value)
    return masked_text(value[:_LONGEST]) if isinstance(value, str) else value


def _masked_items(items: Sequence[Any]) -> list[Any]:
    shown = [masked(item) for item in items]
    for position, (item, _) in enumerate(pairwise(items), 1):
        # The value of an option, or the second item of a pair, as in a list of headers.
        named = isinstance(item, str) and (_OPTION.fullmatch(item) or (len(items) == 2 and position == 1))
        follows = items[position]
        login = item in _USERS and isinstance(follows, str) and _LOGIN.fullmatch(follows)
        if login:
            shown[position] = f"{login['user']}:{_MASK}"
        elif named and is_secret(item):
            shown[position] = HIDDEN
    return shown


def masked_text(text: str) -> str:
    """A data text without secrets, which are recognised by their form or by the name before them."""
    if "PRIVATE KEY-----" in text:
        return HIDDEN
    text = _by_form(text)
    text = _ARGUMENT.sub(lambda found: f"{found[1]}{found[2]}{_MASK}" if is_secret(found[1]) else found[0], text)
    return _by_name(text, prose=False)


def masked_message(text: str) -> str:
    """A message without secrets, such as a log line or an error; after a colon the sentence may simply go on."""
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    if "PRIVATE KEY-----" in text:
        return HIDDEN
    return _by_name(_by_form(text), prose=True)


def masked_error(error: BaseException) -> str:
    """The type and message of an exception, without secrets."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - a user's own class
        text = ""
    return f"{type(error).__name__}: {masked_message(text)}" if text else type(error).__name__


def _by_form(text: str) -> str:
    text = _URL.sub(rf"\1:{_MASK}@", text)
    text = _URL_TOKEN.sub(rf"\1{_MASK}@", text)
    text = _SCHEME.sub(rf"\1 {_MASK}", text)
    text = _USER.sub(rf"\1\g<user>:{_MASK}", text)
    text = _CLIENT.sub(rf"\1{_MASK}", text)
    text = _ISSUED.sub(_MASK, text)
    text = _LISTED.sub(
        lambda found: (
            f"{found[1]}{found[2]}{found[1]}{found[3]}{_hidden(found[4])}" if is_secret(found[2]) else found[0]
        ),
        text,
    )
    return _VALUE_OF.sub(lambda found: f"{found[1]}{_hidden(found[3])}" if is_secret(found[2]) else found[0], text)


def _hidden(value: str) -> str:
    """The mask for a secret; leaves an existing mask unchanged."""
    return value if value == HIDDEN else _MASK


def _by_name(text: str, *, prose: bool) -> str:
    parts, done = [], 0
    for named in _NAMED.finditer(text):
        value = _NAMED_VALUE[named[3]].match(text, named.end()) if is_secret(named[1]) else None
        if value is None or named.start() < done or (prose and _is_prose(named, value[0])):
            continue
        parts += [text[done : named.end()], _hidden(value[0])]
        done = value.end()
    return "".join([*parts, text[done:]])


def _is_prose(named: re.Match[str], value: str) -> bool:
    """Whether a colon in a message is followed by prose, as in ``signing_key_file: it is gone``."""
    if named[2] == "=" or named[3]:
        return False
    if "." in named[1] or named[0][-1:] == ":":
        return True
    return value.isalpha() and not _is_unambiguous(named[1])


# Source code ------------------------------------------------------------------------------------


def masked_source(source: str, name: str = "") -> str:
    """Normalised source code, or the source of a constant, without secrets.

    Args:
        source: the code.
        name: the name of the part, see :class:`~expops_prefect.fingerprint.code.CodeFingerprint`.
    """
    if name.startswith(_VALUES) and is_secret(re.split("[:.]", name)[-1]):
        return repr(_MASK)
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "\n".join(masked_text(line) for line in source.splitlines())
    hidden = {id(item) for item in _named_constants(tree)}
    found = _Masking(hidden)
    found.visit(tree)
    shown = ast.unparse(tree) if found.changed else source
    # A text assembled from several parts, such as an f-string.
    return _URL.sub(rf"\1:{_MASK}@", shown)


class _Masking(ast.NodeTransformer):
    """Replaces constants by a mask."""

    def __init__(self, hidden: set[int]) -> None:
        self._hidden = hidden
        self.changed = False

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        value: Any = _MASK if id(node) in self._hidden else node.value
        if isinstance(value, str) and value != _MASK:
            value = masked_text(value)
        elif isinstance(value, bytes):
            text = value.decode("latin-1")
            value = value if masked_text(text) == text else _MASK
        if value == node.value and type(value) is type(node.value):
            return node
        self.changed = True
        return ast.copy_location(ast.Constant(value), node)


def _named_constants(tree: ast.AST) -> Iterator[ast.Constant]:
    """The constants that a name marks as secret: of a variable, a parameter, a key or an argument."""
    for node in ast.walk(tree):
        for name, value in _pairs(node):
            if not is_secret(name):
                continue
            for item in _constants(value):
                if _may_be_secret(item.value, name):
                    yield item


def _constants(node: ast.AST) -> Iterator[ast.Constant]:
    """The constants of a value, without those of a function's body (``key=lambda row: …``) and subscripts."""
    if isinstance(node, ast.Constant):
        yield node
    elif isinstance(node, ast.Subscript):
        yield from _constants(node.value)
    elif not isinstance(node, ast.Lambda):
        for inner in ast.iter_child_nodes(node):
            yield from _constants(inner)


def _may_be_secret(value: object, name: str) -> bool:
    if isinstance(value, str | bytes):
        return bool(value)
    # A number under a weak name, such as a number of tokens, is not a secret.
    return isinstance(value, int | float) and not isinstance(value, bool) and _is_unambiguous(name)


def _pairs(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Names with the nodes of their values."""
    if isinstance(node, ast.Assign):
        yield from ((name, node.value) for target in node.targets for name in _names(target))
    elif isinstance(node, ast.AnnAssign | ast.NamedExpr | ast.AugAssign) and node.value is not None:
        yield from ((name, node.value) for name in _names(node.target))
    elif isinstance(node, ast.keyword) and node.arg is not None:
        yield node.arg, node.value
    elif isinstance(node, ast.arguments):
        plain = [*node.posonlyargs, *node.args]
        yield from ((item.arg, value) for item, value in zip(reversed(plain), reversed(node.defaults), strict=False))
        named = zip(node.kwonlyargs, node.kw_defaults, strict=True)
        yield from ((item.arg, value) for item, value in named if value is not None)
    elif isinstance(node, ast.Dict):
        keys = zip(node.keys, node.values, strict=True)
        yield from ((name, value) for key, value in keys if key is not None for name in _names(key))
    elif isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        yield from ((name, side) for one in sides for name in _names(one) for side in sides if side is not one)
    elif isinstance(node, ast.Call | ast.Tuple | ast.List):
        items = node.args if isinstance(node, ast.Call) else node.elts
        yield from ((name, value) for one, value in pairwise(items) if _is_text(one) for name in _names(one))


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Attribute):
        yield node.attr
    elif isinstance(node, ast.Subscript):
        yield from _names(node.slice)
    elif isinstance(node, ast.Tuple | ast.List):
        for item in node.elts:
            yield from _names(item)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _NAME.fullmatch(node.value):
        yield node.value


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


# The log ----------------------------------------------------------------------------------------


class Redacting(logging.Filter):
    """Removes secrets from every record of a logger."""

    def filter(self, record: logging.LogRecord) -> bool:
        """See :meth:`logging.Filter.filter`."""
        names = _subjects(record)
        try:
            text = record.getMessage()
            shown = masked_message(_with(record, names).getMessage() if names else text)
        except Exception:  # noqa: BLE001 - arguments that do not fit; logging itself says so
            return True
        for place, name in names.items():
            shown = shown.replace(_placeholder(place), name)
        if shown != text:
            record.msg, record.args = shown, ()
        return True


def _subjects(record: logging.LogRecord) -> dict[int, str]:
    """The arguments of a log line that are followed by its own colon, which therefore names no value, by position."""
    if not isinstance(record.msg, str) or not isinstance(record.args, tuple):
        return {}
    places = [place for place in _PLACE.finditer(record.msg) if place[0] != "%%"]
    return {
        number: value
        for number, (place, value) in enumerate(zip(places, record.args, strict=False))
        if record.msg.startswith("%s: ", place.start()) and isinstance(value, str) and masked_text(value) == value
    }


def _with(record: logging.LogRecord, names: Mapping[int, str]) -> logging.LogRecord:
    given = record.args if isinstance(record.args, tuple) else ()
    args = tuple(_placeholder(number) if number in names else value for number, value in enumerate(given))
    return logging.makeLogRecord({"msg": record.msg, "args": args})


def _placeholder(place: int) -> str:
    return f"\0{place}\0"
